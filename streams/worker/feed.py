"""The Kafka feed: one thread that fetches thousands of messages a call and hands them over as batches.

Offsets are committed to Kafka only so that its tools show the lag; where a partition starts is decided in
`_assignment`.
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
from lethe.schemas.errors import LetheError, TransientError
from lethe.streams.broker.client import Login, client_options, make_client
from lethe.streams.broker.topics import Streams
from lethe.streams.transform.batch import LOAD_BYTES, Batch
from lethe.streams.worker._assignment import REFUSED, Assignments, Listener, refusal
from lethe.streams.worker._partition import Partition, Portion, runs

log = logging.getLogger("lethe.feed")

_LAG_SECONDS: Final = 2.0
_CHECK_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 20.0
_LONGEST_PATIENCE: Final = 640.0
_SILENT_SECONDS: Final = 2.0  # how long the thread may not call the broker while there is no room
_SILENT_WHEN_FULL: Final = 60.0  # the same while much is held: well below max.poll.interval.ms


class Sink(Listener, Protocol):
    """Where batches go and who is told of assignments. Called from the feed's thread."""

    def deliver(self, load: list[Batch]) -> Future[None]:
        """Take note of batches of different partitions; the future is done when there is room for the next."""


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
        self._sink = sink
        self._assignments = Assignments(streams, positions, sink, accept_gap)
        self._same = same  # raises `GapError` when a topic is not the one it was
        self._topics_checked = time.monotonic()
        self._stop = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._portion = Portion(settings.flush.batch)
        self._linger = min(0.5, settings.flush.seconds / 4)
        self._asking = threading.Lock()
        self._restarts_asked = 0  # counted by whoever asks
        self._restarts_begun = 0  # counted by the feed's thread
        self._handing_over = False  # what was read has left its partition and is not noted by the sink yet
        self.settled = threading.Event()  # the group has given this worker its share, be it nothing
        self.error: BaseException | None = None
        self._consumer: Any = None
        self._login = Login(settings)
        self._lag: dict[tuple[str, int], int] = {}
        self._lag_heard = 0.0
        self._waited_since, self._patience = time.monotonic(), _PATIENCE_SECONDS
        self._not_checked = ""  # why topics could not be checked, as last said

    def run(self) -> None:
        """Consume until stopped; a fatal error is left in `error`."""
        try:
            self._connect()
            while not self._stop.is_set() and self.error is None:
                self._step()
                self._check_login()
        except BaseException as error:  # noqa: BLE001  (the thread's last act: whoever waits must learn of it)
            self.error = self.error or (
                error if isinstance(error, LetheError) else _unexpected("reading", error)
            )
        finally:
            self._close()

    def _connect(self) -> None:
        self._login.forget()
        self._consumer = make_client(Consumer, self._options())
        self._consumer.subscribe(
            list(self._settings.sources),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def _check_login(self) -> None:
        """Use a password or certificate that was rotated; end when the log-in stays refused."""
        if self._login.rotated():
            log.info("the broker's credentials have changed: joining the group again with the new ones")
            self._join_anew()
        self.error = self.error or self._login.refused()

    def _join_anew(self) -> None:
        self._consumer.close()
        self._connect()

    def stop(self) -> None:
        """Ask the thread to leave the group and end."""
        self._stop.set()

    def restart(self, source: str) -> None:
        """Drop what is held of a source and read it again from the table's position, if it is still assigned."""
        with self._asking:
            self._restarts_asked += 1  # first: what is to be read again is not at its end
        self._jobs.put(lambda: self._restart_asked(source))

    def join_anew(self) -> None:
        """Leave the group and join it again by a new consumer; everything is read again from the table's positions."""
        self._jobs.put(self._join_anew)

    def publish_offsets(self, done: Mapping[str, int]) -> None:
        """Tell Kafka the last offset done of each source, for lag monitoring."""
        self._jobs.put(lambda: self._commit_offsets(done))

    def caught_up(self) -> bool:
        """Tell whether everything that was there at the assignment has been handed over.

        It is true of what the sink has noted by now: ask the sink afterwards, not before, what it still holds.
        """
        return (
            self.settled.is_set()
            and not self._assignments.without_leader
            and self._restarts_asked == self._restarts_begun
            and all(p.at_end and not p.messages for p in list(self._assignments.partitions.values()))
            and not self._handing_over  # last: a partition is at its end before its last batch is noted
        )

    @property
    def shut_out(self) -> bool:
        """Tell whether the broker refuses the log-in."""
        return self._login.in_doubt

    def trouble(self) -> str | None:
        """Say of which partition no broker answers, if there is one."""
        if not (missing := sorted(self._assignments.without_leader)):
            return None
        (topic, number), others = missing[0], len(missing) - 1
        more = f", and {others} more" if others else ""
        return f"no broker answers for topic {topic} partition {number}{more}"

    def partitions(self) -> list[Partition]:
        """Return the assigned partitions."""
        return list(self._assignments.partitions.values())

    def lag(self) -> dict[tuple[str, int], int]:
        """Return how far each assigned partition is behind its end, as last heard: (stream, partition) -> messages."""
        return dict(self._lag)

    def _measure_lag(self) -> None:
        # In the feed's thread alone: asked from another one, the library can deadlock with its own callbacks.
        now = time.monotonic()
        if now - self._lag_heard >= _LAG_SECONDS:
            self._lag_heard = now
            self._lag = {
                (p.source.stream, p.source.partition): max(0, high - p.next)
                for p in self._assignments.partitions.values()
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
            "error_cb": self._login.heard,
        }

    def _step(self) -> None:
        while not self._jobs.empty():
            self._jobs.get()()
        self._assignments.ask_again(self._consumer)
        messages = self._consumer.consume(self._portion.count, self._linger)
        if self.error is not None:
            return
        self._portion.got(len(messages), self._sort_in(messages))
        self._measure_lag()
        self._warn_of_waiting()
        if not messages:
            self._check_topics()
        now = time.monotonic()
        waiting = [p for p in self._assignments.partitions.values() if p.messages]
        if waiting and (
            sum(len(p.messages) for p in waiting) >= self._settings.flush.batch
            or sum(p.bytes for p in waiting) >= LOAD_BYTES
            or now - min(p.since for p in waiting) >= self._linger
            or any(p.at_end for p in waiting)
        ):
            self._hand_over(waiting)

    def _warn_of_waiting(self) -> None:
        """Warn that the group takes long to give this worker its share: nothing else shows why nothing happens."""
        now = time.monotonic()
        if not self.settled.is_set() and now - self._waited_since >= self._patience:
            self._waited_since, self._patience = now, min(2 * self._patience, _LONGEST_PATIENCE)
            log.warning(
                "still waiting for a share of the partitions: the group %s is not at rest; is another member of it "
                "dead or stuck? It is given up after its session time-out",
                self._settings.kafka.group,
            )

    def _check_topics(self) -> None:
        """Check, when nothing comes, that no topic was deleted and made again: the library does not say so."""
        now = time.monotonic()
        if now - self._topics_checked >= _CHECK_SECONDS:
            self._topics_checked = now
            try:
                self._same()
                self._not_checked = ""
            except TransientError as error:
                if self._not_checked != str(error):
                    self._not_checked = str(error)
                    log.info("%s", error)

    def _sort_in(self, messages: list[Any]) -> int:
        """Give messages to their partitions, a run at a time; return how many bytes they have."""
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
            partition = self._assignments.partitions.get((topic, number))
            if partition is None:
                continue  # revoked while it was on its way
            size += partition.take_in(some, now)
        return size

    def _on_error(self, message: Any) -> None:
        error: KafkaError = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            partition = self._assignments.partitions.get((message.topic(), message.partition()))
            if partition is not None:
                partition.end = partition.end or message.offset()
                partition.at_end = True
                partition.passed = message.offset()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            try:
                self._assignments.out_of_range(self._consumer, message.topic(), message.partition())
            except LetheError as lost:
                self.error = lost
        elif error.fatal() or error.code() in REFUSED:
            topic, group = message.topic(), self._settings.kafka.group
            self.error = refusal(error, f"topic {topic}" if topic else f"group {group}")
        else:
            log.warning("broker: %s", error.name())

    def _hand_over(self, partitions: list[Partition]) -> None:
        """Deliver what was read, as one load; stay in the group while there is no room."""
        self._handing_over = True
        room = self._sink.deliver([partition.batch(self._high) for partition in partitions])
        self._handing_over = False
        self._wait_for_room(room)

    def _wait_for_room(self, room: Future[None]) -> None:
        """Wait until the pipeline takes the next batch; if that takes long, stay in the group, a message at a time.

        Partitions are not paused meanwhile: the library may never fetch again from one that is given back after a
        pause. What comes is kept for the next load; once that is much, the group is answered less often.
        """
        asked = time.monotonic()
        while not self._stop.is_set() and self.error is None:
            try:
                room.result(timeout=0.5)
                break
            except TimeoutError:
                held = sum(p.bytes for p in self._assignments.partitions.values())
                if time.monotonic() - asked >= (_SILENT_SECONDS if held < LOAD_BYTES else _SILENT_WHEN_FULL):
                    asked = time.monotonic()
                    self._sort_in(self._consumer.consume(1, 0.2))

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        # An exception in here would surface once, after which the library reads from offsets of its own choice.
        try:
            shares = [(p.topic, p.partition) for p in partitions]
            consumer.incremental_assign(self._assignments.begin(consumer, shares))
            self.settled.set()
        except BaseException as error:  # noqa: BLE001
            self.error = error if isinstance(error, LetheError) else _unexpected("assignment", error)
            consumer.incremental_assign([])

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        try:
            held = [p for p in partitions if (p.topic, p.partition) not in self._assignments.without_leader]
            for p in partitions:
                self._assignments.revoke(p.topic, p.partition)
            consumer.incremental_unassign(held)
        except BaseException as error:  # noqa: BLE001
            self.error = _unexpected("revocation", error)

    def _on_statistics(self, text: str) -> None:
        # The library calls back for no share that is empty: only its statistics tell that the group is at rest.
        if not self.settled.is_set() or self._login.in_doubt:
            found = orjson.loads(text)
            if found.get("cgrp", {}).get("join_state") == "steady":
                self.settled.set()
            if any(broker.get("state") == "UP" for broker in found.get("brokers", {}).values()):
                self._login.accepted()

    def _high(self, partition: Partition) -> int:
        """Return the end of the partition as the last fetch told it (the broker's own answer may lag behind)."""
        place = TopicPartition(partition.topic, partition.source.partition)
        return int(self._consumer.get_watermark_offsets(place, cached=True)[1])

    def _restart_asked(self, source: str) -> None:
        try:
            self._assignments.restart(self._consumer, source)
        finally:
            self._restarts_begun += 1

    def _commit_offsets(self, done: Mapping[str, int]) -> None:
        offsets = self._assignments.offsets(done)
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
    if isinstance(error, KafkaException) and error.args[0].code() in REFUSED:
        return refusal(error.args[0], where)
    log.error("%s failed", where, exc_info=error)
    what = error.args[0].name() if isinstance(error, KafkaException) else type(error).__name__
    return TransientError(f"{where} failed: {what}; start again")
