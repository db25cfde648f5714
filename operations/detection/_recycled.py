"""Recycled numbers, as arithmetic over columns. Thresholds stand here, and in docs/detection.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import ClassVar, Final

import numpy as np
import polars as pl

from lethe.operations.detection._blocks import Blocks, Narrowest, instant
from lethe.operations.detection._counts import Array, starts
from lethe.operations.detection._hashed import mixed
from lethe.operations.detection._pattern import Pass, by_code, parts_of
from lethe.tiers.detection.month_rows import MonthRows, Rows

DEAD_DAYS: Final = 10
DEAD_FAILURES: Final = 3
MOST_FAILURES: Final = 8_000_000
"""Permanent failures held at a time: 8 bytes each, 40 while they are put in order."""
_LEAST: Final = 5
_HOUR_BITS: Final = np.uint64(12)
_KNOWN_BITS: Final = 26
_NEVER: Final = np.iinfo(np.int32).max
_NO_RECORD: Final = np.iinfo(np.int64).max


class Recycled:
    """Numbers dead for ten days or more (three permanent failures, nothing delivered between) and then reached.

    The months are read twice for each part of the numbers, of which there are so many that `MOST_FAILURES` failures
    are held at a time:

    1. The failures are kept, and put in order.
    2. The deliveries find their place among them.

    What was found is kept by blocks (`told`).
    """

    kind: ClassVar[str] = "recycled"
    columns: ClassVar[tuple[str, ...]] = ("status_group", "permanent_error")

    def __init__(self, coded: Sequence[MonthRows], least: int = _LEAST, share: int = 1) -> None:  # noqa: ARG002
        self.coded = coded
        delivered = (pl.col("status_group") == "DELIVERED").fill_null(False)
        self._failed = [by_code(c, pl.col("permanent_error") & ~delivered) for c in coded]
        self._reached = [by_code(c, delivered) for c in coded]
        self._failures = sum(int(c.counts[f].sum()) for c, f in zip(coded, self._failed, strict=True))
        self._lock = Lock()
        self.told = Narrowest("failures", least)

    def passes(self) -> Iterator[Pass]:
        """Keep failures, and look at the deliveries after them, a part of the numbers after the other."""
        for part in parts_of(-(-self._failures // MOST_FAILURES)):
            self._part = part
            self._kept: list[Array] = []
            yield Pass(self._keep)
            self._deaths = _Deaths(np.concatenate([np.zeros(0, np.uint64), *self._kept]))
            self._kept = []
            yield Pass(self._look)
            last = self.coded[-1]
            start = int((last.month.start() - last.since.start()).total_seconds()) // 3600
            self.told.add(*self._deaths.ended(start))
        del self._deaths

    def answer(self) -> Blocks:
        """Say in which blocks the numbers lie."""
        return self.told.blocks(self.coded)

    def _keep(self, month: int, rows: Rows) -> None:
        """Keep the failures."""
        failed = rows.where(self._failed[month][rows.codes]).plain()
        failed = failed.where(self._part.takes(failed.numbers))
        if len(failed.numbers):
            self._kept.append(_instants(failed.numbers, failed.hours))

    def _look(self, month: int, rows: Rows) -> None:
        """Find where in the failures of a number its deliveries lie, and its first failure."""
        rows = rows.plain()
        reached = rows.where(self._reached[month][rows.codes])
        self._deaths.add(reached.numbers, reached.hours)
        failed = rows.where(self._failed[month][rows.codes])
        self._deaths.record(failed.numbers, instant(month, failed.places))


class _Deaths:
    """The failures of numbers that failed three times or more, in order, and the first delivery after each."""

    def __init__(self, failures: Array) -> None:
        failures.sort()
        numbers = failures >> _HOUR_BITS
        begin = starts(numbers)
        counts = np.diff(np.append(begin, len(numbers)))
        often = counts >= DEAD_FAILURES
        self._keys = failures[np.repeat(often, counts)]
        self._numbers = numbers[begin[often]]
        self._begin = np.cumsum(counts[often]) - counts[often]
        self._records = np.full(len(self._numbers), _NO_RECORD, np.int64)
        self._next = np.full(len(self._keys) + 1, _NEVER, np.int32)
        self._bits = min(_KNOWN_BITS, len(self._keys).bit_length() + 4)
        self._known = np.zeros(1 << self._bits, np.bool_)
        self._known[mixed([self._numbers], self._bits)] = True
        self._lock = Lock()

    def add(self, numbers: Array, hours: Array) -> None:
        """Note deliveries. One in the hour of a failure lies before it."""
        likely = self._known[mixed([numbers], self._bits)]
        if likely.any():
            hours = hours[likely]
            keys = _instants(numbers[likely], hours)
            after = np.searchsorted(self._keys, keys)
            mine = (after > 0) & (self._keys[after - 1] >> _HOUR_BITS == keys >> _HOUR_BITS)
            with self._lock:
                np.minimum.at(self._next, after[mine], hours[mine])

    def record(self, numbers: Array, records: Array) -> None:
        """Note records of failures: the first one of a number is kept."""
        if len(numbers) and len(self._numbers):
            at = np.minimum(np.searchsorted(self._numbers, numbers), len(self._numbers) - 1)
            mine = self._numbers[at] == numbers
            with self._lock:
                np.minimum.at(self._records, at[mine], records[mine])

    def ended(self, start: int) -> tuple[Array, Array, Array]:
        """Return numbers reached after a long death from the hour `start` on: their failures in it, and a record.

        Of a number that was recycled twice, the first time is told.
        """
        alive, failed = self._next[1:], (self._keys & np.uint64((1 << 12) - 1)).astype(np.int32)
        ends = np.flatnonzero(alive != _NEVER)
        numbers = np.searchsorted(self._begin, ends, "right") - 1
        # A death begins with the first failure of a number, or after the one that the last death ended with.
        before = np.concatenate([[-1], ends[:-1]]).astype(np.int64)
        begin = np.maximum(before + 1, self._begin[numbers])
        long = alive[ends] - failed[begin] >= DEAD_DAYS * 24
        found = np.flatnonzero((ends - begin + 1 >= DEAD_FAILURES) & long & (alive[ends] >= start))
        found = found[starts(numbers[found])]
        mine = numbers[found]
        return self._numbers[mine], (ends - begin + 1)[found], self._records[mine]


def _instants(numbers: Array, hours: Array) -> Array:
    """Make one integer of a number (15 digits, 50 bits) and an hour of three months (12 bits)."""
    found: Array = (numbers << _HOUR_BITS) | hours.astype(np.uint64)
    return found
