"""Verify rows out of scope: the group of 32 is named in which one of them is not as it was logged.

They are in groups of their own, so that nothing that happened to a row in scope keeps those beside it from being
compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pyarrow as pa

from lethe.integrity.log import merkle, outside
from lethe.integrity.log.entries import Entry, Log, Outside, outside_path
from lethe.integrity.log.outside import GROUP_ROWS, At, Forms, Part
from lethe.integrity.rows.canonical_rows import CHUNK_ROWS, EncodedRows, encode
from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.row_batch import Batch, Months, one_by_one
from lethe.integrity.verify.whole import Known
from lethe.schemas.arrow import file_schema
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.schemas.position import Position

_FILE = "file"

Span = tuple[int, int]
"""Rows from the first number to the second, which is excluded."""


class OutsideRows:
    """The rows out of scope of a batch, in order of month, offset and index; a position may be there twice."""

    def __init__(self, pieces: Sequence[tuple[str | None, pa.Table]]) -> None:
        self.files = [file for file, _ in pieces]
        tables = [
            table.append_column(_FILE, pa.repeat(pa.scalar(number, pa.int32()), table.num_rows))
            for number, (_, table) in enumerate(pieces)
            if table.num_rows
        ]
        table = file_schema("metadata").empty_table()
        if tables:
            table = pa.concat_tables(tables, promote_options="permissive")
        self.table, self.months, self.cuts = outside.by_month(table)
        self._offsets = self.table.column("offset").to_numpy()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def forms(self) -> Forms:
        """Return the canonical form of every row; an empty one of what has none."""
        table = self.table.drop_columns([name for name in (_FILE,) if name in self.table.column_names])
        return Forms(list(_encoded(table)))

    def spans(self, first: int, last: int | None) -> list[Span]:
        """Return the rows from the first to the last offset given (None: to the end), month by month."""
        found = []
        for start, end in pairwise(self.cuts):
            mine = self._offsets[start:end]
            low = int(np.searchsorted(mine, first))
            high = len(mine) if last is None else int(np.searchsorted(mine, last, "right"))
            if low < high:
                found.append((start + low, start + high))
        return found

    def positions(self, span: Span) -> list[At]:
        """Return offset and index of rows."""
        part = self.table.slice(span[0], span[1] - span[0])
        return list(zip(part.column("offset").to_pylist(), part.column("index").to_pylist(), strict=True))

    def file(self, row: int) -> str | None:
        """Return the file a row came from, if known."""
        number: int = self.table.column(_FILE)[row].as_py()
        return self.files[number]

    def form(self, row: int) -> bytes:
        """Return the canonical form of a row."""
        return b"".join(self.forms.between(row, row + 1))


def _encoded(table: pa.Table) -> Iterator[EncodedRows]:
    for start in range(0, table.num_rows, CHUNK_ROWS):
        part = table.slice(start, CHUNK_ROWS)
        try:
            yield encode(part)
        except LetheError:  # some row has no canonical form, so it is not one that was logged
            yield one_by_one(part)[0]


def verify_outside(
    log: Log, entry: Entry, batch: Batch, rows: OutsideRows, months: Months
) -> Iterator[Finding]:
    """Yield what is wrong with the rows out of scope of one commit; nothing for an entry that says nothing of them.

    `batch` has the rows in scope beside them. Only rows of `months` are among both, and only those are missed.
    """
    if entry.outside is None:
        return
    spans = rows.spans(entry.first_offset, entry.last_offset)
    told = entry.outside
    compared = told.months is not None and months.touch(*told.months)
    if compared != bool(spans) or (compared and not _as_logged(told, rows, spans)):
        yield from _locate(log, entry, told, batch, rows, spans, months)
    elif compared:
        yield from _file(log, entry)


def uncovered(rows: OutsideRows, first: int, last: int | None, why: str) -> Iterator[Finding]:
    """Yield the rows out of scope of offsets that no commit covers."""
    for span in rows.spans(first, last):
        names = rows.table.slice(span[0], span[1] - span[0]).select(
            ["stream", "partition", "offset", "index"]
        )
        for row, name in zip(range(*span), names.to_pylist(), strict=True):
            yield Finding(Kind.ADDED, str(Position(**name)), why, rows.file(row))


def _as_logged(told: Outside, rows: OutsideRows, spans: Sequence[Span]) -> bool:
    if sum(high - low for low, high in spans) != told.commitment.count:
        return False
    groups = [group for span in spans for group in rows.forms.groups(*span)]
    return merkle.root(groups) == told.commitment.root


def _file(log: Log, entry: Entry) -> Iterator[Finding]:
    try:
        log.outside_file(entry)
    except IntegrityError as error:
        yield Finding(
            Kind.NOT_PROVEN,
            f"{log.origin} {outside_path(log.origin, entry)}",
            f"{error}; the rows out of scope of its commit are as logged, but which of them changes later cannot be "
            "told without it: bring it back from the backup",
        )


def _locate(
    log: Log,
    entry: Entry,
    told: Outside,
    batch: Batch,
    rows: OutsideRows,
    spans: Sequence[Span],
    months: Months,
) -> Iterator[Finding]:
    """Name the rows, or the groups of rows, that are not as they were logged."""
    try:
        parts = outside.decode(log.outside_file(entry), entry.first_offset)
        if outside.root_of(parts) != told.commitment.root:
            raise IntegrityError("the file of rows out of scope does not lead to the root of its log entry")
    except IntegrityError as error:
        where = f"{log.origin} offsets {entry.first_offset} to {entry.last_offset}"
        detail = f"rows out of scope differ from the log, and cannot be named: {error}"
        yield Finding(Kind.NOT_PROVEN, where, detail)
        return
    there: dict[At, list[int]] = {}
    for span in spans:
        for row, at in zip(range(*span), rows.positions(span), strict=True):
            there.setdefault(at, []).append(row)
    found = _Commit(entry, rows, there)
    compared = [part for part in parts if months.holds(part.month)]
    yield from found.strange({at for part in parts for at in part.positions}, _scoped(log, entry))
    for part in compared:
        for number in range(len(part.groups)):
            yield from found.compare(part, number, batch)
    for part in parts:
        if not months.holds(
            part.month
        ):  # a row of a month that is compared, in the place of one of a month that is not
            yield from (found.altered(at) for at in part.positions if at in there)


def _scoped(log: Log, entry: Entry) -> Set[At]:
    """Return the positions that were logged as in scope: what is wrong there is said with the rows in scope."""
    try:
        return {(row.offset, row.index) for row in Known.of(log, entry).file.rows}
    except IntegrityError:
        return frozenset()


@dataclass(frozen=True, slots=True)
class _Commit:
    """The rows that stand at the positions of one commit."""

    entry: Entry
    rows: OutsideRows
    there: dict[At, list[int]]

    def strange(self, logged: Set[At], scoped: Set[At]) -> Iterator[Finding]:
        """Yield rows that are there more than once, or were not logged at all."""
        for at, found in self.there.items():
            if at not in logged and at not in scoped:
                yield self._finding(Kind.ADDED, at, "its commit was logged without it")
            elif at in logged and len(found) > 1:
                yield self._finding(Kind.DUPLICATED, at, "it is in the archive more than once")

    def compare(self, part: Part, number: int, batch: Batch) -> Iterator[Finding]:
        """Compare one group of rows with its hash."""
        mine = part.positions[number * GROUP_ROWS : (number + 1) * GROUP_ROWS]
        forms = [{self.rows.form(row) for row in self.there.get(at, ())} for at in mine]
        if all(len(form) == 1 for form in forms):
            whole = b"".join(next(iter(form)) for form in forms)
            if sha256(b"\x00" + whole).digest() == part.groups[number]:
                return
        # What is missing, or has no canonical form, is none that was logged: it is named itself.
        named = [at for at, form in zip(mine, forms, strict=True) if not form or b"" in form]
        others = [at for at in mine if at not in named]
        if others and named:
            detail = f"{len(named)} others of the group are not as logged"
            yield self._group(Kind.NOT_PROVEN, others, "whether {} changed cannot be told: " + detail)
        elif others:
            yield self._group(
                Kind.ALTERED, others, "of {} one or more are not as logged; which cannot be told"
            )
        for at in named:
            yield self.altered(at) if at in self.there else self._missing(at, batch)

    def altered(self, at: At) -> Finding:
        """Return that the row at a position is not the one that was logged."""
        return self._finding(Kind.ALTERED, at, "it is not the row that was logged")

    def _missing(self, at: At, batch: Batch) -> Finding:
        if self._position(at) in batch.positions(batch.first_from(at[0]), batch.first_from(at[0] + 1)):
            return Finding(
                Kind.ALTERED, str(self._position(at)), "it was logged without an integrity_hash, and has one"
            )
        return Finding(Kind.MISSING, str(self._position(at)), "it was logged and is not in the archive")

    def _group(self, kind: Kind, present: Sequence[At], detail: str) -> Finding:
        names = [str(self._position(at)) for at in (present[0], present[-1])]
        where = names[0] if len(present) == 1 else " to ".join(names)
        what = (
            "the row out of scope here" if len(present) == 1 else f"the {len(present)} rows out of scope here"
        )
        if len(present) == 1 and kind is Kind.ALTERED:
            detail = "it is not the row that was logged"
        return Finding(kind, where, detail.format(what), self.rows.file(self.there[present[0]][0]))

    def _finding(self, kind: Kind, at: At, detail: str) -> Finding:
        return Finding(kind, str(self._position(at)), detail, self.rows.file(self.there[at][0]))

    def _position(self, at: At) -> Position:
        return Position(self.entry.stream, self.entry.partition, *at)
