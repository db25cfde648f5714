"""Between feed and commit: agents that raise, a channel that loses batches, partitions taken away under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plant import Plant, Reels, Writer, source_of
from workers import Site, traffic

from lethe.operations.settings import Flush
from lethe.schemas.errors import ClockError, ExpiredKeyError, FencedError, LetheError
from lethe.schemas.retention.calendar import window_end
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch
from lethe.streams.transform.transform import Transform
from lethe.streams.worker import pipeline as pipelines
from lethe.streams.worker.pipeline import Pipeline
from lethe.tiers.retention.clock_guard import note_run

ONE, TWO = source_of("cdr", 0), source_of("cdr", 1)
Patch = pytest.MonkeyPatch


@pytest.fixture
def values(plant: Plant) -> dict[Any, Sequence[bytes | None]]:
    return {s: plant.records(s, traffic(600, seed=s.partition, malformed=0.02)) for s in (ONE, TWO)}


def failing(
    monkeypatch: Patch, when: set[tuple[int, int]], error: type[Exception] = RuntimeError
) -> list[int]:
    """Let the split of the batches that begin at (partition, offset) raise, once each."""
    real = Transform.process
    hit: list[int] = []

    def process(self: Transform, batch: Batch, fmt: Any) -> TransformedBatch:
        place = (batch.source.partition, batch.first)
        if place in when:
            when.remove(place)
            hit.append(batch.first)
            raise error("it quotes 923001234567")
        return real(self, batch, fmt)

    monkeypatch.setattr(Transform, "process", process)
    return hit


def test_an_agent_raises(plant: Plant, values: Any, monkeypatch: Patch, caplog: Any) -> None:
    hit = failing(monkeypatch, {(0, 0), (0, 150), (1, 550)})
    reels = Reels(plant, values)
    reels.run()
    assert len(hit) == 3
    assert len(reels.restarts) >= 2
    plant.judge()


@pytest.mark.parametrize("for_ever", [False, True])
def test_one_of_several_batches_in_a_load_cannot_be_split(
    plant: Plant, values: Any, monkeypatch: Patch, for_ever: bool
) -> None:
    """The load fails as a whole; then the one at fault fails alone, and the others land at once."""
    together, alone = Transform.process_all, Transform.process
    loads: list[int] = []
    failures = [10**6 if for_ever else 2]

    def process_all(self: Transform, batches: Sequence[Batch], fmt: Any) -> list[TransformedBatch]:
        loads.append(len(batches))
        if len(batches) > 1 and any(b.source == ONE and b.first == 100 for b in batches):
            raise RuntimeError("it quotes 923001234567")
        return together(self, batches, fmt)

    def process(self: Transform, batch: Batch, fmt: Any) -> TransformedBatch:
        if batch.source == ONE and batch.first == 100 and failures[0]:
            failures[0] -= 1
            raise RuntimeError("it quotes 923001234567")
        return alone(self, batch, fmt)

    monkeypatch.setattr(Transform, "process_all", process_all)
    monkeypatch.setattr(Transform, "process", process)
    reels = Reels(plant, values, together=2)
    if for_ever:
        with pytest.raises(LetheError, match=r"cdr/0 from offset 100 cannot be split \(RuntimeError\)"):
            reels.run()
        assert reels.writer.warehouse.position(ONE.id) == 99
    else:
        reels.run()
        assert max(loads) == 2
        plant.judge()
    assert set(reels.restarts) == {ONE.id}


def test_a_batch_that_can_never_be_split_stops_the_worker_and_leaves_what_is_before_it(
    plant: Plant, values: Any, monkeypatch: Patch
) -> None:
    real = Transform.process

    def process(self: Transform, batch: Batch, fmt: Any) -> TransformedBatch:
        if batch.source == ONE and batch.last >= 320:
            raise RuntimeError("it quotes 923001234567")
        return real(self, batch, fmt)

    monkeypatch.setattr(Transform, "process", process)
    reels = Reels(plant, values)
    with pytest.raises(
        LetheError, match=r"cdr/0 from offset 3[05]0 cannot be split \(RuntimeError\)"
    ) as stopped:
        reels.run()
    assert "923001234567" not in str(stopped.value)
    assert reels.writer.warehouse.position(ONE.id) == 299
    monkeypatch.undo()
    Reels(plant, values).run()
    plant.judge()


def test_a_failure_while_everything_behind_it_waits_for_room(
    plant: Plant, values: Any, monkeypatch: Patch
) -> None:
    """What is dropped makes room: the agents must not wait for ever for a commit that has nothing to commit."""
    failing(monkeypatch, {(0, 0)})
    reels = Reels(plant, {ONE: values[ONE]}, size=20, flush=Flush(records=20, seconds=0.2, batch=20))
    plant.produced = [m for m in plant.produced if m.partition == 0]
    reels.run()
    plant.judge()


def test_a_commit_begins_when_there_is_a_commits_worth(plant: Plant, values: Any, monkeypatch: Patch) -> None:
    """Not at the next look: nothing is split until then."""
    monkeypatch.setattr(pipelines, "_TICK", 3_600)
    reels = Reels(plant, values)
    real, sizes = reels.commit, []

    def commit(batches: list[TransformedBatch]) -> None:
        sizes.append(sum(b.counts.records for b in batches))
        if len(sizes) == 4:
            monkeypatch.setattr(pipelines, "_TICK", 0.05)  # the rest is less than a commit's worth
        real(batches)

    reels.commit = commit
    reels.run()
    assert len(sizes) > 4
    plant.judge()


def test_a_record_waits_from_when_it_was_read(plant: Plant, values: Any, monkeypatch: Patch) -> None:
    """Not from when it was split: the flush interval is what people see of it."""
    real = Pipeline.deliver
    monkeypatch.setattr(
        Pipeline,
        "deliver",
        lambda self, load: real(self, [replace(b, since=time.monotonic() - 3_599) for b in load]),
    )
    reels = Reels(plant, values, flush=Flush(records=10**6, seconds=3_600, batch=50))
    reels.pipeline.finish_early = False
    reels.run()
    plant.judge()


def test_fenced_while_the_agents_wait_for_room(plant: Plant, values: Any) -> None:
    reels = Reels(plant, values, size=20, flush=Flush(records=20, seconds=60, batch=20))
    fences = [3]
    real = reels.commit

    def commit(batches: list[TransformedBatch]) -> None:
        if fences[0]:
            fences[0] -= 1
            raise FencedError("elsewhere")
        real(batches)

    reels.commit = commit
    reels.run()
    assert fences == [0]
    plant.judge()


def test_taken_away_while_the_agents_wait_for_room(plant: Plant, values: Any) -> None:
    reels = Reels(plant, values, size=20, flush=Flush(records=20, seconds=0.3, batch=20))
    steps = iter(range(10_000))

    def take_away_and_give_back() -> None:
        if next(steps) % 40 == 20:
            reels.revoke(ONE.id)
            reels.start(ONE.id)

    reels.before_step = take_away_and_give_back
    stop_at = iter(range(200))

    def for_a_while() -> None:
        if next(stop_at, None) is not None:
            take_away_and_give_back()

    reels.before_step = for_a_while
    reels.run()
    plant.judge()


def test_taken_away_in_the_middle_of_a_batch_and_given_back(
    plant: Plant, values: Any, monkeypatch: Patch
) -> None:
    """Another worker did some of it meanwhile: what was held, and what an agent had in its hands, is void."""
    reels = Reels(plant, values, flush=Flush(records=10_000, seconds=60, batch=50))
    rival, real = Writer(plant), Transform.process
    in_the_middle, given_back = threading.Event(), threading.Event()

    def process(self: Transform, batch: Batch, fmt: Any) -> TransformedBatch:
        if (batch.source, batch.first) == (ONE, 100) and self is reels.writer.runtime.transform:
            in_the_middle.set()
            assert given_back.wait(120)
        return real(self, batch, fmt)

    def take_away_and_give_back() -> None:
        if in_the_middle.is_set() and not given_back.is_set():
            reels.revoke(ONE.id)
            rival.commit(ONE, values[ONE], 0, 249)
            reels.start(ONE.id)
            given_back.set()

    monkeypatch.setattr(Transform, "process", process)
    reels.before_step = take_away_and_give_back
    reels.run()
    assert given_back.is_set()
    assert not reels.restarts, "nothing of the old assignment was committed, so nothing was fenced"
    plant.judge()


@pytest.mark.parametrize("lost", [{0}, {3}, {1, 2, 7}, {11}, {5, 11}], ids=str)
def test_the_channel_loses_batches(plant: Plant, values: Any, monkeypatch: Patch, lost: set[int]) -> None:
    # Only the last batch has none behind it that shows by its number what is missing: it needs the clock.
    monkeypatch.setattr(pipelines, "_LOST_SECONDS", 0.3 if 11 in lost else 60)
    # By what is in it, not by its number: where it is slow, more than is lost is taken for lost and read again.
    numbers = set(lost)

    def lose(batch: Batch) -> bool:
        if batch.source == ONE and batch.first // 50 in numbers:
            numbers.remove(batch.first // 50)
            return True
        return False

    reels = Reels(plant, values)
    reels.lose = lose
    reels.run()
    assert not numbers
    assert ONE.id in reels.restarts
    plant.judge()


def test_the_last_batch_of_a_quiet_partition_is_missed_while_others_are_busy(
    plant: Plant, values: Any, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(pipelines, "_LOST_SECONDS", 0.2)
    busy = source_of("busy")
    values[busy] = plant.records(busy, traffic(3_000, seed=9))
    reels = Reels(plant, values, size=50)
    gone: list[int] = []
    noticed: list[int] = []

    def lose(batch: Batch) -> bool:
        if batch.source == ONE and batch.last == 599 and not gone:
            gone.append(batch.last)
            return True
        if batch.source == busy and gone and ONE.id in reels.restarts and not noticed:
            noticed.append(batch.sequence)
        return False

    real = Transform.process

    def slowly(self: Transform, batch: Batch, fmt: Any) -> TransformedBatch:
        if gone and not noticed:  # however slow the machine is, the busy one is busy until then
            time.sleep(0.15)
        return real(self, batch, fmt)

    monkeypatch.setattr(Transform, "process", slowly)
    reels.lose = lose
    reels.run()
    assert gone == [599]
    assert noticed, "it was only noticed when nothing else was left to do"
    plant.judge()


def test_the_end_is_not_reported_while_something_is_to_be_read_again(plant: Plant, values: Any) -> None:
    """`--stop-at-end` must not end between a fenced commit and the new start of its partitions."""
    reels = Reels(plant, values)
    real, last = reels.commit, [True]

    def commit(batches: list[TransformedBatch]) -> None:
        if last[0] and any(b.last == 599 for b in batches):
            last[0] = False
            raise FencedError("elsewhere")
        real(batches)

    reels.commit = commit
    reels.run()
    assert not last[0]
    plant.judge()


def test_the_end_is_not_reported_before_a_worker_has_begun_to_read_again(site: Site) -> None:
    """The same with the real feed, whose thread takes up what it is asked for when it comes to it."""
    topic = site.topic(partitions=2)
    for partition in (0, 1):
        site.produce(topic, traffic(300, seed=partition), partition)
    worker = site.worker("--stop-at-end", altered={"fenced": 2})
    assert worker.wait() == 0, worker.text()
    assert worker.text().count("another worker committed this partition") >= 2
    site.judge()


def test_batches_that_come_twice_or_late_count_once(plant: Plant, values: Any) -> None:
    reels = Reels(plant, values)
    process, again = reels.pipeline.process, [0]

    async def repeated(load: Sequence[Batch]) -> None:
        await process(load)
        again[0] += 1
        await process(load)
        if load[0].sequence > 3:
            await process(reels.delivered[:1])

    reels.pipeline.process = repeated  # type: ignore[method-assign]
    reels.run()
    assert again[0] >= 24
    plant.judge()


def test_a_clock_that_jumps_forwards_over_the_end_of_a_month_and_back(
    plant: Plant, values: Any, monkeypatch: Patch
) -> None:
    """Records whose month ends between split and commit lose their identifiers, not themselves."""
    reels = Reels(plant, {ONE: values[ONE]})
    plant.produced = [m for m in plant.produced if m.partition == 0]
    real, jumped = reels.commit, [False]

    def commit(batches: list[TransformedBatch]) -> None:
        if not jumped[0] and any(b.last == 599 for b in batches):  # no later commit shows what is missing
            jumped[0] = True
            plant.ahead = timedelta(days=13 * 31)
            note_run(plant.runtime().objects, plant.now(), forced=True)  # a person says that it is right
        real(batches)

    reels.commit = commit
    reels.run()
    assert jumped == [True]
    plant.ahead = None
    ledger = plant.runtime().warehouse.ledger.stored.to_pyarrow_table().to_pylist()
    late = sum(row["late"] for row in ledger)
    assert late > 0
    assert sum(row["records"] for row in ledger) == 600
    assert sum(row["split"] + row["late"] + row["rejected"] for row in ledger) == 600
    archive = plant.runtime().warehouse.metadata.stored.to_pyarrow_table(columns=["offset"])
    assert (
        archive.num_rows
        == len(set(archive.column("offset").to_pylist()))
        == sum(row["split"] + row["late"] for row in ledger)
    )


def test_a_clock_that_is_ahead_takes_nothing_in(plant: Plant, values: Any) -> None:
    """The broker's time stamps contradict it: the worker stops before identifiers are dropped, and goes on in time."""
    plant.ahead = timedelta(days=2 * 365)
    ahead = Reels(plant, values)
    with pytest.raises(ClockError, match="the newest message is stamped"):
        ahead.run()
    plant.ahead = None
    runtime = plant.runtime()
    assert runtime.warehouse.metadata.stored.to_pyarrow_table().num_rows == 0
    Reels(plant, values).run()
    plant.judge()


def test_a_clock_set_back_opens_no_month_again(plant: Plant, values: Any) -> None:
    reels = Reels(plant, values)
    reels.run()
    (month, *_) = [k.month for k in plant.runtime().ring.list(plant.now()) if k.state == "live"]
    plant.ahead = window_end(month, 12) - datetime.now(UTC) + timedelta(hours=2)
    with pytest.raises(ExpiredKeyError):
        plant.runtime().ring.keys_for(month)
    plant.ahead = None
    ring = plant.runtime().ring  # another process, with the clock set back
    assert (month, "ended") in [(k.month, k.state) for k in ring.list(plant.now())]
    with pytest.raises(ExpiredKeyError):
        ring.keys_for(month)
    with pytest.raises(ClockError, match="latest-time"):
        ring.keys_for(month, create=True)


def test_a_clock_that_jumps_backwards_changes_nothing(plant: Plant, values: Any) -> None:
    reels = Reels(plant, values)
    real, jumped = reels.commit, [0]

    def commit(batches: list[TransformedBatch]) -> None:
        jumped[0] += 1
        plant.ahead = timedelta(hours=-6 * (jumped[0] % 2))
        real(batches)

    reels.commit = commit
    reels.run()
    assert jumped[0] > 1
    plant.judge()


def test_agents_that_fail_together_are_tried_again_together(
    plant: Plant, values: Any, monkeypatch: Patch
) -> None:
    """One hiccup of a key provider fails as many batches as there are agents: that is one failure, not several."""
    hit = failing(monkeypatch, {(0, first) for first in range(0, 250, 50)})
    reels = Reels(plant, {ONE: values[ONE]}, agents=5)
    plant.produced = [m for m in plant.produced if m.partition == 0]
    reels.run()
    assert len(hit) == 5
    plant.judge()
