"""The audit log: entries are durable, in order, from several processes, and nobody waits for another's disk."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from audit_world import NOW, AuditWorld, fill

from lethe.integrity.log.signing import Signer
from lethe.operations.audit import log as audit_log
from lethe.operations.audit.log import AuditLog
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.errors import ConfigurationError, LetheError
from lethe.tiers.evidence.log_store import LogStore


def test_entries_come_back_in_order_over_many_bundles(world: AuditWorld) -> None:
    fill(world, 600)
    entries = list(world.log.entries())
    assert [(e["log"], e["number"], e["case"]) for e in entries] == [(0, n, str(n)) for n in range(600)]
    assert entries[0]["time"] == "2026-11-01T12:00:00.000000+00:00"
    newest, total = world.newest(3, pytest.fail)
    assert ([e["case"] for e in newest], total) == (["599", "598", "597"], 600)
    assert len(world.files()) == 9, (
        "what is replaced is removed: two of each full, one of each unfinished, checkpoint, public keys"
    )
    assert world.findings() == []


def append_many(directory: Path, name: str) -> None:
    log = AuditWorld(directory).log
    for number in range(15):
        log.append({"case": f"{name}{number}"}, NOW)


def test_processes_append_side_by_side(world: AuditWorld) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=append_many, args=(world.folder, name)) for name in ("A", "B", "C")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert sorted(world.cases()) == sorted(f"{name}{n}" for name in "ABC" for n in range(15))
    assert world.findings() == []


def test_one_whose_disk_hangs_keeps_nobody_waiting(
    world: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append("before")
    hangs, go_on = threading.Event(), threading.Event()
    put = LogStore.put

    def slow(self: LogStore, path: str, data: bytes) -> None:
        if threading.current_thread().name == "slow":
            hangs.set()
            assert go_on.wait(60)
        put(self, path, data)

    monkeypatch.setattr(LogStore, "put", slow)
    answered: list[str] = []

    def append() -> None:
        world.log.append({"case": "slow"}, NOW)
        answered.append("slow")

    thread = threading.Thread(target=append, name="slow")
    thread.start()
    assert hangs.wait(60)
    world.append("fast")
    assert "fast" in world.cases()
    assert answered == [], "what is not on disk yet is not answered"
    go_on.set()
    thread.join(60)
    assert answered == ["slow"]
    assert sorted(world.cases()) == ["before", "fast", "slow"]
    assert world.findings() == []


def copies(world: AuditWorld) -> tuple[AuditLog, AuditLog]:
    """Two machines: one place of the audit, a key directory each, so that no lock keeps them apart."""
    world.append("first")
    shutil.copytree(world.keys, world.folder / "keys-of-b")
    there = AuditLog(str(world.audit), world.folder / "keys-of-b")
    return world.log, there


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize("step", ["bundle", "looks again", "bundle in its place", "tile", "checkpoint"])
def test_two_machines_that_append_at_the_same_time_lose_nothing(
    world: AuditWorld, monkeypatch: pytest.MonkeyPatch, step: str, several: int
) -> None:
    here, there = copies(world)
    put, get, swap, busy, bundles = LogStore.put, LogStore.get, LogStore.swap, [False], [0]
    nth = {"bundle": 1, "bundle in its place": min(several, 2)}.get(step)

    def meanwhile(reached: bool) -> None:
        if reached and not busy[0]:
            busy[0] = True
            for number in range(3):
                there.append({"case": f"b{number}"}, NOW)

    def putting(self: LogStore, path: str, data: bytes) -> None:
        bundles[0] += "entries" in path
        meanwhile(("entries" in path and bundles[0] == nth) or (step == "tile" and "tile/0" in path))
        put(self, path, data)

    def getting(self: LogStore, path: str) -> bytes | None:
        meanwhile(step == "looks again" and bundles[0] > 0)
        return get(self, path)

    def swapping(self: LogStore, path: str, old: bytes | None, new: bytes) -> None:
        meanwhile(step == "checkpoint" or (step == "looks again" and several == 1))
        swap(self, path, old, new)

    monkeypatch.setattr(LogStore, "put", putting)
    monkeypatch.setattr(LogStore, "get", getting)
    monkeypatch.setattr(LogStore, "swap", swapping)
    ours = [f"a{number}" for number in range(several)]
    here.append_all([{"case": case} for case in ours], NOW)
    assert busy == [True]
    assert sorted(e["case"] for e in there.entries()) == [*ours, "b0", "b1", "b2", "first"]
    here.append({"case": "c"}, NOW)
    assert sorted(world.cases()) == [*ours, "b0", "b1", "b2", "c", "first"]
    done = world.verify()
    assert (done.findings, done.unanswered) == ([], 0)


def test_an_entry_that_stands_in_two_journals_is_read_once(
    world: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours has been taken in by others while theirs came first: it is put a second time, elsewhere."""
    world.append("first")
    appended = AuditLog._appended

    def overtaken(self: AuditLog, signer: Signer, number: int, texts: Sequence[bytes], now: int) -> bool:
        return appended(self, signer, number, texts, now) and number > 0

    monkeypatch.setattr(AuditLog, "_appended", overtaken)
    world.append("twice")
    monkeypatch.undo()
    world.append("twice")  # somebody else's, of the same time and words
    signer = world.log.signer()
    assert signer is not None
    sizes = [read.log.size for n in (0, 1) if (read := world.log.journal(signer, n)) is not None]
    assert sizes == [3, 1]
    assert sorted(world.cases()) == ["first", "twice", "twice"]
    newest, _ = world.newest(10, pytest.fail)
    assert sorted(e["case"] for e in newest) == ["first", "twice", "twice"]
    assert len({e["id"] for e in newest}) == 3
    assert world.findings() == []


CRASH = """
import sys
from pathlib import Path
from audit_world import AuditWorld
AuditWorld(Path(sys.argv[1])).append("torn")
"""


@pytest.mark.parametrize("before", [0, 1, 255])
@pytest.mark.parametrize(
    "point", ["audit.put", "audit.put:2", "audit.put:3", "audit.swap", "audit.swapped", "audit.deleted"]
)
def test_a_crash_at_any_step_leaves_a_log_that_goes_on(world: AuditWorld, before: int, point: str) -> None:
    fill(world, before)
    here = str(Path(__file__).parent)
    env = {"LETHE_FAIL_POINT": point, "PYTHONPATH": ":".join([here, *sys.path])}
    done = subprocess.run([sys.executable, "-c", CRASH, str(world.folder)], env=env, capture_output=True)
    assert done.returncode in (-9, 0), done.stderr.decode()[-500:]
    assert world.findings() == [], "a crash is no tampering"
    world.append("after", "later")
    cases = world.cases()
    assert cases[:before] == [str(n) for n in range(before)]
    assert [c for c in cases[before:] if c != "torn"] == ["after", "later"]
    assert cases.count("torn") <= 1
    if done.returncode == 0:
        assert "torn" in cases
    assert {e["log"] for e in world.log.entries()} == {0}
    assert world.findings() == []


CRASH_SEVERAL = """
import sys
from pathlib import Path
from audit_world import NOW, AuditWorld
AuditWorld(Path(sys.argv[1])).log.append_all([{"case": f"torn{n}"} for n in range(3)], NOW)
"""
POINTS = [
    "audit.put", "audit.put:2", "audit.put:3", "audit.put:4", "audit.swap", "audit.swapped", "audit.deleted:2"
]  # fmt: skip


@pytest.mark.parametrize("before", [0, 254])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_in_the_middle_of_several_leaves_a_log_that_goes_on(
    world: AuditWorld, before: int, point: str
) -> None:
    """Those that were put are taken in with the next one; nothing was answered, so none of them is missed."""
    fill(world, before)
    env = {"LETHE_FAIL_POINT": point, "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", CRASH_SEVERAL, str(world.folder)], env=env, capture_output=True
    )
    assert done.returncode in (-9, 0), done.stderr.decode()[-500:]
    assert world.findings() == [], "a crash is no tampering"
    world.append("after", "later")
    torn = [c for c in world.cases()[before:] if c.startswith("torn")]
    assert world.cases()[before:] == [*torn, "after", "later"]
    assert torn == [f"torn{n}" for n in range(len(torn))]
    assert done.returncode == -9 or len(torn) == 3
    assert world.findings() == []


def test_fifty_entries_take_no_more_writing_than_two(
    world: AuditWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is there before any is answered, and a store on the network is asked three times for all of them."""
    world.append("first")
    put, puts = LogStore.put, []

    def putting(self: LogStore, path: str, data: bytes) -> None:
        puts.append(path)
        put(self, path, data)

    monkeypatch.setattr(LogStore, "put", putting)
    world.log.append_all([{"case": f"m{n}"} for n in range(50)], NOW)
    assert puts == ["tile/entries/000.p/2", "tile/entries/000.p/51", "tile/0/000.p/51"]
    assert world.cases() == ["first", *(f"m{n}" for n in range(50))]
    assert not [p for p in world.audit.rglob("*") if p.name == "2"], "where it was first put nothing is left"
    assert world.findings() == []


def test_several_entries_over_the_end_of_a_bundle(world: AuditWorld) -> None:
    fill(world, 250)
    world.log.append_all([{"case": f"m{n}"} for n in range(300)], NOW)
    world.append("after")
    assert world.cases() == [*map(str, range(250)), *(f"m{n}" for n in range(300)), "after"]
    assert world.findings() == []


def test_without_a_place_to_write_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("in the way")
    with pytest.raises(ConfigurationError, match="without an entry there is no answer"):
        AuditLog(str(tmp_path / "audit"), tmp_path / "keys").append({"case": "A"}, NOW)


def test_two_installations_side_by_side_have_an_audit_each(tmp_path: Path) -> None:
    def installation(name: str, **settings: Any) -> Runtime:
        return Runtime(
            Settings(root=str(tmp_path / f"{name}-wh"), keys_dir=tmp_path / f"{name}-keys", **settings)
        )

    for name in "AB":
        installation(name).audit.append({"case": name}, NOW)
    for name in "AB":
        assert [e["case"] for e in installation(name).audit.entries()] == [name]
        assert (tmp_path / f"{name}-keys" / "audit").is_dir()
    shared: dict[str, Any] = {"audit_dir": str(tmp_path / "shared")}
    for name in "CDCD":
        installation(name, **shared).audit.append({"case": name}, NOW)
    for name in "CD":
        entries = installation(name, **shared).audit.entries()
        assert [e["case"] for e in entries] == [name] * 2, "nor do they break a place they share"


def test_an_entry_that_is_too_long_is_refused(world: AuditWorld) -> None:
    with pytest.raises(LetheError, match="65,471 bytes"):
        world.log.append({"case": "x" * 70_000}, NOW)
    world.append("next")
    assert world.cases() == ["next"]


def test_keys_that_are_gone_are_not_made_again(world: AuditWorld) -> None:
    world.append("A")
    (world.keys / audit_log.KEY).unlink()
    with pytest.raises(ConfigurationError, match="restore it from its backup"):
        world.append("B")
