"""Numbers by hash, in flat memory: counts that are never less than they should be, and places of keys in a table."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Final

import numpy as np

from lethe.operations.detection._counts import Array, distinct, starts

_LEAST_BITS: Final = 20
_MOST_BYTES: Final = 1 << 28
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_MOST_LEAST_BITS: Final = 23
_SHARED: Final = np.uint64(29)

FULL: Final = 1 << 15
"""Where a sketch stops counting: this many, or more."""


def mixed(parts: Sequence[Array], bits: int) -> Array:
    """Hash columns of integers to so many bits, a column at a time."""
    found = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        found ^= part.astype(np.uint64, copy=False)
        found *= _MIX
        found ^= found >> _SHARED
    found *= _MIX
    found >>= np.uint64(64 - bits)
    return found.astype(np.int64)


class Sketch:
    """Counts by hash: what shares a slot is counted together, so a count is at least what it should be, or `FULL`.

    Two bytes a slot. There are as many slots as rows, but no more than its share of 256 MB has room for.
    """

    def __init__(self, rows: int, share: int = 1) -> None:
        most = (_MOST_BYTES // 2 // share).bit_length() - 1
        self._bits = min(max(rows.bit_length(), _LEAST_BITS), most)
        self._counts = np.zeros(1 << self._bits, np.uint16)
        self._lock = Lock()

    def add(self, *parts: Array) -> None:
        """Count a row for each of the values."""
        slots = mixed(parts, self._bits)
        with self._lock:
            # So few at a time that a slot below FULL cannot run over.
            for at in range(0, len(slots), FULL - 1):
                some = slots[at : at + FULL - 1]
                np.add.at(self._counts, some[self._counts[some] < FULL], np.uint16(1))

    def counts(self, *parts: Array) -> Array:
        """Return for each of the values how often it was counted, or more; `FULL` or more stands for any number."""
        found: Array = self._counts[mixed(parts, self._bits)]
        return found


class Few:
    """Counts to 15 by a hash and an hour, four bits each: what shares a slot is counted together.

    Each is counted in two slots, of which that with less is right: by the lower and by the upper half of the hash. The
    hours of a hash lie side by side, so that looking at those beside one costs no other place in memory. There are
    four slots or more for a row, as far as 128 MB have room for them.
    """

    MOST: Final = 15
    _HALVES: Final = (np.uint64(0), np.uint64(32))

    def __init__(self, rows: int, share: int = 1) -> None:
        bits = min(max((2 * rows).bit_length() + 1, _LEAST_BITS), (_MOST_BYTES // share).bit_length() - 1)
        self._last = (1 << bits) - 1
        self._counts = np.zeros(1 << (bits - 1), np.uint8)
        self._lock = Lock()

    def add(self, hashes: Array, hours: Array) -> None:
        """Count a row for each hash (both halves of its 64 bits are used) and hour."""
        slots = np.concatenate([self._slots(hashes >> half, hours) for half in self._HALVES])
        slots.sort()
        begin = starts(slots)
        more = np.minimum(np.diff(begin, append=len(slots)), self.MOST).astype(np.uint8)
        slots = slots[begin]
        at, shift = slots >> 1, ((slots & 1) << 2).astype(np.uint8)
        with self._lock:
            room = self.MOST - ((self._counts[at] >> shift) & self.MOST)
            np.add.at(self._counts, at, np.minimum(more, room) << shift)  # a slot once, a byte twice at most

    def counts(self, hashes: Array, hours: Array) -> Array:
        """Return for each hash and hour how often it was counted, or more; 15 stands for any number from there on."""
        first, second = (self._held(self._slots(hashes >> half, hours)) for half in self._HALVES)
        found: Array = np.minimum(first, second)
        return found

    def _held(self, slots: Array) -> Array:
        found: Array = (self._counts[slots >> 1] >> ((slots & 1) << 2).astype(np.uint8)) & self.MOST
        return found

    def _slots(self, hashes: Array, hours: Array) -> Array:
        found: Array = (hashes.astype(np.int64) + hours) & self._last
        return found


class Least:
    """The least number by key, or less: what shares a slot has the least of all. Four bytes a slot, four for a key."""

    def __init__(self, keys: Array, numbers: Array, never: int) -> None:
        self._bits = min(max(len(keys).bit_length() + 2, 10), _MOST_LEAST_BITS)
        self._least = np.full(1 << self._bits, never, np.int32)
        np.minimum.at(self._least, mixed([keys], self._bits), numbers.astype(np.int32))

    def of(self, keys: Array) -> Array:
        """Return the least number of each key, or less."""
        found: Array = self._least[mixed([keys], self._bits)]
        return found


class Index:
    """Numbers keys (above 0) from 0 in the order they come, up to `most` of them: 8 bytes each, 24 in the table.

    Not for several threads: who asks holds a lock.
    """

    _FIRST: Final = 12

    def __init__(self, most: int) -> None:
        self._most = most
        self.full = False
        self._keys = np.zeros(most, np.uint64)  # takes memory as far as it is used
        self._count = 0
        self._make(self._FIRST)

    def __len__(self) -> int:
        return self._count

    @property
    def keys(self) -> Array:
        """The keys, in the order of their numbers."""
        return self._keys[: self._count]

    def ids(self, keys: Array) -> Array | None:
        """Return the number of each key; None, and `full`, when there would be more than `most`."""
        while (self._count + len(keys)) * 2 > len(self._table):
            self._make(self._bits + 1)
        at = self._places(keys)
        new = self._ids[at] < 0
        if new.any():
            slots = distinct(at[new])
            end = self._count + len(slots)
            if end > self._most:
                self.full = True
                return None
            self._ids[slots] = np.arange(self._count, end)
            self._keys[self._count : end] = self._table[slots]
            self._count = end
        found: Array = self._ids[at]
        return found

    def _make(self, bits: int) -> None:
        """Make the table anew, so that at most half of it is used."""
        self._bits = bits
        self._table = np.zeros(1 << bits, np.uint64)
        self._ids = np.full(1 << bits, -1, np.int32)
        if self._count:
            self._ids[self._places(self.keys)] = np.arange(self._count)

    def _places(self, keys: Array) -> Array:
        """Return where each key stands in the table; those that do not are put there, each in the next free place."""
        at = mixed([keys], self._bits)
        todo = np.arange(len(keys))
        while len(todo):
            mine, wanted = at[todo], keys[todo]
            free = self._table[mine] == 0
            self._table[mine[free]] = wanted[free]  # of several for one place one stays, the others go on
            other = self._table[mine] != wanted
            todo = todo[other]
            at[todo] = (mine[other] + 1) & (len(self._table) - 1)
        return at
