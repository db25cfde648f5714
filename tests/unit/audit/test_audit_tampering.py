"""Whatever is done to the files of the audit shows: flipped, cut, dropped, swapped, rolled back, signed again."""

from __future__ import annotations

import shutil

import pytest
from audit_world import AuditWorld, alterations, fill
from integrity_authority import Authority, served

from lethe.integrity.journal import Journal
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.stamp import http_authority
from lethe.integrity.log.store import Memory, MemoryStore
from lethe.operations.audit import log as audit_log
from lethe.operations.oversight.verify import verify_ends
from lethe.operations.proof.audit_anchor import stamp_anchors
from lethe.schemas.errors import IntegrityError
from lethe.tiers.evidence.signer_file import load_signer_file


@pytest.fixture
def whole(world: AuditWorld) -> AuditWorld:
    """Two journals, one of them longer than a bundle."""
    fill(world, 260)
    with world.log._alone(0) as mine:
        assert mine
        world.append("other", "and another")
    assert {e["log"] for e in world.log.entries()} == {0, 1}
    assert world.findings() == []
    return world


def test_each_file_changed_in_any_way_shows(whole: AuditWorld) -> None:
    tried = 0
    for path in whole.files():
        before = path.read_bytes()
        for what, alter in alterations(path):
            alter()
            assert whole.findings(), (path.relative_to(whole.audit), what)
            path.write_bytes(before)
            tried += 1
    assert tried >= 8 * 9, "two of each full tile, one of each unfinished, two checkpoints"
    assert whole.findings() == []


def test_files_swapped_with_each_other_show(whole: AuditWorld) -> None:
    files = whole.files()
    contents = [path.read_bytes() for path in files]
    for at, first in enumerate(files):
        for to in range(at + 1, len(files)):
            if contents[at] == contents[to]:
                continue
            first.write_bytes(contents[to])
            files[to].write_bytes(contents[at])
            assert whole.findings(), (first, files[to])
            first.write_bytes(contents[at])
            files[to].write_bytes(contents[to])


def test_what_was_put_there_shows(whole: AuditWorld) -> None:
    for name in ("note", "tile/0/009", "tile/entries/001.p/77", "tile/1/000.p/200"):
        path = whole.journal() / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes((whole.journal() / "tile/0/000").read_bytes())
        assert whole.findings(), name
        path.unlink()
    assert whole.findings() == []


def test_a_cut_tail_shows(world: AuditWorld) -> None:
    world.append("A", "B")
    older = world.copy("older")
    world.append("C")
    world.put_back(older)
    (finding,) = world.findings()
    assert "has 2 entries, but 3 were signed" in finding
    assert verify_ends(world.runtime).findings == [finding], "the ends alone show it"


def test_a_log_that_is_gone_shows(world: AuditWorld) -> None:
    world.append("A")
    shutil.rmtree(world.audit)
    keys, finding = world.findings()
    assert "keys/0 is gone" in keys
    assert "is gone: 1 entries were signed" in finding


def test_after_a_roll_back_it_goes_on_elsewhere_and_still_shows(world: AuditWorld) -> None:
    world.append("A")
    older = world.copy("older")
    world.append("B")
    world.put_back(older)
    world.append("C")
    damage: list[str] = []
    entries = [(e["log"], e["case"]) for e in world.log.entries(damage.append)]
    assert entries == [(0, "A"), (1, "C")]
    assert len(damage) == 1
    with pytest.raises(IntegrityError, match="older copy was put back"):
        list(world.log.entries())
    assert len(world.findings()) == 1
    newest, total = world.newest(10, damage.append)
    assert ([e["case"] for e in newest], total, len(damage)) == (["C", "A"], 2, 2)


def test_a_history_signed_again_with_the_real_keys_shows(world: AuditWorld) -> None:
    world.append("A", "B", "C")
    signer = load_signer_file(world.keys / audit_log.KEY, "keys")
    assert signer is not None
    forge(world, signer, ["A", "harmless", "C"])
    (finding,) = world.findings()
    assert "does not continue the checkpoint of 3 entries" in finding
    forge(world, signer, ["A", "harmless", "C", "D"])
    assert "does not continue" in world.findings()[0]


def forge(world: AuditWorld, signer: Signer, cases: list[str]) -> None:
    """Write a journal of one's own making in the place of the real one, with the real keys."""
    store = MemoryStore()
    journal = Journal(store, signer, Forgetful(), audit_log.origin_of(signer, 0))
    for case in cases:
        journal.append(b'{"time":"2026-11-01T12:00:00.000000+00:00","case":"%s"}' % case.encode(), 0)
    folder = world.journal()
    shutil.rmtree(folder)
    for path, data in store.objects.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


class Forgetful(Memory):
    """Remembers nothing: what an attacker takes in the place of the key directory."""

    def signed(self, origin: str) -> bytes | None:
        return None

    def alone(self, origin: str):  # type: ignore[no-untyped-def]
        from contextlib import nullcontext

        return nullcontext(lambda note: None)


def test_audit_and_key_directory_rolled_back_together_show_by_the_anchor(world: AuditWorld) -> None:
    world.append("A")
    audit, keys = world.copy("older"), world.folder / "older-keys"
    assert world.anchor() == 1
    shutil.copytree(world.keys, keys)
    world.append("B")
    assert world.anchor() == 1
    assert world.anchor() == 0, "nothing new"
    assert (world.verify().anchors, world.findings()) == (1, [])
    signed = world.keys / audit_log.SIGNED
    world.put_back(audit)
    for note in signed.glob(
        "[0-9a-f]*"
    ):  # those of the audit alone: whoever rolls back all of it rolls back that too
        if b"=audit" in note.read_bytes().split(b"\n")[0]:
            note.write_bytes((keys / audit_log.SIGNED / note.name).read_bytes())
    (finding,) = world.findings()
    assert "but 2 were signed" in finding
    assert "anchor in the warehouse" in finding


def test_time_stamps_on_the_anchors_are_made_and_verified(world: AuditWorld) -> None:
    authority, other = Authority(world.folder / "authority"), Authority(world.folder / "other")
    world.append("A")
    world.anchor()
    world.roots = world.folder / "authority" / "root.pem"
    with served(authority.answer) as url:
        made = stamp_anchors(world.runtime, http_authority(url, authority.roots, 60))
    assert made is not None
    assert (world.verify().time_stamps, world.findings()) == (1, [])
    world.roots = world.folder / "other" / "root.pem"
    assert other.roots
    assert "not by an authority that you trust" in world.verify().findings[0]
    world.roots = world.folder / "authority" / "root.pem"
    note = world.folder / "warehouse" / "_audit" / made.path / "checkpoint"
    note.write_bytes(note.read_bytes().replace(b"\n2\n", b"\n3\n"))
    assert "time stamp is of another checkpoint" in world.verify().findings[0]


def test_anchors_rolled_back_show(world: AuditWorld) -> None:
    world.append("A")
    world.anchor()
    folder = world.folder / "warehouse" / "_audit"
    shutil.copytree(folder, world.folder / "old-anchors")
    world.append("B")
    world.anchor()
    shutil.rmtree(folder)
    assert "is gone" in world.findings()[0]
    shutil.copytree(world.folder / "old-anchors", folder)
    assert "were signed" in world.findings()[0]


def test_an_entry_left_by_a_crash_is_told_from_one_put_there(world: AuditWorld) -> None:
    world.append("A")
    signer = load_signer_file(world.keys / audit_log.KEY, "keys")
    assert signer is not None
    bundle = world.journal() / "tile/entries/000.p/1"
    longer = bundle.read_bytes() + (70).to_bytes(2, "big") + b"x" * 70
    (world.journal() / "tile/entries/000.p/2").write_bytes(longer)
    assert "was not signed by its keys" in world.findings()[0]
    world.append("B")
    assert [(e["log"], e["case"]) for e in world.log.entries()] == [(0, "A"), (1, "B")], "nor is it taken in"


def test_a_checkpoint_of_another_log_is_none(whole: AuditWorld) -> None:
    note = (whole.journal(1) / "checkpoint").read_bytes()
    assert Checkpoint.parse(note.decode().split("\n\n")[0] + "\n").origin.endswith("=audit/1")
    (whole.journal(0) / "checkpoint").write_bytes(note)
    assert "not one of the log" in whole.findings()[0]
