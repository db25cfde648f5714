"""`--stop-at-end`: the end of what was there is reached once everything is committed, whatever comes later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from plant import Plant, Reels, batch_of, source_of
from workers import Site, traffic

from lethe.operations.settings import Settings
from lethe.streams.broker.topics import Streams
from lethe.streams.transform.batch import Batch, Source
from lethe.streams.worker._partition import Partition
from lethe.streams.worker.feed import Feed

ONE = source_of("cdr", 0)


class _Sink:
    """Asks at each step whether everything is handed over."""

    def __init__(self) -> None:
        self.heard: list[bool] = []
        self.feed: Feed | None = None

    def ask(self, *_: Any) -> int:
        assert self.feed is not None
        self.heard.append(self.feed.caught_up())
        return 1

    def deliver(self, load: list[Batch]) -> Future[None]:
        assert len(load) == 1
        self.ask()
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def assigned(self, source: Source, generation: int) -> None:
        """Nothing to do."""

    def revoked(self, source: Source) -> None:
        """Nothing to do."""


class _Message:
    """What a partition asks of the library's messages."""

    def value(self) -> bytes:
        return b"{}"

    def offset(self) -> int:
        return 0

    def headers(self) -> None:
        return None

    def __len__(self) -> int:
        return 2


def test_the_last_batch_counts_as_handed_over_once_the_sink_knows_it(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("lethe.streams.worker._partition.Message", _Message)
    sink = _Sink()
    feed = Feed(
        Settings(root=str(tmp_path), keys_dir=tmp_path), Streams({}, Settings(), {}), lambda _: None, sink
    )
    sink.feed = feed
    feed.settled.set()
    partition = Partition(ONE, "cdr", 1, next=0, start=0)
    partition.take_in([_Message()], 0.0)
    feed._assignments.partitions["cdr", 0] = partition
    monkeypatch.setattr(feed, "_high", sink.ask)  # asked while the batch is made
    assert not feed.caught_up()
    partition.at_end = True  # the broker's word that there is no more comes before the last batch is made
    feed._hand_over([partition])
    assert sink.heard == [False, False], "neither while it is made nor while the sink takes note of it"
    assert feed.caught_up()


def test_a_batch_that_is_delivered_between_two_looks_is_waited_for(plant: Plant) -> None:
    values = plant.records(ONE, traffic(20))
    reels = Reels(plant, {ONE: values})
    late = _Deliver(reels, lambda: batch_of(ONE, 0, values))
    reels.pipeline.connect(late, lambda _: Future())  # type: ignore[arg-type]
    reels.pipeline.assigned(ONE, 1)
    assert not reels.pipeline.drained()
    assert late.delivered
    reels.pipeline.close()


class _Deliver:
    """A reader that hands its last batch over just before it says that it has."""

    def __init__(self, reels: Reels, batch: Callable[[], Batch]) -> None:
        self._reels, self._batch = reels, batch
        self.delivered = False

    def restart(self, source: str) -> None:
        raise AssertionError(source)

    def publish_offsets(self, done: dict[str, int]) -> None:
        raise AssertionError(done)

    def caught_up(self) -> bool:
        if not self.delivered:
            self._reels.pipeline.deliver([self._batch()])
            self.delivered = True
        return True


def test_a_worker_stops_at_the_end_of_what_was_there_while_more_is_coming(site: Site) -> None:
    topic = site.topic("cdr", 1)
    broker = site.broker
    assert broker is not None
    site.produce(topic, traffic(2_000))
    over = threading.Event()
    more = [value for _, value in traffic(5, seed=1)]

    def go_on() -> None:
        while not over.wait(0.02):
            broker.produce(topic, more)

    producer = threading.Thread(target=go_on)
    producer.start()
    try:
        for _ in range(2):
            site.drain()
    finally:
        over.set()
        producer.join()
    assert site.archived() >= 2_000
