"""The audit file of an earlier release stays verifiable, and the log of today begins where it ended."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from audit_world import NOW, AuditWorld
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lethe.operations.oversight.verify import verify
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.errors import IntegrityError


def write_earlier(world: AuditWorld, cases: str, key: Ed25519PrivateKey | None = None) -> None:
    """Write the file as the earlier release did: `audit.jsonl`, and its key in the key directory."""
    ours = Ed25519PrivateKey.generate()
    world.keys.mkdir(mode=0o700, exist_ok=True)
    (world.keys / "audit.signing").write_bytes(ours.private_bytes_raw())
    write_file(world.audit, cases, key or ours)


def write_file(folder: Path, cases: str, key: Ed25519PrivateKey) -> None:
    folder.mkdir(exist_ok=True)
    lines, previous = b"", "0" * 64
    for number, case in enumerate(cases, 1):
        body = {
            "number": number,
            "previous": previous,
            "time": NOW.isoformat(timespec="microseconds"),
            "case": case,
        }
        signature = key.sign(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
        line = (
            orjson.dumps({**body, "signature": b64encode(signature).decode()}, option=orjson.OPT_SORT_KEYS)
            + b"\n"
        )
        previous = sha256(line).hexdigest()
        lines += line
    (folder / "audit.jsonl").write_bytes(lines)


@pytest.fixture
def upgraded(world: AuditWorld) -> AuditWorld:
    write_earlier(world, "AB")
    world.append("C")
    return world


def test_entries_of_the_file_come_first_and_the_log_says_where_it_ended(upgraded: AuditWorld) -> None:
    data = (upgraded.audit / "audit.jsonl").read_bytes()
    entries = list(upgraded.log.entries())
    assert [e.get("case") for e in entries] == ["A", "B", None, "C"]
    assert (entries[2]["action"], entries[2]["lines"]) == ("audit.begin", 2)
    assert entries[2]["sha256"] == sha256(data.splitlines(keepends=True)[-1]).hexdigest()
    upgraded.append("D")
    assert [e.get("case") for e in upgraded.log.entries()] == ["A", "B", None, "C", "D"]
    assert (upgraded.verify().earlier_entries, upgraded.findings()) == (2, [])


@pytest.mark.parametrize("what", ["flip first", "flip last", "cut", "drop", "doubled", "empty"])
def test_the_file_changed_in_any_way_shows(upgraded: AuditWorld, what: str) -> None:
    file = upgraded.audit / "audit.jsonl"
    first, last = file.read_bytes().splitlines(keepends=True)
    changed = {
        "flip first": first.replace(b'"A"', b'"Z"') + last,
        "flip last": first + last.replace(b'"B"', b'"Z"'),
        "cut": first,
        "doubled": first + last + last,
        "empty": b"",
    }
    file.unlink()
    if what != "drop":
        file.write_bytes(changed[what])
    assert upgraded.findings()


def test_a_process_of_the_earlier_release_that_still_writes_shows(upgraded: AuditWorld) -> None:
    key = Ed25519PrivateKey.from_private_bytes((upgraded.keys / "audit.signing").read_bytes())
    write_earlier(upgraded, "ABX", key)
    (upgraded.keys / "audit.signing").write_bytes(key.private_bytes_raw())
    assert "a process of an earlier release still writes to it" in upgraded.findings()[-1]


def test_the_file_of_another_installation_is_left_alone(world: AuditWorld) -> None:
    write_earlier(world, "AB", Ed25519PrivateKey.generate())
    world.append("C")
    assert world.cases() == ["C"]
    assert world.findings() == []


def test_an_altered_file_is_not_read_past_what_was_altered(upgraded: AuditWorld) -> None:
    file = upgraded.audit / "audit.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"B"', b'"Z"'))
    with pytest.raises(IntegrityError, match="entry 2 was changed"):
        list(upgraded.log.entries())
    damage: list[str] = []
    assert [e.get("case") for e in upgraded.log.entries(damage.append)] == ["A", None, "C"]
    assert len(damage) == 1


def test_the_file_at_its_default_place_is_continued_in_the_key_directory(tmp_path: Path) -> None:
    """It lay beside the key directory, for two installations alike: the one that signed it takes it over."""
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir(mode=0o700)
    key = Ed25519PrivateKey.generate()
    write_file(tmp_path / "audit", "AB", key)
    (tmp_path / "ours" / "audit.signing").write_bytes(key.private_bytes_raw())
    (tmp_path / "theirs" / "audit.signing").write_bytes(Ed25519PrivateKey.generate().private_bytes_raw())
    found = {}
    for name in ("ours", "theirs"):
        settings = Settings(root=str(tmp_path / f"{name}-warehouse"), keys_dir=tmp_path / name)
        Runtime(settings).audit.append({"case": "C"}, NOW)
        found[name] = [e.get("case") for e in Runtime(settings).audit.entries()]
        assert verify(Runtime(settings)).findings == []
    assert found == {"ours": ["A", "B", None, "C"], "theirs": ["C"]}
