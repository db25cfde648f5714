"""What records of a month are charged, summed up by groups of them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lethe.tiers.detection._places import Codes, Places

MOST_HELD: Final = 1_000_000
"""Records that are held: all that are added as long as they are no more, then those that were added before. With more
of these the archive is read once more.
"""
_NEAR: Final = (1 << 24) - 1


class Charges:
    """Sums of charges by group, read from the archive at the end.

    Memory: 16 bytes for each record that is added, up to `MOST_HELD`; with more two for each record of the month.
    `read` calls what it is given with the month's positions and charges, some rows at a time, in threads.
    """

    def __init__(self, codes: Codes, read: Callable[[Callable[[pa.RecordBatch], None]], None]) -> None:
        self._codes = codes
        self._read = read
        self._marks: npt.NDArray[np.uint16] | None = None  # one more than the group
        self._held: list[pl.DataFrame] = []
        self._waiting = 0
        self._sums: dict[int, Decimal] = {}
        self._lock, self._summing = Lock(), Lock()

    def add(self, places: Places, groups: npt.NDArray[np.int64]) -> None:
        """Add records to groups (0 to 65,534): as often as one is added, it is charged. For several threads."""
        with self._lock:
            if self._marks is not None:
                self._mark(self._marks, places, groups)
                return
            self._hold(places, groups)
            if self._waiting > MOST_HELD:
                # Zeros take memory where they are set.
                self._marks = np.zeros(self._codes.places_used, np.uint16)
                held, self._held, self._waiting = self._held, [], 0
                for some in held:
                    self._mark(self._marks, some["place"].to_numpy(), some["group"].to_numpy())

    def _mark(self, marks: npt.NDArray[np.uint16], places: Places, groups: npt.NDArray[np.int64]) -> None:
        free = (marks[places] == 0) & _first(places)
        marks[places[free]] = groups[free] + 1
        if not free.all():
            self._hold(places[~free], groups[~free])
            if self._waiting > MOST_HELD:
                self._sum_held()

    def _hold(self, places: Places, groups: npt.NDArray[np.int64]) -> None:
        self._held.append(pl.DataFrame({"place": places, "group": groups}))
        self._waiting += len(places)

    def sums(self, count: int) -> list[Decimal | None]:
        """Return the sums of the first so many groups; None for those whose records have no charge."""
        if self._waiting:
            self._sum_held()
        if self._marks is not None:
            self._read(partial(self._sum, self._marks))
        return [self._sums.get(group) for group in range(count)]

    def _sum(self, marks: npt.NDArray[np.uint16], batch: pa.RecordBatch) -> None:
        groups = marks[self._codes.places(batch)]
        mine = np.flatnonzero(groups)
        charges = pl.Series(batch.column("charge").take(pa.array(mine)))
        self._take(pl.DataFrame({"group": groups[mine].astype(np.int64) - 1, "charge": charges}))

    def _sum_held(self) -> None:
        held = pl.concat(self._held).sort("place")
        self._held, self._waiting = [], 0
        places, groups = held["place"].to_numpy(), held["group"].to_numpy()
        near = np.zeros(_NEAR + 1, np.bool_)
        near[places & _NEAR] = True

        def look(batch: pa.RecordBatch) -> None:
            at = self._codes.places(batch)
            mine = np.flatnonzero(near[at & _NEAR])
            first = np.searchsorted(places, at[mine])
            often = np.searchsorted(places, at[mine], "right") - first
            each = np.arange(often.sum()) + np.repeat(first - np.cumsum(often) + often, often)
            charges = pl.Series(batch.column("charge").take(pa.array(np.repeat(mine, often))))
            self._take(pl.DataFrame({"group": groups[each], "charge": charges}))

        self._read(look)

    def _take(self, some: pl.DataFrame) -> None:
        summed = some.drop_nulls("charge").group_by("group").agg(pl.col("charge").sum())
        with self._summing:
            for group, charge in summed.iter_rows():
                self._sums[group] = self._sums.get(group, Decimal(0)) + charge


def _first(places: Places) -> Any:
    """Tell of each place whether it is there for the first time."""
    ordered = np.sort(places)
    if not (ordered[1:] == ordered[:-1]).any():
        return True
    first = np.zeros(len(places), np.bool_)
    first[np.unique(places, return_index=True)[1]] = True
    return first
