"""A feed that has to wait for room, because a commit takes long, stays in its group and reads on afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
from workers import Site, feeding, until

from lethe.streams.transform.batch import Batch, Source
from lethe.streams.worker import feed as feeds
from lethe.streams.worker.feed import Feed

PARTITIONS = 3


class Slow:
    """A sink that has room when it is told to; it notes which offsets came of each partition."""

    def __init__(self) -> None:
        self.offsets: dict[int, list[int]] = {}
        self.rooms: list[Future[None]] = []
        self.open = threading.Event()

    def assigned(self, source: Source, generation: int) -> None:
        self.offsets[source.partition] = []

    def revoked(self, source: Source) -> None:
        self.offsets.pop(source.partition, None)

    def deliver(self, load: list[Batch]) -> Future[None]:
        for batch in load:
            self.offsets[batch.source.partition] += map(int, batch.offsets)
        room: Future[None] = Future()
        self.rooms.append(room)
        if self.open.is_set():
            room.set_result(None)
        return room

    def give_room(self) -> None:
        """Have room for the load that was delivered last."""
        self.rooms[-1].set_result(None)


@contextmanager
def reading(site: Site) -> Iterator[tuple[Feed, Slow]]:
    sink = Slow()
    with feeding(site, sink, 1) as feed:
        yield feed, sink
    assert feed.error is None


def produce(site: Site, topic: str, count: int, size: int = 200) -> None:
    for partition in range(PARTITIONS):
        site.produce(topic, [("not good", b"x" * size)] * count, partition)


def test_it_reads_on_each_time_there_is_room_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_SILENT_SECONDS", 0.1)
    topic = site.topic("slow", PARTITIONS)
    produce(site, topic, 100)
    with reading(site) as (feed, sink):
        for turn in range(3):
            until(lambda turn=turn: feed.error or len(sink.rooms) > turn, 30, "a load is handed over")
            # Long enough for the feed to have asked the broker without room, more than once.
            threading.Event().wait(2)
            produce(site, topic, 100)
            sink.give_room()
        sink.open.set()
        until(lambda: feed.error or len(sink.rooms) > 3, 30, "a load is handed over")
        if not sink.rooms[-1].done():
            sink.give_room()
        wanted = {partition: list(range(400)) for partition in range(PARTITIONS)}
        until(lambda: feed.error or sink.offsets == wanted, 30, "each message came once, in its order")


def test_another_worker_gets_its_share_meanwhile(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_SILENT_SECONDS", 0.1)
    topic = site.topic("shared", PARTITIONS)
    produce(site, topic, 100)
    with reading(site) as (feed, sink):
        until(lambda: feed.error or sink.rooms, 30, "a load is handed over")
        with reading(site) as (other, others):
            others.open.set()
            until(lambda: other.error or others.offsets, 30, "the other one has a share")
            until(
                lambda: len(sink.offsets) + len(others.offsets) == PARTITIONS, 30, "this one has let go of it"
            )
            assert sink.offsets, "and keeps the rest"
            sink.give_room()
            sink.open.set()


def test_what_is_kept_meanwhile_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    size, most = 10_000, 50_000
    monkeypatch.setattr(feeds, "_SILENT_SECONDS", 0.01)
    monkeypatch.setattr(feeds, "LOAD_BYTES", most)
    topic = site.topic("large", PARTITIONS)
    with reading(site) as (feed, sink):
        until(lambda: feed.error or feed.settled.is_set(), 30, "it has its share")
        produce(site, topic, 200, size)
        until(lambda: feed.error or sink.rooms, 30, "a load is handed over")
        until(lambda: feed.error or any(p.bytes for p in feed.partitions()), 30, "more is kept")
        threading.Event().wait(5)
        assert 0 < sum(p.bytes for p in feed.partitions()) <= most + size
        sink.open.set()
        sink.give_room()
        wanted = {partition: list(range(200)) for partition in range(PARTITIONS)}
        until(lambda: feed.error or sink.offsets == wanted, 30, "each message came once, in its order")
