"""Counts of flat memory that several threads add to."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

_LEAST_BITS: Final = 20
_MOST_BYTES: Final = 1 << 28
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_WAITING: Final = 1 << 20

Array = npt.NDArray[Any]


class Sketch:
    """Counts by hash: what shares a slot is counted together, so a count is at least what it should be.

    There are as many slots as rows, but no more than its share of 256 MB has room for.
    """

    def __init__(self, rows: int, share: int = 1) -> None:
        most = (_MOST_BYTES // 4 // share).bit_length() - 1
        self._bits = min(max(rows.bit_length(), _LEAST_BITS), most)
        self._counts = np.zeros(1 << self._bits, np.uint32)
        self._lock = Lock()

    def add(self, *parts: Array) -> None:
        """Count a row for each of the values."""
        slots = self._slots(parts)
        with self._lock:
            np.add.at(self._counts, slots, np.uint32(1))

    def counts(self, *parts: Array) -> Array:
        """Return for each of the values how often it was counted, or more."""
        found: Array = self._counts[self._slots(parts)]
        return found

    def _slots(self, parts: Sequence[Array]) -> Array:
        mixed = np.zeros(len(parts[0]), np.uint64)
        for part in parts:
            mixed ^= part.astype(np.uint64, copy=False)
            mixed *= _MIX
            mixed ^= mixed >> np.uint64(29)
        mixed *= _MIX
        mixed >>= np.uint64(64 - self._bits)
        return mixed.astype(np.int64)


class Sums:
    """Numbers of rows by some columns, exactly; what was added is summed up when it has grown.

    `ends`: a column of which the least and the greatest value are kept too, as `first` and `last`.
    """

    def __init__(self, by: Sequence[str], ends: str | None = None) -> None:
        self._by = list(by)
        self._ends = (
            [] if ends is None else [pl.col(ends).min().alias("first"), pl.col(ends).max().alias("last")]
        )
        self._again = [] if ends is None else [pl.col("first").min(), pl.col("last").max()]
        self._parts: list[pl.DataFrame] = []
        self._waiting = 0
        self._lock = Lock()

    def add(self, **columns: Array) -> None:
        """Count rows."""
        part = pl.DataFrame(columns).group_by(self._by).agg(pl.len().cast(pl.Int64).alias("n"), *self._ends)
        with self._lock:
            self._parts.append(part)
            self._waiting += part.height
            if self._waiting > max(_WAITING, 2 * self._parts[0].height):
                self._sum()

    def total(self) -> pl.DataFrame:
        """Return the columns and `n`; without columns if nothing was counted."""
        with self._lock:
            self._sum()
            return self._parts[0] if self._parts else pl.DataFrame()

    def _sum(self) -> None:
        if len(self._parts) > 1:
            self._parts = [pl.concat(self._parts).group_by(self._by).agg(pl.col("n").sum(), *self._again)]
        self._waiting = sum(p.height for p in self._parts)
