"""The audit's public keys are published and handed over: nothing is lost by it, and what is put back or gone shows."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from audit_world import NOW, AuditWorld, alterations

from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.store import CHECKPOINT, open_checkpoint
from lethe.operations.asker import Asker
from lethe.operations.audit.keys import FOLDER
from lethe.operations.audit.log import KEY, origin_of
from lethe.operations.oversight.signing import audit_keys, rotate_audit_keys
from lethe.schemas.errors import IntegrityError, LetheError


def rotate(world: AuditWorld) -> KeyHistory:
    runtime = world.runtime
    _ = runtime.warehouse
    return rotate_audit_keys(runtime, Asker.of("eve"))


def notes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*"))]


def published(world: AuditWorld) -> tuple[list[bytes], list[bytes]]:
    """The notes beside the journals, and those in the warehouse."""
    return notes(world.journal().parent / FOLDER), notes(world.folder / "warehouse" / "_audit" / FOLDER)


def signed_by(world: AuditWorld, number: int = 0) -> int:
    """The key set that has signed the newest checkpoint of a journal."""
    signer = world.log.signer()
    assert signer is not None
    data = (world.journal(number) / CHECKPOINT).read_bytes()
    return open_checkpoint(data, signer.history, origin_of(signer, number))[2]


def test_who_holds_nothing_but_the_place_can_check_who_signed(world: AuditWorld) -> None:
    world.append("a")
    world.anchor()
    beside, warehouse = published(world)
    assert beside == warehouse == [bytes(note) for note in audit_keys(world.runtime).notes]
    history = KeyHistory.parse(beside)
    history.trust(list(audit_keys(world.runtime).sets[0].keys))
    open_checkpoint((world.journal() / CHECKPOINT).read_bytes(), history, f"{history.name}/0")
    assert world.findings() == []


def test_every_entry_is_verified_over_hand_overs(world: AuditWorld) -> None:
    world.append("a", "b")
    first = audit_keys(world.runtime)
    for number in (1, 2):
        assert len(rotate(world).sets) == number + 1
        assert signed_by(world) == number, "who has the old keys cannot give it another end"
        world.append(f"after {number}")
    assert signed_by(world) == 2
    done = world.verify()
    assert (done.findings, done.entries, done.anchors) == ([], 6, 1)
    said = [(e["action"], e.get("case")) for e in world.log.entries()]
    rotated = ("audit.rotate", None)
    assert said == [
        ("lookup", "a"),
        ("lookup", "b"),
        rotated,
        ("lookup", "after 1"),
        rotated,
        ("lookup", "after 2"),
    ]
    KeyHistory.parse(published(world)[0]).trust(
        first.sets[0].keys
    )  # whoever had the first key follows the chain
    assert published(world)[0] == published(world)[1]


def test_a_process_that_runs_on_takes_the_new_keys_up(world: AuditWorld) -> None:
    running = world.log
    running.append({"case": "before"}, NOW)
    rotate(world)
    running.append({"case": "after"}, NOW)
    assert signed_by(world) == 1
    assert {e["log"] for e in world.log.entries()} == {0}
    assert world.findings() == []


def test_before_the_first_entry_there_is_nothing_to_show_or_hand_over(world: AuditWorld) -> None:
    with pytest.raises(LetheError, match="first entry"):
        audit_keys(world.runtime)
    with pytest.raises(LetheError, match="first entry"):
        rotate(world)
    assert list(world.log.entries()) == []


@pytest.mark.parametrize("where", ["audit-store/*", "warehouse/_audit"])
def test_a_note_that_is_gone_or_altered_shows_and_is_put_back(world: AuditWorld, where: str) -> None:
    world.append("a")
    rotate(world)
    (folder,) = (path / FOLDER for path in world.folder.glob(where))
    tried = 0
    for path in sorted(folder.glob("*")):
        before = path.read_bytes()
        for what, alter in alterations(path):
            alter()
            assert any(str(path.relative_to(folder.parent)) in f for f in world.findings()), (path.name, what)
            path.write_bytes(before)
            tried += 1
    assert tried == 2 * 8
    shutil.rmtree(folder)
    assert len(world.findings()) == 2
    world.append("b")
    world.anchor()
    assert world.findings() == []


def test_an_older_key_file_put_back_shows(world: AuditWorld) -> None:
    world.append("a")
    older = (world.keys / KEY).read_bytes()
    rotate(world)
    newest = (world.keys / KEY).read_bytes()
    (world.keys / KEY).write_bytes(older)
    assert any("older key file was put back" in f for f in world.findings())
    (world.keys / KEY).write_bytes(newest)
    assert world.findings() == []


def test_key_directory_and_audit_rolled_back_behind_a_hand_over_show_by_the_anchor(world: AuditWorld) -> None:
    world.append("a")
    world.anchor()
    audit, keys = world.copy("older"), world.folder / "older-keys"
    shutil.copytree(world.keys, keys)
    rotate(world)
    world.put_back(audit)
    shutil.rmtree(world.keys)
    shutil.copytree(keys, world.keys)
    assert any("anchor in the warehouse" in f and "set 2" in f for f in world.findings())


def test_keys_made_anew_are_not_those_that_were_published(world: AuditWorld) -> None:
    world.append("a")
    (world.keys / KEY).unlink()
    with pytest.raises(LetheError, match="restore it from its"):
        world.append("b")
    other = AuditWorld(world.folder / "other")
    other.append("theirs")
    (world.keys / KEY).write_bytes((other.keys / KEY).read_bytes())
    (world.keys / KEY).chmod(0o600)
    assert any("not those there were" in f for f in world.findings())


def test_an_audit_of_a_release_that_published_none_is_no_finding(world: AuditWorld) -> None:
    world.append("a")
    shutil.rmtree(world.journal().parent / FOLDER)
    signer = world.log.signer()
    assert signer is not None
    world.log.memory._path(f"{signer.name}/keys").unlink()
    assert world.findings() == []
    world.append("b")
    assert len(published(world)[0]) == 1
    assert world.findings() == []


CRASH = """
import sys
from pathlib import Path
from audit_world import AuditWorld
from lethe.operations.asker import Asker
from lethe.operations.oversight.signing import rotate_audit_keys
runtime = AuditWorld(Path(sys.argv[1])).runtime
runtime.warehouse
rotate_audit_keys(runtime, Asker.of("eve"))
"""
POINTS = [
    "audit.put", "audit.swapped", "audit.rotated", "audit.keys.put", "audit.swap:2", "audit.swapped:2",
    "audit.swapped:3", "anchor.put", "anchor.swap", "anchor.swapped",
]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_step_of_a_hand_over_is_no_tampering_and_loses_nothing(
    world: AuditWorld, point: str
) -> None:
    world.append("a")
    with world.log._alone(0) as mine:
        assert mine
        world.append("b")  # a second journal, to be signed again too
    world.anchor()
    env = {"LETHE_FAIL_POINT": point, "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", CRASH, str(world.folder)], env=env, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()[-500:]
    assert world.findings() == []
    world.append("after")
    rotate(world)
    cases = [e.get("case") for e in world.log.entries() if e["action"] != "audit.rotate"]
    assert sorted(cases) == ["a", "after", "b"]
    assert {signed_by(world, number) for number in (0, 1)} == {len(audit_keys(world.runtime).sets) - 1}
    assert published(world)[0] == published(world)[1] == [bytes(n) for n in audit_keys(world.runtime).notes]
    assert world.findings() == []


def test_a_chain_that_nobody_signed_for_is_none(world: AuditWorld) -> None:
    world.append("a")
    rotate(world)
    other = AuditWorld(world.folder / "other")
    other.append("theirs")
    with pytest.raises(IntegrityError):
        KeyHistory.parse([published(world)[0][0], *notes(other.journal().parent / FOLDER)])
