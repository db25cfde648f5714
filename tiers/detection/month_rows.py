"""Read a month's numbers and what the archive says of their records, a row group at a time, in columns.

Archive and identifiers have no order in common, so what a detector needs of an archive row is one small number, its
code, in an array that a position leads into: one to four bytes a record. All else is one row group a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.tokens import reverse_numbers
from lethe.schemas.arrow import TOKEN
from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.table import Table
from lethe.tiers.detection._places import Codes, Ends, Places, bounds
from lethe.tiers.detection.columns import POSITION, coded, row_groups, rows_of, scan, whole
from lethe.tiers.warehouse import Warehouse

_HOUR: Final = 3_600_000_000
_ROLES: Final = ("recipient", "callee")
_ONE: Final = 1 << 31

Numbers = npt.NDArray[np.uint64]
Keys = Sequence[tuple[int, MonthKeys]]
"""Months of the window, and the keys of a month whose identifiers are kept so long."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a month: E.164 numbers (as integers), hours since `since`, codes and places of their archive rows."""

    numbers: Numbers = field(repr=False)
    hours: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint32]
    places: Places

    def where(self, keep: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows of which `keep` is true."""
        return self if keep.all() else Rows(*(getattr(self, n)[keep] for n in Rows.__slots__))


class Coder:
    """Gives each distinct row of some columns a code from 1, in the order in which they come. For several threads."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._known: list[dict[Any, int]] = [{} for _ in columns]
        self._pairs: list[dict[int, int]] = [{} for _ in columns]
        self._lock = Lock()

    def codes(self, batch: pa.RecordBatch) -> npt.NDArray[np.uint32]:
        """Return the code of each row of a batch."""
        codes: npt.NDArray[np.int64] | None = None
        for at, name in enumerate(self.columns):
            values, mine = coded(batch.column(name))
            known = self._known[at]
            with self._lock:
                ids = np.array([known.setdefault(v, len(known) + 1) for v in values], np.int64)
            if codes is None:
                codes = ids[mine]
                continue
            pairs = pa.array(codes * _ONE + ids[mine]).dictionary_encode()
            numbered = self._pairs[at]
            with self._lock:
                ids = np.array(
                    [numbered.setdefault(p, len(numbered) + 1) for p in pairs.dictionary.to_pylist()]
                )
            codes = ids[pairs.indices.to_numpy()]
        if codes is None:
            return np.ones(batch.num_rows, np.uint32)
        return codes.astype(np.uint32)

    def table(self, types: dict[str, Any]) -> pl.DataFrame:
        """Say what each code is, by column: row 0 is that of code 1."""
        names = [list(known) for known in self._known]
        rows = [(n,) for n in names[0]] if names else [()]
        for at in range(1, len(names)):
            rows = [(*rows[pair // _ONE - 1], names[at][pair % _ONE - 1]) for pair in self._pairs[at]]
        return pl.DataFrame(rows, {n: types[n] for n in self.columns}, orient="row")


@dataclass(slots=True)
class MonthRows:
    """A month, coded. `table` says what each code is, by the columns asked for; code 0 is of no archive row.

    `counts`: how many archive rows have each code.
    """

    warehouse: Warehouse
    month: Month
    since: Month
    table: pl.DataFrame
    rows: int
    counts: npt.NDArray[np.int64]
    _codes: Codes = field(repr=False)

    @classmethod
    def read(
        cls, warehouse: Warehouse, month: Month, columns: Sequence[str], since: Month | None = None
    ) -> MonthRows:
        """Code the archive rows of a month by some of their columns. Hours are counted from the start of `since`."""
        warehouse.metadata.reload()
        archive = warehouse.metadata
        groups = row_groups(archive, month)
        rows = rows_of(groups)
        codes = Codes(_ends(archive, groups), rows)
        coder = Coder(columns)
        counts: list[npt.NDArray[np.int64]] = []

        def code(batch: pa.RecordBatch) -> None:
            mine = coder.codes(batch)
            codes.put(codes.places(batch, make=True), mine)
            counts.append(np.bincount(mine))

        scan(archive, groups, [*POSITION, *columns], code)
        types = {name: _polars(warehouse, name) for name in columns}
        table = coder.table(types)
        total = np.zeros(table.height + 1, np.int64)
        for one in counts:
            total[: len(one)] += one
        return cls(warehouse, month, since or month, table, rows, total, codes)

    def each(self, keys: Keys, visit: Callable[[Rows], None]) -> None:
        """Call `visit` with all rows that name a phone number, some at a time, in threads."""
        identifiers = self.warehouse.window["identifiers"]
        identifiers.reload()
        columns = [*POSITION, "event_time", "role", "kind", "token"]
        for window_months, month_keys in keys:
            groups = row_groups(identifiers, self.month, window_months)
            scan(identifiers, groups, columns, partial(self._visit, month_keys, visit))

    def positions(self, places: Sequence[int]) -> list[str]:
        """Name places by their positions: what a reveal can be asked of."""
        return self._codes.positions(places)

    def amounts(self, places: Places) -> pl.DataFrame:
        """Return the charges of some places. Columns: place, charge; those without a charge are left out."""
        wanted = np.unique(places)
        found: list[pl.DataFrame] = []

        def look(batch: pa.RecordBatch) -> None:
            at = self._codes.places(batch)
            mine = np.flatnonzero(wanted[np.minimum(np.searchsorted(wanted, at), len(wanted) - 1)] == at)
            charges = batch.column("charge").take(pa.array(mine))
            found.append(pl.DataFrame({"place": at[mine], "charge": pl.Series(charges)}))

        if len(wanted):
            archive = self.warehouse.metadata
            scan(archive, row_groups(archive, self.month), [*POSITION, "charge"], look)
        empty = pl.DataFrame(schema={"place": pl.Int64, "charge": pl.Decimal(18, 6)})
        return pl.concat([empty, *found]).drop_nulls()

    def _visit(self, keys: MonthKeys, visit: Callable[[Rows], None], batch: pa.RecordBatch) -> None:
        batch = _phones(batch)
        if not batch.num_rows:
            return
        numbers = reverse_numbers(keys, batch.column("token").cast(TOKEN))
        start = int(self.since.start().timestamp() * 1_000_000)
        hours = ((whole(batch.column("event_time")) - start) // _HOUR).astype(np.int32)
        places = self._codes.places(batch)
        found = Rows(numbers, hours, self._codes.get(places), places)
        visit(found.where(numbers > 0))  # what is no plain number has a seal of its own


def archive_batches(
    warehouse: Warehouse, month: Month, columns: Sequence[str], visit: Callable[[pa.RecordBatch], None]
) -> int:
    """Call `visit` with a month's rows of the archive, some of their columns, in threads; returns how many."""
    warehouse.metadata.reload()
    groups = row_groups(warehouse.metadata, month)
    scan(warehouse.metadata, groups, columns, visit)
    return rows_of(groups)


def _phones(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Keep the rows that name a phone number which was written to or called."""
    keep = np.ones(batch.num_rows, np.bool_)
    for name, wanted in (("role", _ROLES), ("kind", ("msisdn",))):
        values, mine = coded(batch.column(name))
        right = np.array([v in wanted for v in values])
        if not right[:-1].all() or batch.column(name).null_count:
            keep &= right[mine]
    if batch.column("token").null_count:
        keep &= batch.column("token").is_valid().to_numpy(zero_copy_only=False)
    return batch if keep.all() else batch.filter(pa.array(keep))


def _ends(archive: Table, groups: Sequence[Any]) -> dict[tuple[str, int], Ends]:
    """Find the ends of each topic-partition in a month, from the first offset of the month to its last."""
    found: dict[tuple[str, int], Ends] = {}
    lock = Lock()

    def look(batch: pa.RecordBatch) -> None:
        for stream, partition, ends in bounds(batch):
            with lock:
                known = found.setdefault((stream, partition), ends)
                known.first, known.last = min(known.first, ends.first), max(known.last, ends.last)
                known.places = max(known.places, ends.places)

    scan(archive, groups, list(POSITION), look)
    return found


def _polars(warehouse: Warehouse, name: str) -> Any:
    schema = warehouse.metadata.dataset().schema
    return pl.DataFrame(pa.schema([schema.field(name)]).empty_table()).schema[name]
