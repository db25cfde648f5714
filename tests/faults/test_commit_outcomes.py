"""The commit's answer: failed, failed but persisted, late, or none; storage that refuses, hangs or is full."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from plant import Plant, Reels, Writer, source_of
from workers import traffic

from lethe.keys import files
from lethe.operations.settings import Flush
from lethe.schemas.errors import LetheError, TransientError, UnknownOutcomeError
from lethe.streams.worker import _committer as committer
from lethe.tiers.ledger.reconcile import check
from lethe.tiers.store.objects import LocalObjects

SOURCE = source_of("cdr")
TABLES = ("identifiers", "originals", "quarantine", "metadata", "ledger")
Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: Patch) -> None:
    """Waiting between tries is not what is tested."""
    monkeypatch.setattr(committer, "_RETRY_SECONDS", 0.0002)
    monkeypatch.setattr(committer, "_LONGEST_PAUSE", 0.02)


def disturb(monkeypatch: Patch, table: str, times: int, how: Callable[[Callable[[], Any]], Any]) -> list[str]:
    """Let `how` stand in for the next commits to a table; it is given the real one to call or not."""
    real = LocalObjects.create
    hit: list[str] = []

    def create(self: LocalObjects, path: str, data: bytes) -> Any:
        if path.startswith(f"{table}/_delta_log/") and len(hit) < times:
            hit.append(table)
            return how(lambda: real(self, path, data))
        return real(self, path, data)

    monkeypatch.setattr(LocalObjects, "create", create)
    return hit


def not_persisted(_: Callable[[], Any]) -> None:
    raise TransientError("the store gave no answer")


def persisted(commit: Callable[[], Any]) -> None:
    assert commit()
    raise TransientError("the answer was lost on its way")


def sent_twice(commit: Callable[[], Any]) -> Any:
    """A client that sends again what was not answered is told that somebody was there before."""
    assert commit()
    return commit()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("how", [not_persisted, persisted, sent_twice])
def test_an_answer_that_does_not_come(plant: Plant, monkeypatch: Patch, table: str, how: Any) -> None:
    values = plant.records(SOURCE, traffic(300, seed=2, malformed=0.05))
    reels = Reels(plant, {SOURCE: values})
    hit = disturb(monkeypatch, table, 1, how)
    reels.run()
    assert hit == [table]
    plant.judge()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_that_arrives_after_it_was_given_up(plant: Plant, monkeypatch: Patch, when: str) -> None:
    """The first request reaches the store after all, before or after the next try was made."""
    values = plant.records(SOURCE, traffic(300, seed=2))
    reels = Reels(plant, {SOURCE: values})
    real = LocalObjects.create
    held: list[Callable[[], Any]] = []
    arrived: list[str] = []

    def timed_out(self: LocalObjects, path: str, data: bytes) -> Any:
        if held or arrived or not path.startswith("metadata/_delta_log/"):
            return real(self, path, data)
        held.append(lambda: real(self, path, data))
        raise TransientError("timed out")

    def arrives() -> None:
        if held and (when == "before" or reels.pipeline.committed):
            arrived.append("landed" if held.pop()() else "refused")

    monkeypatch.setattr(LocalObjects, "create", timed_out)
    reels.before_step = arrives
    reels.run()
    plant.judge()
    assert arrived == ["landed" if when == "before" else "refused"]


def test_a_store_that_never_takes_the_commit_stops_the_worker_and_leaves_nothing_half_done(
    plant: Plant, monkeypatch: Patch
) -> None:
    values = plant.records(SOURCE, traffic(100, seed=2))
    reels = Reels(plant, {SOURCE: values})
    hit = disturb(monkeypatch, "metadata", 1_000, not_persisted)
    with pytest.raises(UnknownOutcomeError, match="metadata"):
        reels.run()
    assert len(hit) == committer._LEAST_TRIES
    assert reels.pipeline.committed == 0
    monkeypatch.undo()
    Writer(plant).go_on(SOURCE, values)
    plant.judge()


@pytest.mark.parametrize("told", [False, True])
def test_a_worker_that_can_wait_outlasts_a_store_that_refuses(
    plant: Plant, monkeypatch: Patch, caplog: Any, told: bool
) -> None:
    """It says so once, however often it tries; told to stop meanwhile, it leaves at once and nothing is lost."""
    # Whatever tests before this one have made of the process's logs.
    caplog.set_level("WARNING", logger=committer.log.name)
    for name, value in (("handlers", [caplog.handler]), ("propagate", False), ("disabled", False)):
        monkeypatch.setattr(committer.log, name, value)
    values = plant.records(SOURCE, traffic(300, seed=2))
    reels = Reels(plant, {SOURCE: values})
    reels.pipeline.finish_early = False
    hit = disturb(monkeypatch, "metadata", 1_000_000 if told else 20, not_persisted)
    run = reels.pipeline.run
    stopped = lambda: told and len(hit) >= 20  # noqa: E731
    monkeypatch.setattr(reels.pipeline, "run", lambda stopping: run(lambda: stopping() or stopped(), stopped))
    reels.run()
    assert len(hit) >= 20 > committer._LEAST_TRIES
    assert caplog.text.count("it is tried again") == 1
    monkeypatch.undo()
    if told:
        assert reels.pipeline.committed == 0
        Writer(plant).go_on(SOURCE, values)
    plant.judge()


def test_a_store_that_cannot_be_read_after_the_commit(plant: Plant, monkeypatch: Patch) -> None:
    """The commit landed, but neither its answer nor the look that follows came through."""
    values = plant.records(SOURCE, traffic(300, seed=2))
    reels = Reels(plant, {SOURCE: values})
    down = threading.Event()
    real = LocalObjects.get

    def get(self: LocalObjects, path: str) -> bytes | None:
        if down.is_set():
            down.clear()
            raise OSError(5, "the store gave no answer")
        return real(self, path)

    monkeypatch.setattr(LocalObjects, "get", get)

    def lost(commit: Callable[[], Any]) -> None:
        commit()
        down.set()
        raise TransientError("the store gave no answer")

    assert disturb(monkeypatch, "metadata", 1, lost) == []
    reels.run()
    plant.judge()


def test_the_answer_of_one_partition_is_not_taken_for_that_of_all(plant: Plant, monkeypatch: Patch) -> None:
    """Somebody else's commit of one partition up to the same offset says nothing about the other partition's."""
    one, two = source_of("cdr", 0), source_of("cdr", 1)
    values = {s: plant.records(s, traffic(50, seed=s.partition)) for s in (one, two)}
    rival = Writer(plant)

    def rival_first(_: Callable[[], Any]) -> None:
        monkeypatch.undo()
        rival.go_on(one, values[one])
        raise TransientError("the store gave no answer")

    writer = Writer(plant)
    disturb(monkeypatch, "metadata", 1, rival_first)
    from plant import prepare

    batches = [prepare(writer.runtime.transform, s, 0, values[s]) for s in (one, two)]
    with pytest.raises(LetheError):
        writer.warehouse.commit(batches, writer.ring)
    Writer(plant).go_on(two, values[two])
    plant.judge()


def test_a_ledger_that_cannot_be_written_does_not_make_a_commit_fail(
    plant: Plant, monkeypatch: Patch
) -> None:
    values = plant.records(SOURCE, traffic(100, seed=2))
    writer = Writer(plant)
    disturb(monkeypatch, "ledger", 1, not_persisted)
    writer.commit(SOURCE, values, 0, 99)
    assert writer.warehouse.ledger.stored.to_pyarrow_table().num_rows == 0
    assert writer.warehouse.sources() == {SOURCE.id: "cdr"}  # any reader's start derives it
    plant.judge()


def test_a_disk_that_refuses_for_a_while(plant: Plant, monkeypatch: Patch) -> None:
    values = plant.records(SOURCE, traffic(300, seed=2, malformed=0.05))
    reels = Reels(plant, {SOURCE: values})
    refusals = [0]
    real = LocalObjects.put

    def put(self: LocalObjects, path: str, data: bytes) -> None:
        if refusals[0] < 3:
            refusals[0] += 1
            raise TransientError("the warehouse refused a write: No space left on device")
        real(self, path, data)

    monkeypatch.setattr(LocalObjects, "put", put)
    reels.run()
    plant.judge()
    assert refusals == [3]


def test_a_disk_that_hangs_and_comes_back(plant: Plant, monkeypatch: Patch) -> None:
    """Nothing is given up, and no more is taken in meanwhile than another commit's worth."""
    values = plant.records(SOURCE, traffic(1_500, seed=2))
    reels = Reels(plant, {SOURCE: values}, flush=Flush(records=200, seconds=0.2, batch=50), agents=2)
    hanging, released = threading.Event(), threading.Event()
    real = LocalObjects.put
    held, full = [0], [0]

    def put(self: LocalObjects, path: str, data: bytes) -> None:
        hanging.set()
        assert released.wait(120)
        real(self, path, data)

    def look() -> None:
        held.append(reels.pipeline._in_flight.records)
        full[0] += hanging.is_set() and held[-1] >= 200  # for a while, so that who does not wait is seen
        if full[0] > 100 or len(reels.delivered) == 1_500 // 50:
            released.set()

    monkeypatch.setattr(LocalObjects, "put", put)
    reels.before_step = look
    reels.run()
    plant.judge()
    assert max(held) <= 200 + 2 * 50  # the agents may have had a batch each in their hands


def test_a_disk_that_fails_to_keep_a_commit_stops_the_worker(plant: Plant, monkeypatch: Patch) -> None:
    """fsync failed: trying it again may report success for what was never written."""
    values = plant.records(SOURCE, traffic(100, seed=2))
    reels = Reels(plant, {SOURCE: values})
    real = files.sync_directory

    def sync_directory(path: Path) -> None:
        if path.parts[-2:] == ("metadata", "_delta_log"):
            raise OSError(5, "Input/output error")
        real(path)

    monkeypatch.setattr(files, "sync_directory", sync_directory)
    with pytest.raises(LetheError, match="durable"):
        reels.run()
    assert reels.pipeline.committed == 0


def test_a_table_that_lost_a_row_is_noticed(plant: Plant) -> None:
    """The check of these tests is not blind: what the ledger says and the archive no longer holds is named."""
    values = plant.records(SOURCE, traffic(50, seed=2))
    Writer(plant).go_on(SOURCE, values)
    plant.judge()
    DeltaTable(str(plant.directory / "warehouse" / "metadata")).delete("offset = 7")
    (finding,) = check(plant.runtime().warehouse)
    assert str(finding) == "cdr/0: offsets 0 to 49: archive holds 49 records, the ledger says 50; missing: 7"
    with pytest.raises(AssertionError, match="1 lost"):
        plant.judge()
