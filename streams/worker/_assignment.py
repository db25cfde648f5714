"""Where a partition starts, and what becomes of it: assigned, started again, taken away, or found to have lost records.

A partition starts right behind what the metadata table holds of it, never at Kafka's committed offset. All methods are
called from the feed's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from confluent_kafka import TopicPartition

from lethe.schemas.errors import GapError
from lethe.streams.broker.topics import Streams
from lethe.streams.transform.batch import Source
from lethe.streams.worker._partition import Partition

log = logging.getLogger("lethe.feed")

_WATERMARK_SECONDS: Final = 15.0


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
        self.partitions: dict[tuple[str, int], Partition] = {}  # (topic, number) -> partition

    def start(self, consumer: Any, topic: str, number: int) -> TopicPartition:
        """Begin a partition right behind what the metadata table holds of it; return where to fetch from.

        Raises `GapError` when the topic no longer has that offset, unless gaps are accepted.
        """
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
        self._generation += 1
        self.partitions[topic, number] = Partition(
            source, topic, self._generation, next=first, start=start, gap=gap
        )
        self._listener.assigned(source, self._generation)
        return TopicPartition(topic, number, start)

    def revoke(self, topic: str, number: int) -> None:
        """Forget a partition that went to another worker, if it was held."""
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
                consumer.incremental_assign([self.start(consumer, topic, number)])

    def out_of_range(self, consumer: Any, topic: str, number: int) -> None:
        """Start a partition again whose position the broker does not have: it lost records at one end or the other.

        Raises `GapError` when it lost records that were committed, unless gaps are accepted.
        """
        partition = self.partitions.get((topic, number))
        if partition is None:
            return
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_WATERMARK_SECONDS)
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
