"""Floods of one-time codes, as arithmetic over columns. Thresholds stand here, and in docs/detection.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import ClassVar, Final

import numpy as np
import polars as pl

from lethe.operations.detection._blocks import Blocks, Narrowest, instant
from lethe.operations.detection._counts import Array, distinct, starts
from lethe.operations.detection._hashed import Few, Index
from lethe.operations.detection._pattern import Part, Pass, by_code, numbered, parts_of
from lethe.tiers.detection.month_rows import MonthRows, Rows

OTP_ACCOUNTS: Final = 5
OTP_TURN: Final = 6
MOST_HOURS: Final = 1 << 22
"""Hours of numbers that are looked at together: 65 bytes each. More are looked at in parts."""
_HALF: Final = OTP_TURN - OTP_ACCOUNTS + 1
"""Messages of an hour that is found together with another one at least: the other one has four accounts at most."""
_LEAST: Final = 5
_HOUR_BITS: Final = np.uint64(12)
_LAST: Final = np.iinfo(np.int64).max


class Otp:
    """Numbers that five or more accounts wrote to within an hour of the clock, or six within two in a row.

    The second finds floods over the turn of an hour; an hour that is found by itself is in no pair, and of pairs that
    overlap the first is told. The month is read twice, in memory that neither the month nor what is found fills:

    1. Messages are counted by number and hour, in a sketch.
    2. Of hours of five messages or more, or of two and six together with one beside of two or more, the first five
       accounts are seen: 65 bytes an hour, for `MOST_HOURS` at a time. What was found is kept by blocks (`told`).
    """

    kind: ClassVar[str] = "otp"
    columns: ClassVar[tuple[str, ...]] = ("account", "channel")

    def __init__(self, coded: Sequence[MonthRows], least: int = _LEAST, share: int = 1) -> None:
        self.coded = coded
        self._sketch = Few(sum(c.rows for c in coded), share)
        self._texts = [by_code(c, pl.col("channel") != "voice") for c in coded]
        self._accounts = numbered(coded[-1], ("account",))[0].astype(np.uint32)
        self._lock = Lock()
        self.told = Narrowest("messages", least)

    def passes(self) -> Iterator[Pass]:
        """Count, and look at hours that may be found."""
        yield Pass(self._count)
        left = parts_of(1)
        while left:
            part = left.pop()
            self._begin(part)
            yield Pass(self._look)
            if self._hours.full:
                left += part.halves()
            else:
                self.told.add(*self._judged())
        del self._hours, self._held, self._messages, self._before, self._sketch

    def answer(self) -> Blocks:
        """Say in which blocks the numbers lie."""
        return self.told.blocks(self.coded)

    def _count(self, month: int, rows: Rows) -> None:
        rows = rows.where(self._texts[month][rows.codes])
        self._sketch.add(rows.subjects, rows.hours)

    def _begin(self, part: Part) -> None:
        self._part = part
        self._hours = Index(MOST_HOURS)
        # Zeros take memory as far as they are used.
        self._held = np.zeros((MOST_HOURS, OTP_ACCOUNTS), np.uint32)
        self._messages = np.zeros(MOST_HOURS, np.uint32)
        self._before = np.zeros(MOST_HOURS, np.int64)

    def _look(self, month: int, rows: Rows) -> None:
        """See which accounts wrote to a number in hours that may be found."""
        if self._hours.full:
            return
        rows = rows.where(self._texts[month][rows.codes])
        within = self._sketch.counts(rows.subjects, rows.hours)
        often = within >= _HALF
        rows, within = rows.where(often), within[often]
        before, after = (self._sketch.counts(rows.subjects, rows.hours + turn) for turn in (-1, 1))
        beside = np.maximum(before, after)
        together = (beside >= _HALF) & (within + beside >= OTP_TURN)
        rows = rows.where((within >= OTP_ACCOUNTS) | together).plain()
        rows = rows.where(self._part.takes(rows.numbers))
        if not len(rows.numbers):
            return
        keys = (rows.numbers << _HOUR_BITS) | rows.hours.astype(np.uint64)
        accounts = self._accounts[rows.codes]
        with self._lock:
            ids = self._hours.ids(keys)
            if ids is not None:
                np.add.at(self._messages, ids, np.uint32(1))
                np.maximum.at(self._before, ids, _LAST - rows.places)  # of the first place the greatest
                self._hold(ids, accounts)

    def _hold(self, ids: Array, accounts: Array) -> None:
        """Keep the accounts of hours, each once, as far as there is room for them."""
        room = self._held[ids, OTP_ACCOUNTS - 1] == 0
        pairs = distinct((ids[room].astype(np.uint64) << np.uint64(32)) | accounts[room])
        hours, accounts = (pairs >> np.uint64(32)).astype(np.int64), pairs.astype(np.uint32)
        held = self._held[hours]
        new = ~(held == accounts[:, None]).any(axis=1)
        hours, accounts, held = hours[new], accounts[new], held[new]
        begin = starts(hours)
        rank = np.arange(len(hours)) - np.repeat(begin, np.diff(np.append(begin, len(hours))))
        place = np.count_nonzero(held, axis=1) + rank
        fits = place < OTP_ACCOUNTS
        self._held[hours[fits], place[fits]] = accounts[fits]

    def _judged(self) -> tuple[Array, Array, Array]:
        """Return the numbers of a part that were found, how many messages they got, and a record of each."""
        order = np.argsort(self._hours.keys)
        keys = self._hours.keys[order]
        held, messages = self._held[order], self._messages[order].astype(np.int64)
        alone = held[:, OTP_ACCOUNTS - 1] > 0
        turns = _turns(keys, held, alone)
        messages[turns] += messages[turns + 1]
        found = np.sort(np.concatenate([np.flatnonzero(alone), turns]))
        numbers = keys[found] >> _HOUR_BITS
        begin = starts(numbers)
        if not len(begin):
            return numbers, messages[:0], self._before[:0]
        records = _LAST - np.maximum.reduceat(self._before[order[found]], begin)
        return numbers[begin], np.add.reduceat(messages[found], begin), instant(0, records)


def _turns(keys: Array, held: Array, alone: Array) -> Array:
    """Return which hours, with the next, have six accounts together where neither is found by itself.

    Of such hours none is beside one that is: they hold four accounts at most each, and all of them.
    """
    beside = alone.copy()
    follows = keys[1:] == keys[:-1] + np.uint64(1)
    beside[1:] |= alone[:-1] & follows
    beside[:-1] |= alone[1:] & follows
    likely = np.flatnonzero(follows & ~beside[1:] & ~beside[:-1])
    both = np.sort(np.concatenate([held[likely], held[likely + 1]], axis=1), axis=1)
    different = (both[:, 1:] != both[:, :-1]).sum(axis=1) + (both[:, 0] > 0)
    turns = likely[different >= OTP_TURN]
    overlaps = np.zeros(len(turns), np.bool_)
    overlaps[1:] = keys[turns[1:]] == keys[turns[:-1]] + np.uint64(1)
    found: Array = turns[~overlaps]
    return found
