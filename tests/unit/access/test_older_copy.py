"""The service's database in other hands: what its reader learns, and what an older copy of it brings back."""

from __future__ import annotations

import base64
import shutil
import sqlite3
from collections.abc import Callable
from hashlib import blake2b, md5, sha1, sha256, sha512
from pathlib import Path

import pyotp
import pytest
from access_world import PASSWORD, World

from lethe.operations.access.database import Database
from lethe.operations.access.grants import Action, Read, RefusedError
from lethe.operations.access.roles import Role
from lethe.operations.access.signed_requests import RequestKeys, new_key, public_key
from lethe.operations.health.watermark import FOLDER, Watermark
from lethe.schemas.errors import ConfigurationError

HER = "+923001111111"
MAIL = "Her.Name@mail.example"
WORDS = ("she lives in the third house", "SIM swap", "asked by letter of the second of March")
MONTHS = ("2026-01", "2026-03")


def watermark(world: World) -> Watermark:
    return Watermark(world.database, world.ring_folder / "keys", world.ring, world.clock)


class Copied(World):
    """A world whose database can be copied and put back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ring_folder = folder
        self.file = folder / "service.db"

    def copy(self) -> Path:
        there = self.ring_folder / "backup.db"
        with sqlite3.connect(self.file) as source, sqlite3.connect(there) as target:
            source.backup(target)
        return there

    def put_back(self, copy: Path) -> None:
        self.database.engine.dispose()
        for side in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + side).unlink(missing_ok=True)
        shutil.copyfile(copy, self.file)


@pytest.fixture
def copied(tmp_path: Path) -> Copied:
    return Copied(tmp_path)


def spellings() -> list[bytes]:
    """What a reader would look for: the values, their digests by any common hash, in any common writing."""
    found = [w.encode() for w in WORDS]
    for value in (HER, HER[1:], f"00{HER[1:]}", MAIL, MAIL.lower()):
        text = value.encode()
        found.append(text)
        for hashed in (md5, sha1, sha256, sha512, blake2b):
            digest = hashed(text, usedforsecurity=False).digest()
            found += [digest, digest.hex().encode(), base64.b64encode(digest).rstrip(b"=")]
    number = int(HER[1:])
    return [*found, number.to_bytes(8, "big"), number.to_bytes(8, "little"), base64.b64encode(HER.encode())]


def used(world: World) -> str:
    """Have a case with all that it can hold of a person, and everything around it; returns the case."""
    amal, bela = world.person("amal", Role.INVESTIGATOR), world.person("bela", Role.APPROVER)
    case = world.cases.open(amal, "F-1", "SIM swap", "fraud")
    for kind, text in (("target", HER), ("target", MAIL), ("note", f"{HER}: {WORDS[0]}")):
        world.cases.add(amal, case.id, kind, text)
    world.cases.remember(amal, case.id, {"values": [HER, MAIL], "since": "", "until": ""}, 3)
    world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 50, [], WORDS[2])
    world.desk.use(amal, Read(amal.id, Action.LOOKUP, case.id, "2026-02", "2026-02"), [HER, MAIL])
    weighty = world.desk.ask(amal, Action.BULK_REVEAL, case.id, MONTHS, 50, [HER, MAIL], WORDS[2])
    world.desk.approve(bela, weighty.id, weighty.scope.digest())
    return case.id


def test_whoever_reads_the_file_its_backup_or_its_log_learns_nobody(copied: Copied) -> None:
    used(copied)
    backup = copied.copy()
    files = [backup, *copied.ring_folder.glob("service.db*")]
    data = b"".join(f.read_bytes() for f in files)
    assert b"F-1" in data, "the data is there"
    assert [s for s in spellings() if s in data] == []


def test_whoever_reads_a_dump_of_postgresql_learns_nobody(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    world = World(tmp_path, new_database())
    used(world)
    with world.database.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        data = b""
        names = [r[0] for r in raw.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        for name in names:
            with raw.cursor().copy(f'COPY "{name}" TO STDOUT (FORMAT binary)') as rows:
                data += b"".join(bytes(row) for row in rows)
    assert b"F-1" in data
    assert [s for s in spellings() if s in data] == []
    world.database.engine.dispose()


def test_an_older_copy_brings_back_nothing_that_has_ended(copied: Copied) -> None:
    mark = watermark(copied)
    case_id = used(copied)
    people = {p.name: p for p in copied.accounts.all()}
    amal, bela = people["amal"], people["bela"]
    names = ("closed", "lowered", "changed", "enrolled", "same")
    others = {n: copied.person(n, Role.AUDITOR, Role.OPERATOR) for n in names}
    stays = copied.cases.open(amal, "F-2", "another", "fraud")
    grant = copied.desk.ask(amal, Action.LOOKUP, stays.id, MONTHS, 50, [], "to see")
    keys = RequestKeys(copied.database, copied.ring, copied.clock)
    request_key = keys.add(amal.id, public_key(new_key()[1]), "desk")
    secret = copied.accounts.new_totp(others["enrolled"].id)
    assert mark.settle(copied.entries.append) is None
    token, kept = copied.sessions.start(amal.id), copied.sessions.start(bela.id)
    backup = copied.copy()

    copied.wait(minutes=5)
    copied.sessions.end(token)
    copied.desk.revoke(bela, grant.id)
    keys.revoke(request_key.id)
    copied.cases.close(amal, case_id)
    copied.accounts.disable(others["closed"].id)
    copied.accounts.set_roles(others["lowered"].id, [Role.OPERATOR])
    copied.accounts.change_password(others["changed"].id, "another horse, another battery")
    copied.accounts.confirm_totp(others["enrolled"].id, pyotp.TOTP(secret).at(copied.now))
    assert copied.sessions.who(kept) is not None

    copied.put_back(backup)
    with pytest.raises(ConfigurationError, match="older copy"):
        mark.check()
    entries: list[dict[str, object]] = []

    def fails(_entry: object) -> None:
        raise ConfigurationError("the audit log cannot be written")

    with pytest.raises(ConfigurationError, match="audit"):
        mark.settle(fails)
    assert copied.sessions.who(token) is not None, "without an entry nothing is done"
    assert mark.settle(lambda e: entries.append(dict(e))) is not None
    assert entries == [
        {
            "who": "-",
            "action": "service.restored",
            "sessions": 2,
            "grants": 3,
            "accounts": 4,
            "cases": 1,
            "keys": 1,
        }
    ]
    assert (copied.sessions.who(token), copied.sessions.who(kept)) == (None, None)
    read = Read(amal.id, Action.LOOKUP, stays.id, "2026-02", "2026-02")
    with pytest.raises(RefusedError):
        copied.desk.use(amal, read, [HER])
    assert [(c.reference, c.closed is None) for c in copied.cases.mine(amal)] == [
        ("F-2", True),
        ("F-1", False),
    ]
    assert copied.cases.entries(amal, case_id) == []
    now = {p.name: p for p in copied.accounts.all()}
    assert {n: now[n].disabled for n in names} == {
        "closed": True, "lowered": False, "changed": True, "enrolled": True, "same": False
    }  # fmt: skip
    assert now["lowered"].roles == frozenset({Role.OPERATOR})
    assert copied.accounts.sign_in("same", PASSWORD, "").name == "same"
    mark.check()
    assert mark.settle(copied.entries.append) is None, "it is settled once"
    assert [k.revoked is not None for k in keys.all()] == [True]


def test_what_a_copy_seals_of_a_closed_case_opens_for_nobody(copied: Copied) -> None:
    """Not even where the copy was served from before it was settled: the key of the case is gone."""
    case_id = used(copied)
    amal = next(p for p in copied.accounts.all() if p.name == "amal")
    backup = copied.copy()
    copied.cases.close(amal, case_id)
    copied.put_back(backup)
    for look in (
        lambda: copied.cases.entries(amal, case_id),
        lambda: copied.cases.mine(amal),
        lambda: copied.desk.pending(next(p for p in copied.accounts.all() if p.name == "bela")),
    ):
        try:
            told = repr(look())
        except Exception as error:  # noqa: BLE001  (whatever it says, it is not what was sealed)
            told = repr(error)
        assert HER not in told
        assert WORDS[0] not in told


def test_a_database_made_anew_is_no_older_copy(copied: Copied) -> None:
    watermark(copied).settle(copied.entries.append)
    copied.accounts.disable(copied.person("amal", Role.AUDITOR).id)
    anew = Database(f"sqlite:///{copied.ring_folder / 'anew.db'}")
    anew.upgrade()
    assert (
        Watermark(anew, copied.ring_folder / "keys", copied.ring, copied.clock).settle(copied.entries.append)
        is None
    )
    anew.engine.dispose()


def test_the_key_directory_learns_nothing_that_signs_anybody_in(copied: Copied) -> None:
    watermark(copied)
    copied.accounts.disable(copied.person("amal", Role.AUDITOR).id)
    [noted] = [p for p in (copied.ring_folder / "keys" / FOLDER).iterdir() if not p.name.startswith(".")]
    assert b"argon2" not in noted.read_bytes()
    noted.write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match="damaged"):
        watermark(copied).check()
