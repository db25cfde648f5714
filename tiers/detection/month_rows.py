"""Read a month's numbers and what the archive says of their records, a row group at a time, in columns.

Archive and identifiers have no order in common, so what a detector needs of an archive row is one small number, its
code, in an array that a position leads into: one to four bytes a record. All else is one row group a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from lethe.tiers.detection._charges import Charges
from lethe.tiers.detection._places import Codes, Ends, Places, bounds, footer_bounds, pages_of
from lethe.tiers.detection.columns import POSITION, Seen, coded, row_groups, rows_of, scan, unseen, whole
from lethe.tiers.warehouse import Warehouse

_HOUR: Final = 3_600_000_000
_ROLES: Final = ("recipient", "callee")
_ONE: Final = 1 << 31
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_MOST_PAGES: Final = 1 << 20

Numbers = npt.NDArray[np.uint64]
Keys = Sequence[tuple[int, MonthKeys]]
"""Months of the window, and the keys of a month whose identifiers are kept so long."""


class Rows:
    """Rows of a month that name a phone number or another subject. Columns are made when they are asked for, once.

    For one thread at a time.
    """

    def __init__(self, read: Reading, batch: pa.RecordBatch) -> None:
        self._read = read
        self._batch = batch
        self._made: dict[str, Any] = {}

    @property
    def numbers(self) -> Numbers:
        """E.164 numbers as integers; 0 of what is no plain number, which has a seal of its own."""
        found: Numbers = self._column("numbers", self._read.numbers)
        return found

    @property
    def subjects(self) -> Numbers:
        """A hash of each number: the same for the same number, in all rows of the month. Costs less than the number."""
        found: Numbers = self._column("subjects", subjects if self._read.alone else self._mixed)
        return found

    @property
    def hours(self) -> npt.NDArray[np.int32]:
        """Hours since `since`."""
        found: npt.NDArray[np.int32] = self._column("hours", self._read.hours)
        return found

    @property
    def places(self) -> Places:
        """Places of the archive rows; 0 where there is none."""
        found: Places = self._column("places", self._read.codes.places)
        return found

    @property
    def codes(self) -> npt.NDArray[np.uint32]:
        """Codes of the archive rows; 0 where there is none."""
        found: npt.NDArray[np.uint32] = self._column("codes", lambda _: self._read.codes.get(self.places))
        return found

    def plain(self) -> Rows:
        """Return the rows with a number."""
        if "plain" not in self._made:
            some = self.where(self.numbers > 0)
            # No reference to itself: rows go as soon as nobody has them, and not when the collector comes.
            self._made["plain"] = None if some is self else some
        return self._made["plain"] or self

    def where(self, keep: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows of which `keep` is true."""
        if keep.all():
            return self
        some = Rows(self._read, self._batch.filter(pa.array(keep)))
        some._made = {n: made[keep] for n, made in self._made.items() if n != "plain"}
        return some

    def _mixed(self, batch: pa.RecordBatch) -> Numbers:  # noqa: ARG002
        found = self.numbers * _MIX
        found ^= found >> np.uint64(32)
        return found

    def _column(self, name: str, make: Callable[[pa.RecordBatch], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make(self._batch)
        return self._made[name]


@dataclass(frozen=True, slots=True)
class Reading:
    """What columns of rows are made with. `alone`: one key made all tokens of the month."""

    keys: MonthKeys = field(repr=False)
    codes: Codes = field(repr=False)
    start: int
    alone: bool

    def numbers(self, batch: pa.RecordBatch) -> Numbers:
        """Open the tokens."""
        return reverse_numbers(self.keys, batch.column("token"))

    def hours(self, batch: pa.RecordBatch) -> npt.NDArray[np.int32]:
        """Count the hours from the start."""
        return ((whole(batch.column("event_time")) - self.start) // _HOUR).astype(np.int32)


def subjects(batch: pa.RecordBatch) -> Numbers:
    """Take half of each token: a block of a cipher, which is as good a hash as any."""
    token = batch.column("token")
    words: Numbers = np.frombuffer(token.buffers()[1], "<u8", 2 * len(token), TOKEN.byte_width * token.offset)
    return words[::2]


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
    _seen: Seen = field(repr=False)

    @classmethod
    def read(
        cls,
        warehouse: Warehouse,
        month: Month,
        columns: Sequence[str],
        since: Month | None = None,
        seen: Seen = unseen,
    ) -> MonthRows:
        """Code the archive rows of a month by some of their columns. Hours are counted from the start of `since`.

        `seen` is told of rows whenever some were read, here and later.
        """
        warehouse.metadata.reload()
        archive = warehouse.metadata
        groups = row_groups(archive, month)
        rows = rows_of(groups)
        codes = Codes(_ends(archive, groups, seen), rows)
        coder = Coder(columns)
        counts: list[npt.NDArray[np.int64]] = []

        def code(batch: pa.RecordBatch) -> None:
            mine = coder.codes(batch)
            codes.put(codes.places(batch, make=True), mine)
            counts.append(np.bincount(mine))

        scan(archive, groups, [*POSITION, *columns], code, seen)
        types = {name: _polars(warehouse, name) for name in columns}
        table = coder.table(types)
        total = np.zeros(table.height + 1, np.int64)
        for one in counts:
            total[: len(one)] += one
        return cls(warehouse, month, since or month, table, rows, total, codes, seen)

    def each(self, keys: Keys, visit: Callable[[Rows], None], hours: bool = True) -> None:
        """Call `visit` with all rows that name a phone number which was written to, some at a time, in threads.

        Numbers that have a seal of their own are among them: `Rows.plain` leaves them out. `hours`: whether these are
        read too.
        """
        identifiers = self.warehouse.window["identifiers"]
        identifiers.reload()
        columns = [*POSITION, "role", "kind", "token", *(["event_time"] if hours else [])]
        start = int(self.since.start().timestamp() * 1_000_000)
        for window_months, month_keys in keys:
            groups = row_groups(identifiers, self.month, window_months)
            reading = Reading(month_keys, self._codes, start, len(keys) == 1)
            scan(identifiers, groups, columns, partial(self._visit, reading, visit), self._seen)

    def positions(self, places: Sequence[int]) -> list[str]:
        """Name places by their positions: what a reveal can be asked of."""
        return self._codes.positions(places)

    def charges(self) -> Charges:
        """Return what sums charges of this month up."""
        archive = self.warehouse.metadata
        groups = row_groups(archive, self.month)
        return Charges(self._codes, partial(scan, archive, groups, [*POSITION, "charge"], seen=self._seen))

    @staticmethod
    def _visit(reading: Reading, visit: Callable[[Rows], None], batch: pa.RecordBatch) -> None:
        batch = _phones(batch)
        if batch.num_rows:
            visit(Rows(reading, batch))


def archive_batches(
    warehouse: Warehouse,
    month: Month,
    columns: Sequence[str],
    visit: Callable[[pa.RecordBatch], None],
    seen: Seen = unseen,
) -> int:
    """Call `visit` with a month's rows of the archive, some of their columns, in threads; returns how many."""
    warehouse.metadata.reload()
    groups = row_groups(warehouse.metadata, month)
    scan(warehouse.metadata, groups, columns, visit, seen)
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


def _ends(archive: Table, groups: Sequence[Any], seen: Seen) -> dict[tuple[str, int], Ends]:
    """Find where each topic-partition begins and ends in a month, or may.

    Footers say it at the outside; row groups are read whose footers do not, and all of them when what the footers say
    takes more than a little memory.
    """
    found: dict[tuple[str, int], Ends] = {}
    lock = Lock()

    def add(some: Iterable[tuple[str, int, Ends]]) -> None:
        with lock:
            for stream, partition, ends in some:
                known = found.setdefault((stream, partition), ends)
                known.first, known.last = min(known.first, ends.first), max(known.last, ends.last)
                known.places = max(known.places, ends.places)

    unsaid = []
    for group in groups:
        if (said := footer_bounds(group)) is None:
            unsaid.append(group)
        else:
            add(said)
    if pages_of(found.values()) > _MOST_PAGES:
        found.clear()
        unsaid = list(groups)
    if unsaid:
        scan(archive, unsaid, list(POSITION), lambda batch: add(bounds(batch)), seen)
    return found


def _polars(warehouse: Warehouse, name: str) -> Any:
    schema = warehouse.metadata.dataset().schema
    return pl.DataFrame(pa.schema([schema.field(name)]).empty_table()).schema[name]
