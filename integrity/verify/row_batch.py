"""Archive rows gathered for verification: in order, hashed once, with the files they came from."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.log.commitment import sort_scope
from lethe.integrity.rows.canonical_rows import CHUNK_ROWS, EncodedRows, check_schema, conform, encode
from lethe.integrity.rows.compiled import Hashes, split
from lethe.integrity.rows.hashes import sha3_512_each
from lethe.integrity.verify.findings import Finding, Kind
from lethe.schemas.arrow import TIMESTAMP, file_schema
from lethe.schemas.errors import LetheError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month

Rows = Callable[[int, int | None], Iterable[tuple[str | None, pa.Table]]]
"""Archive rows of one topic-partition from the first to the last offset given (None: to the end).

Yields tables with columns of `lethe.schemas.arrow.METADATA` in any order and number, each with the name of
its file, if known. Rows out of scope may be among them. Called with offsets that ascend.
"""

_FILE = "file"


@dataclass(frozen=True, slots=True)
class Months:
    """The months whose rows are compared, both ends included (of `event_time`, UTC; None: no bound)."""

    first: Month | None = None
    last: Month | None = None

    def holds(self, month: Month) -> bool:
        """Tell whether rows of the month are compared."""
        return not (self.first and month < self.first) and not (self.last and month > self.last)

    def touch(self, first: Month, last: Month) -> bool:
        """Tell whether any month from `first` to `last` is compared."""
        return not (self.first and last < self.first) and not (self.last and first > self.last)

    def keep(self, table: pa.Table) -> pa.Table:
        """Return the rows of these months."""
        times = table.column("event_time")
        if not self.first and not self.last:
            return table
        span = extent(times)
        late_enough = span and (not self.first or span[0] >= _instant(self.first.start()).value)
        if span and late_enough and (not self.last or span[1] < _instant(self.last.plus(1).start()).value):
            return table
        if self.first:
            table = table.filter(pc.greater_equal(times, _instant(self.first.start())))
            times = table.column("event_time")
        if self.last:
            table = table.filter(pc.less(times, _instant(self.last.plus(1).start())))
        return table


ALL_MONTHS = Months()


class Batch:
    """Rows in scope by offset and index; a position may be there twice."""

    def __init__(self, pieces: Iterable[tuple[str | None, pa.Table]], months: Months = ALL_MONTHS) -> None:
        self.findings: list[Finding] = []
        self.files: list[str | None] = []
        self.unscoped: list[tuple[str | None, pa.Table]] = []
        tables = []
        for file, piece in pieces:
            readable = self._readable(file, piece)
            if readable is None:
                continue
            kept = months.keep(readable)
            self.findings += _misplaced(kept, file)
            if kept.schema.get_field_index("month") >= 0:
                kept = kept.drop_columns(["month"])
            unscoped = kept.column("integrity_hash").null_count
            if unscoped:
                rest = kept if unscoped == kept.num_rows else kept.filter(pc.is_null(kept["integrity_hash"]))
                self.unscoped.append((file, rest))
                if unscoped == kept.num_rows:
                    continue
            number = pa.repeat(pa.scalar(len(self.files), pa.int32()), kept.num_rows)
            tables.append(kept.append_column(_FILE, number))
            self.files.append(file)
        self.table = file_schema("metadata").empty_table()
        self._numbers: pa.ChunkedArray | None = None
        self.chunks: list[EncodedRows] = []
        self.leaves: Sequence[bytes] = []
        self._known: dict[tuple[int, int], bytes] = {}
        self._offsets = memoryview(b"").cast("q")
        if tables:
            # Files written before a column was added lack it: absent is null, in a table as in a canonical
            # row.
            table = sort_scope(pa.concat_tables(tables, promote_options="permissive")).combine_chunks()
            self._numbers = table.column(_FILE)
            self.table = table.drop_columns([_FILE])
            self._hash()

    def _readable(self, file: str | None, piece: pa.Table) -> pa.Table | None:
        """Return the rows that can be compared at all, None for none: who tampers with a file may leave anything
        behind.
        """
        where = file or "the archive"
        try:
            check_schema(piece.schema)
            piece = conform(piece)
        except LetheError as error:
            self.findings.append(Finding(Kind.ALTERED, where, str(error), file))
            return None
        placed = piece
        for name in ("stream", "partition", "offset"):
            if placed.column(name).null_count:
                placed = placed.filter(pc.is_valid(placed.column(name)))
        if placed.num_rows < piece.num_rows:
            detail = f"{piece.num_rows - placed.num_rows} rows have lost their position"
            self.findings.append(Finding(Kind.ALTERED, where, detail, file))
        return placed

    def _hash(self) -> None:
        found: list[bytes | list[bytes]] = []
        for start in range(0, self.table.num_rows, CHUNK_ROWS):
            part = self.table.slice(start, CHUNK_ROWS)
            try:
                chunk = encode(part)
                found.append(chunk.joined_hashes(0, len(chunk), 1))
            except LetheError:
                # Some row has no canonical form, so it is not one that was logged: the others are still
                # compared.
                chunk, leaves = one_by_one(part)
                found.append(leaves)
            self.chunks.append(chunk)
        joined = [leaves for leaves in found if isinstance(leaves, bytes)]
        if len(joined) == len(found):
            self.leaves = Hashes(b"".join(joined))
        else:
            self.leaves = [
                leaf for leaves in found for leaf in (split(leaves) if isinstance(leaves, bytes) else leaves)
            ]
        if self.leaves:
            offsets = self.table.column("offset").combine_chunks()
            whole = memoryview(offsets.buffers()[1]).cast("q")
            self._offsets = whole[offsets.offset : offsets.offset + len(offsets)]

    def __len__(self) -> int:
        return len(self.leaves)

    def first_from(self, offset: int) -> int:
        """Return the number of the first row whose offset is at least this one."""
        return bisect_left(self._offsets, offset)

    def digest_together(self, spans: Iterable[tuple[int, int]]) -> None:
        """Compute the digests of several spans of rows side by side, which is faster than one after the other."""
        wanted = [span for span in dict.fromkeys(spans) if span not in self._known]
        found = sha3_512_each([self._forms(*span) for span in wanted])
        self._known.update(zip(wanted, found, strict=True))

    def digest(self, low: int, high: int) -> bytes:
        """Compute SHA3-512 of the canonical forms of rows `low` to `high`, `high` excluded."""
        self.digest_together([(low, high)])
        return self._known[low, high]

    def _forms(self, low: int, high: int) -> list[memoryview]:
        pieces = []
        start = 0
        for chunk in self.chunks:
            end = start + len(chunk)
            if start < high and low < end:
                bounds = chunk.bounds[max(low - start, 0)], chunk.bounds[min(high, end) - start]
                pieces.append(memoryview(chunk.data)[bounds[0] : bounds[1]])
            start = end
        return pieces

    def positions(self, low: int, high: int) -> list[Position]:
        """Return the positions of rows `low` to `high`, `high` excluded."""
        return _positions(self.table.slice(low, high - low))

    def file(self, row: int) -> str | None:
        """Return the file a row came from, if known."""
        return self.files[self._numbers[row].as_py()] if self._numbers is not None else None

    def without_hash(self, position: Position) -> str | None:
        """Say where a row stands at the position whose `integrity_hash` is null; None when there is none."""
        for file, table in self.unscoped:
            if position in _positions(table.filter(pc.equal(table.column("offset"), position.offset))):
                return file or "the archive"
        return None


def one_by_one(table: pa.Table) -> tuple[EncodedRows, list[bytes]]:
    """Return rows and leaf hashes, both empty for a row that has no canonical form."""
    forms: list[bytes] = []
    leaves: list[bytes] = []
    for row in range(table.num_rows):
        try:
            one = encode(table.slice(row, 1))
            forms.append(one.data)
            leaves += one.leaf_hashes()
        except LetheError:
            forms.append(b"")
            leaves.append(b"")
    return EncodedRows(b"".join(forms), list(accumulate(map(len, forms), initial=0))), leaves


def _positions(table: pa.Table) -> list[Position]:
    rows = table.select(["stream", "partition", "offset", "index"]).to_pylist()
    return [Position(**row) for row in rows]


def extent(times: pa.ChunkedArray) -> tuple[int, int] | None:
    """Return the first and last instant (microseconds since 1970); None where one is missing or in another unit."""
    if times.type != TIMESTAMP or times.null_count or not len(times):
        return None
    numbers = times.cast(pa.int64()).to_numpy()
    return int(numbers.min()), int(numbers.max())


def _instant(instant: datetime) -> pa.Scalar:
    return pa.scalar(instant, TIMESTAMP)


def _misplaced(table: pa.Table, file: str | None) -> Iterator[Finding]:
    """Yield rows whose partition of the archive is not the month they are of: it is not part of what was hashed."""
    if table.schema.get_field_index("month") < 0:
        return
    times = table.column("event_time")
    for name in pc.unique(table.column("month")).to_pylist():
        wrong = pc.equal(table.column("month"), name)
        try:
            month = Month.parse(name)
            first, end = _instant(month.start()), _instant(month.plus(1).start())
            wrong = pc.and_(wrong, pc.or_(pc.less(times, first), pc.greater_equal(times, end)))
        except (ValueError, TypeError):
            pass  # no month at all: every row under it is in the wrong place
        if not pc.any(wrong).as_py():
            continue
        for position in _positions(table.filter(wrong)):
            detail = f"it is kept in the partition of month {name}, in which it did not take place"
            yield Finding(Kind.MOVED, str(position), detail, file)
