"""Where a partition starts, and what becomes of it: assigned, started again, taken away, or found to have lost records.

A partition starts right behind what the metadata table holds of it, never at Kafka's committed offset. All methods are
called from the feed's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from lethe.schemas.errors import GapError, TransientError
from lethe.streams.broker.topics import Streams
from lethe.streams.transform.batch import Source
from lethe.streams.worker._partition import Partition

log = logging.getLogger("lethe.feed")

_ANSWER_SECONDS: Final = 15.0  # for all partitions of one assignment: well below max.poll.interval.ms
_AGAIN_SECONDS: Final = 1.0  # between two tries, and for one of them
_SAID_SECONDS: Final = 60.0
REFUSED: Final = {
    KafkaError._FATAL: "see its log, then start again",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "its user needs READ and DESCRIBE on the topic (docs/kafka.md)",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "its user needs READ on the group (docs/kafka.md)",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "was the topic deleted?",
}
"""Answers of a broker that end a worker, and what to do about each."""


def refusal(error: KafkaError, about: str) -> TransientError:
    """Say what the broker refuses, and what to do about it."""
    return TransientError(
        f"the broker refuses {about}: {error.name()}; {REFUSED.get(error.code(), REFUSED[KafkaError._FATAL])}"
    )


class Listener(Protocol):
    """Who is told of assignments."""

    def assigned(self, source: Source, generation: int) -> None:
        """Begin a partition (again); what is held of an earlier generation is void."""

    def revoked(self, source: Source) -> None:
        """Let go of a partition that went to another worker; what is held of it is void."""


class Assignments:
    """The partitions of this worker. Each start of one has a generation of its own, counted over all partitions."""

    def __init__(
        self,
        streams: Streams,
        positions: Callable[[str], int | None],
        listener: Listener,
        accept_gap: bool,
    ) -> None:
        self._streams = streams
        self._positions = positions
        self._listener = listener
        self._accept_gap = accept_gap
        self._generation = 0
        self._asked = self._said = float("-inf")
        self.partitions: dict[tuple[str, int], Partition] = {}  # (topic, number) -> partition
        self.without_leader: set[tuple[str, int]] = set()
        """Partitions that are this worker's and that no broker answers for; `ask_again` begins them."""

    def begin(
        self, consumer: Any, shares: Iterable[tuple[str, int]], seconds: float = _ANSWER_SECONDS
    ) -> list[TopicPartition]:
        """Begin partitions, (topic, number) each; return where to fetch those from that a broker answers for.

        The others are kept in `without_leader`: a broker that goes takes some seconds to be followed by another. Raises
        `GapError` when a topic no longer has the offset, unless gaps are accepted, and `TransientError` when a topic is
        gone or may not be read.
        """
        found, until = [], time.monotonic() + seconds
        for topic, number in shares:
            try:
                found.append(self._start(consumer, topic, number, max(0.1, until - time.monotonic())))
                self.without_leader.discard((topic, number))
            except KafkaException as failed:
                error: KafkaError = failed.args[0]
                if error.fatal() or error.code() in REFUSED:
                    raise refusal(error, f"topic {topic}") from None
                self._put_aside(topic, number, error)
        return found

    def ask_again(self, consumer: Any) -> None:
        """Begin what no broker answered for, if one does now. Not to be called from the library's own calls."""
        now = time.monotonic()
        if self.without_leader and now - self._asked >= _AGAIN_SECONDS:
            # By itself the library asks anew only for partitions it reads already.
            with suppress(KafkaException):
                consumer.list_topics(timeout=_AGAIN_SECONDS)
            consumer.incremental_assign(self.begin(consumer, sorted(self.without_leader), _AGAIN_SECONDS))
            self._asked = time.monotonic()

    def _put_aside(self, topic: str, number: int, error: KafkaError) -> None:
        self.revoke(topic, number)  # what is held of it is read again
        self.without_leader.add((topic, number))
        if time.monotonic() - self._said >= _SAID_SECONDS:
            self._said = time.monotonic()
            log.warning(
                "no broker answers for topic %s partition %d (%s): it is asked for again until one does",
                topic,
                number,
                error.name(),
            )

    def _start(self, consumer: Any, topic: str, number: int, seconds: float) -> TopicPartition:
        """Begin a partition right behind what the metadata table holds of it; return where to fetch from.

        Raises `GapError` when the topic no longer has that offset, unless gaps are accepted, and `KafkaException` when
        no broker answers.
        """
        source = self._streams.source(topic, number)
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=seconds)
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
        self._generation += 1
        self.partitions[topic, number] = Partition(
            source, topic, self._generation, next=first, start=start, gap=gap
        )
        self._listener.assigned(source, self._generation)
        return TopicPartition(topic, number, start)

    def revoke(self, topic: str, number: int) -> None:
        """Forget a partition that went to another worker, if it was held."""
        self.without_leader.discard((topic, number))
        partition = self.partitions.pop((topic, number), None)
        if partition is not None:
            self._listener.revoked(partition.source)

    def restart(self, consumer: Any, source: str) -> None:
        """Drop what is held of a source and read it again from the table's position, if it is still assigned."""
        for (topic, number), partition in list(self.partitions.items()):
            if partition.source.id == source:
                if all((p.topic, p.partition) != (topic, number) for p in consumer.assignment()):
                    # It was taken away, and the library did not tell: that must not end the worker.
                    self.revoke(topic, number)
                    continue
                log.warning("reading %s/%d again from the table", partition.source.stream, number)
                consumer.incremental_unassign([TopicPartition(topic, number)])
                begun = self.begin(consumer, [(topic, number)])
                consumer.incremental_assign(begun)
                consumer.resume(begun)  # the library keeps a pause over both

    def out_of_range(self, consumer: Any, topic: str, number: int) -> None:
        """Start a partition again whose position the broker does not have: it lost records at one end or the other.

        Raises `GapError` when it lost records that were committed, unless gaps are accepted.
        """
        partition = self.partitions.get((topic, number))
        if partition is None:
            return
        try:
            low, _ = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ANSWER_SECONDS)
        except KafkaException as failed:
            # Read again from the table's position it is out of range once more, when somebody can say how.
            consumer.incremental_unassign([TopicPartition(topic, number)])
            self._put_aside(topic, number, failed.args[0])
            return
        if partition.next >= low:
            if not self._accept_gap:
                raise GapError(
                    f"topic {topic} partition {number} ends before offset {partition.next}, which was committed: the "
                    "topic lost records it had; `lethe worker --accept-gap` goes on with it as a new stream"
                )
            self._streams.renew(topic, number)
        self.restart(consumer, partition.source.id)

    def offsets(self, done: Mapping[str, int]) -> list[TopicPartition]:
        """Return what to commit to Kafka for the last offsets done of sources: the offset behind each."""
        return [
            TopicPartition(topic, number, done[p.source.id] + 1)
            for (topic, number), p in self.partitions.items()
            if p.source.id in done
        ]
