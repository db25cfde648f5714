"""The Kafka feed: one thread that fetches thousands of messages a call and hands them over as batches.

A partition starts at the position of the metadata table, never at Kafka's committed offset, and is started again from
there whenever something of it was lost on the way. Offsets are committed to Kafka only so that its tools show the lag.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from itertools import compress
from typing import Any, Final, Protocol

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from lethe.operations.settings import Settings
from lethe.schemas.errors import GapError, LetheError, TransientError
from lethe.streams.transform.batch import LOAD_BYTES, Batch, Source
from lethe.streams.worker.reading import Partition, Portion, runs
from lethe.streams.worker.topics import Streams, client_options

log = logging.getLogger("lethe.feed")

_FATAL: Final = frozenset(
    {KafkaError._FATAL, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART}
)
_WATERMARK_SECONDS: Final = 15.0
_LAG_SECONDS: Final = 2.0
_SAME_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 20.0
_SILENT_SECONDS: Final = 20.0  # how long the thread may not call the broker: well below max.poll.interval.ms


class Sink(Protocol):
    """Where batches go and who is told of assignments. Called from the feed's thread."""

    def assigned(self, source: Source, epoch: int) -> None:
        """A partition starts (again); what is held of an earlier epoch is void."""

    def revoked(self, source: Source) -> None:
        """A partition went to another worker; what is held of it is void."""

    def deliver(self, load: list[Batch]) -> Future[None]:
        """Take batches of different partitions; the future is done when there is room for the next."""


class Feed:
    """Reads a worker's share of the topics. `run` is the thread's body; the rest may be called from outside."""

    def __init__(
        self,
        settings: Settings,
        streams: Streams,
        positions: Callable[[str], int | None],
        sink: Sink,
        accept_gap: bool = False,
        same: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._streams = streams
        self._positions = positions
        self._sink = sink
        self._accept_gap = accept_gap
        self._same = same  # raises `GapError` when a topic is not the one it was
        self._same_asked = time.monotonic()
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._epochs = 0
        self._stop = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._portion = Portion(settings.flush.batch)
        self._linger = min(0.5, settings.flush.seconds / 4)
        self._restarts_asked = 0  # counted by whoever asks, in one thread
        self._restarts_begun = 0  # counted by the feed's thread
        self.settled = threading.Event()  # the group has given this worker its share, be it nothing
        self.error: BaseException | None = None
        self._consumer: Any = None
        self._lag: dict[tuple[str, int], int] = {}
        self._lag_heard = 0.0
        self._waited_since = time.monotonic()

    def run(self) -> None:
        """Consume until stopped; a fatal error is left in `error`."""
        try:
            self._consumer = Consumer(self._options())
            self._consumer.subscribe(
                list(self._settings.sources),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
            while not self._stop.is_set() and self.error is None:
                self._step()
        except BaseException as error:  # noqa: BLE001  (the thread's last act: whoever waits must learn of it)
            self.error = self.error or (
                error if isinstance(error, LetheError) else _unexpected("reading", error)
            )
        finally:
            self._close()

    def stop(self) -> None:
        """Ask the thread to leave the group and end."""
        self._stop.set()

    def restart(self, source: str) -> None:
        """Drop what is held of a source and read it again from the table's position, if it is still assigned."""
        self._restarts_asked += 1  # first: what is to be read again is not at its end
        self._jobs.put(lambda: self._restart_asked(source))

    def publish_offsets(self, done: Mapping[str, int]) -> None:
        """Tell Kafka the last offset done of each source, for lag monitoring."""
        self._jobs.put(lambda: self._commit_offsets(done))

    def caught_up(self) -> bool:
        """Whether everything that was there at the assignment has been handed over."""
        return (
            self.settled.is_set()
            and self._restarts_asked == self._restarts_begun
            and all(p.at_end and not p.messages for p in list(self._partitions.values()))
        )

    def partitions(self) -> list[Partition]:
        """The assigned partitions."""
        return list(self._partitions.values())

    def lag(self) -> dict[tuple[str, int], int]:
        """Messages behind the end of each assigned partition, as last heard of: (stream, partition) -> messages."""
        return dict(self._lag)

    def _measure_lag(self) -> None:
        # In the feed's thread alone: asked from another one, the library can deadlock with its own callbacks.
        now = time.monotonic()
        if now - self._lag_heard >= _LAG_SECONDS:
            self._lag_heard = now
            self._lag = {
                (p.source.stream, p.source.partition): max(0, high - p.next)
                for p in self._partitions.values()
                if (high := self._high(p)) >= 0
            }

    def _options(self) -> dict[str, Any]:
        kafka = self._settings.kafka
        return {
            **client_options(self._settings),
            "group.id": kafka.group,
            "session.timeout.ms": kafka.session_timeout_ms,
            "heartbeat.interval.ms": max(300, kafka.session_timeout_ms // 10),
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "queued.min.messages": 2 * self._settings.flush.batch,
            "queued.max.messages.kbytes": 24_576,
            "fetch.max.bytes": 8_388_608,
            "fetch.message.max.bytes": 2_097_152,
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 10,  # by default a full queue stops fetching for a whole second
            "statistics.interval.ms": 1_000,
            "stats_cb": self._on_statistics,
        }

    def _step(self) -> None:
        while not self._jobs.empty():
            self._jobs.get()()
        messages = self._consumer.consume(self._portion.count, self._linger)
        if self.error is not None:
            return
        self._portion.got(len(messages), self._sort_in(messages))
        self._measure_lag()
        self._complain()
        if not messages:
            self._wonder()
        now = time.monotonic()
        waiting = [p for p in self._partitions.values() if p.messages]
        if waiting and (
            sum(len(p.messages) for p in waiting) >= self._settings.flush.batch
            or sum(p.bytes for p in waiting) >= LOAD_BYTES
            or now - min(p.since for p in waiting) >= self._linger
            or any(p.at_end for p in waiting)
        ):
            self._hand_over(waiting)

    def _complain(self) -> None:
        """Say that the group takes long to give this worker its share: nothing else shows why nothing happens."""
        now = time.monotonic()
        if not self.settled.is_set() and now - self._waited_since >= _PATIENCE_SECONDS:
            self._waited_since = now
            log.warning(
                "still waiting for a share of the partitions: the group %s is not at rest; is another member of it "
                "dead or stuck? It is given up after its session time-out",
                self._settings.kafka.group,
            )

    def _wonder(self) -> None:
        """Silence may mean that a topic is gone and another one stands in its place: the library does not say so."""
        now = time.monotonic()
        if now - self._same_asked >= _SAME_SECONDS:
            self._same_asked = now
            try:
                self._same()
            except TransientError as error:
                log.info("%s", error)

    def _sort_in(self, messages: list[Any]) -> int:
        """Messages to their partitions; returns how many bytes they have. They come in long runs of one partition: a
        run is moved at once."""
        if not messages:
            return 0
        # No Python of our own for each message: at this speed it would be a tenth of all work.
        failed = [*map(Message.error, messages)]
        if any(failed):
            size = self._take_in(
                [message for message, error in zip(messages, failed, strict=True) if not error]
            )
            for message in compress(messages, failed):
                self._on_error(message)
            return size
        return self._take_in(messages)

    def _take_in(self, messages: list[Any]) -> int:
        now, size = time.monotonic(), 0
        for topic, number, some in runs(messages, len(self._settings.sources) > 1):
            partition = self._partitions.get((topic, number))
            if partition is None:
                continue  # revoked while it was on its way
            size += partition.take_in(some, now)
        return size

    def _on_error(self, message: Any) -> None:
        error: KafkaError = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            partition = self._partitions.get((message.topic(), message.partition()))
            if partition is not None:
                partition.end = partition.end or message.offset()
                partition.at_end = True
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._out_of_range(message.topic(), message.partition())
        elif error.fatal() or error.code() in _FATAL:
            self.error = TransientError(
                f"the broker refuses: {error.name()}; check its log, then start again"
            )
        else:
            log.warning("broker: %s", error.name())

    def _hand_over(self, partitions: list[Partition]) -> None:
        """Deliver what was read, as one load; stay in the group while there is no room."""
        self._wait_for_room(self._sink.deliver([partition.batch(self._high) for partition in partitions]))

    def _wait_for_room(self, room: Future[None]) -> None:
        """Wait until the pipeline takes the next batch; if that takes long, stay in the group without fetching."""
        started = time.monotonic()
        paused = False
        while not self._stop.is_set() and self.error is None:
            try:
                room.result(timeout=0.5)
                break
            except TimeoutError:
                if time.monotonic() - started >= _SILENT_SECONDS:
                    self._consumer.pause(self._consumer.assignment())
                    paused = True
                    self._sort_in(self._consumer.consume(1, 0.2))
        if paused and not self._stop.is_set() and self.error is None:
            # Not `resume`: a partition nothing was fetched from yet would stay silent. Offsets are given instead.
            for (topic, number), partition in list(self._partitions.items()):
                behind = partition.messages[-1].offset() + 1 if partition.messages else partition.next
                self._consumer.incremental_unassign([TopicPartition(topic, number)])
                self._consumer.incremental_assign(
                    [TopicPartition(topic, number, max(behind, partition.start))]
                )

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        # An exception in here would surface once, after which the library reads from offsets of its own choice.
        try:
            consumer.incremental_assign([self._start(consumer, p.topic, p.partition) for p in partitions])
            self.settled.set()
        except BaseException as error:  # noqa: BLE001
            self.error = error if isinstance(error, LetheError) else _unexpected("assignment", error)
            consumer.incremental_assign([])

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        try:
            for p in partitions:
                gone = self._partitions.pop((p.topic, p.partition), None)
                if gone is not None:
                    self._sink.revoked(gone.source)
            consumer.incremental_unassign(partitions)
        except BaseException as error:  # noqa: BLE001
            self.error = _unexpected("revocation", error)

    def _on_statistics(self, text: str) -> None:
        # The library calls back for no share that is empty: only its statistics tell that the group is at rest.
        if not self.settled.is_set() and orjson.loads(text).get("cgrp", {}).get("join_state") == "steady":
            self.settled.set()

    def _start(self, consumer: Any, topic: str, number: int) -> TopicPartition:
        """Where a partition starts: right behind what the metadata table holds of it."""
        source = self._streams.source(topic, number)
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_WATERMARK_SECONDS)
        done = self._positions(source.id)
        first = start = low if done is None else done + 1
        gap = self._streams.gap(topic) if done is None else None
        if start < low:
            if not self._accept_gap:
                raise GapError(
                    f"topic {topic} partition {number}: offsets {first} to {low - 1} are gone from the topic before "
                    "they were read (retention); `lethe worker --accept-gap` notes that down and goes on"
                )
            start, gap = low, f"offsets {first} to {low - 1} were gone from the topic"
        self._epochs += 1
        self._partitions[topic, number] = Partition(
            source, topic, self._epochs, next=first, start=start, gap=gap
        )
        self._sink.assigned(source, self._epochs)
        return TopicPartition(topic, number, start)

    def _out_of_range(self, topic: str, number: int) -> None:
        """The broker has nothing at the position we start from: it lost records at one end or the other."""
        partition = self._partitions.get((topic, number))
        if partition is None:
            return
        low, _ = self._consumer.get_watermark_offsets(
            TopicPartition(topic, number), timeout=_WATERMARK_SECONDS
        )
        if partition.next >= low:
            if not self._accept_gap:
                self.error = GapError(
                    f"topic {topic} partition {number} ends before offset {partition.next}, which was committed: the "
                    "topic lost records it had; `lethe worker --accept-gap` goes on with it as a new stream"
                )
                return
            self._streams.renew(topic, number)
        try:
            self._restart(partition.source.id)
        except LetheError as error:
            self.error = error

    def _high(self, partition: Partition) -> int:
        """The end of the partition as the last fetch told it (the broker's own answer may lag behind)."""
        place = TopicPartition(partition.topic, partition.source.partition)
        return int(self._consumer.get_watermark_offsets(place, cached=True)[1])

    def _restart_asked(self, source: str) -> None:
        try:
            self._restart(source)
        finally:
            self._restarts_begun += 1

    def _restart(self, source: str) -> None:
        for (topic, number), partition in list(self._partitions.items()):
            if partition.source.id == source:
                if all((p.topic, p.partition) != (topic, number) for p in self._consumer.assignment()):
                    # It was taken away, and nobody said so: that must not end the worker.
                    del self._partitions[topic, number]
                    self._sink.revoked(partition.source)
                    continue
                log.warning("reading %s/%d again from the table", partition.source.stream, number)
                self._consumer.incremental_unassign([TopicPartition(topic, number)])
                self._consumer.incremental_assign([self._start(self._consumer, topic, number)])

    def _commit_offsets(self, done: Mapping[str, int]) -> None:
        offsets = [
            TopicPartition(topic, number, done[p.source.id] + 1)
            for (topic, number), p in self._partitions.items()
            if p.source.id in done
        ]
        if offsets:
            try:
                self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                log.info("offsets for lag monitoring not committed: %s", error.args[0].name())

    def _close(self) -> None:
        if self._consumer is not None:
            try:
                while not self._jobs.empty():
                    self._jobs.get()()
                self._consumer.close()
            except (KafkaException, RuntimeError, LetheError):
                log.info("the consumer did not close cleanly; its group will notice by itself")


def _unexpected(where: str, error: BaseException) -> LetheError:
    log.error("%s failed", where, exc_info=error)
    return TransientError(f"{where} failed: {type(error).__name__}; start again")
