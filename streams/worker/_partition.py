"""What has been read of a partition and not handed over yet: messages of the broker's library, made into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from operator import ne
from typing import Any, Final

import numpy as np
from confluent_kafka import Message

from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Kinds
from lethe.streams.transform.batch import Batch, Source

_PORTION_BYTES: Final = 4_000_000
_MOST_MESSAGES: Final = 4_000
_FIRST_MESSAGES: Final = 50  # until it is known how large they are


@dataclass(slots=True)
class Partition:
    """One assigned partition and what has been read of it."""

    source: Source
    topic: str
    generation: int
    next: int  # the offset the next batch accounts from
    start: int  # the first offset fetched
    end: int | None = None  # offsets below were there when the partition was first fetched from
    at_end: bool = False
    passed: int = 0  # where the library came to the end last: what was not handed out before it are markers
    sequence: int = 0
    gap: str | None = None
    messages: list[Any] = field(default_factory=list)
    bytes: int = 0  # of their values
    since: float = 0.0

    def take_in(self, messages: list[Any], now: float) -> int:
        """Add what was read, in order; `now` is monotonic. Return how many bytes the values have."""
        if not self.messages:
            self.since = now
        self.messages += messages
        size = sum(map(len, messages))
        self.bytes += size
        return size

    @property
    def read_to(self) -> int:
        """The offset behind all that was read. May be asked from any thread."""
        messages = self.messages
        return max(self.next, self.passed, messages[-1].offset() + 1 if messages else 0)

    def batch(self, high: Callable[[Partition], int]) -> Batch:
        """Make the next batch of what was read. `high` is asked once where the partition ends."""
        (messages, self.messages), (size, self.bytes) = (self.messages, []), (self.bytes, 0)
        values = [*map(Message.value, messages)]
        offsets = np.fromiter(map(Message.offset, messages), np.int64, len(messages))
        last = int(offsets[-1])
        batch = Batch(
            source=self.source,
            sequence=self.sequence,
            generation=self.generation,
            first=self.next,
            last=last,
            offsets=offsets,
            values=values,
            received_ms=_Received(messages),
            bytes=size,
            since=self.since,
            kinds=_kinds(messages, self.source.format),
            gap=self.gap,
        )
        self.sequence += 1
        self.next = last + 1
        self.gap = None
        if self.end is None:
            self.end = max(last + 1, high(self))
        if self.next >= self.end:
            self.at_end = True
        return batch


class _Received:
    """When messages were received. Few are ever asked, and asking all of them costs as much as reading their values."""

    def __init__(self, messages: list[Any]) -> None:
        self._messages = messages

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, int):
            return self._messages[rows].timestamp()[1]
        return np.fromiter((self[int(row)] for row in rows), np.int64, len(rows))


class Portion:
    """How many messages to ask for at a time: few where they are large. They come as fast as the network brings them,
    and what was asked for is held, whatever it weighs."""

    def __init__(self, most: int) -> None:
        self._most = min(most, _MOST_MESSAGES)
        self.count = min(self._most, _FIRST_MESSAGES)

    def got(self, messages: int, size: int) -> None:
        """Learn from what came: so many messages, so many bytes together."""
        if messages:
            self.count = max(1, min(self._most, _PORTION_BYTES * messages // max(messages, size)))


def runs(messages: list[Any], several: bool) -> Iterator[tuple[str, int, list[Any]]]:
    """Split messages into runs of one topic and partition, as they came. `several`: there is more than one topic.

    No Python of our own for each message: at this speed it would be a tenth of all work.
    """
    if not messages:
        return
    numbers = np.fromiter(map(Message.partition, messages), np.int32, len(messages))
    other = numbers[1:] != numbers[:-1]
    if several:
        topics = [*map(Message.topic, messages)]
        other |= np.fromiter(map(ne, topics[1:], topics), np.bool_, len(messages) - 1)
    for start, end in pairwise([0, *(np.flatnonzero(other) + 1).tolist(), len(messages)]):
        yield messages[start].topic(), messages[start].partition(), messages[start:end]


def _kinds(messages: list[Any], format_name: str) -> list[bytes | str | None] | None:
    """Read from each message's header of what kind it is, where a header tells kinds apart; the last one counts."""
    declared = formats.get(format_name)
    if not isinstance(declared, Kinds) or declared.header is None:
        return None
    return [dict(m.headers() or ()).get(declared.header) for m in messages]
