"""Name the rows of one commit that are not what was logged, with the help of its leaf file.

A row is named where its own leaf hash is known, or where it is missing; otherwise its group, of at most 32 rows.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from lethe.integrity.log import merkle
from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.leaves import LeafFile
from lethe.integrity.rows.canonical_rows import encode
from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.row_batch import Batch, Months
from lethe.integrity.verify.whole import Known, proven
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.schemas.position import Position

MOST_PENDING = 256
"""Rows of each kind kept back, to see whether what is missing in one place was added in another."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands at a position that was logged: leaf hashes, and the file of the first row.

    A row that has no canonical form has the leaf hash b"".
    """

    position: Position
    leaves: Sequence[bytes]
    file: str | None


@dataclass(slots=True)
class Pending:
    """Rows that are missing, with their leaf hashes, and rows that were added: perhaps the same, moved."""

    missing: list[tuple[Position, bytes]] = field(default_factory=list)
    added: list[tuple[Finding, pa.Table]] = field(default_factory=list)

    def miss(self, position: Position, leaf: bytes | None) -> Iterator[Finding]:
        """Take in a missing row, or name it at once if its leaf hash is not known."""
        if leaf is None or len(self.missing) >= MOST_PENDING:
            yield _missing(position)
        else:
            self.missing.append((position, leaf))

    def add(self, batch: Batch, low: int, high: int, detail: str) -> Iterator[Finding]:
        """Take in rows `low` to `high` of a batch, which are in no commit, or in none at their position."""
        for row in range(low, high):
            (position,) = batch.positions(row, row + 1)
            finding = Finding(Kind.ADDED, str(position), detail, batch.file(row))
            if len(self.added) < MOST_PENDING:
                self.added.append((finding, batch.table.slice(row, 1)))
            else:
                yield finding

    def findings(self) -> Iterator[Finding]:
        """Say what became of the rows taken in: moved, or really missing and added."""
        for position, leaf in self.missing:
            where = next(
                (n for n, (_, row) in enumerate(self.added) if _leaf_at(row, position) == leaf), None
            )
            if where is None:
                yield _missing(position)
            else:
                finding, _ = self.added.pop(where)
                yield Finding(Kind.MOVED, str(position), f"it now stands at {finding.where}", finding.file)
        yield from (finding for finding, _ in self.added)
        self.missing, self.added = [], []


def locate(
    log: Log, entry: Entry, batch: Batch, low: int, high: int, months: Months, pending: Pending
) -> Iterator[Finding]:
    """Compare rows `low` to `high` of the batch, all there are of a commit, with its leaf file.

    Each row is compared with its leaf hash, or its group's rows with the root of the group. Only rows of these months
    are in the batch, and only those are missed.
    """
    where = f"{log.origin} offsets {entry.first_offset} to {entry.last_offset}"
    try:
        known = Known.of(log, entry)
    except IntegrityError as error:
        yield Finding(Kind.NOT_PROVEN, where, f"rows differ from the log, and cannot be named: {error}")
        return
    standing = yield from _standing(known.file, entry, batch, low, high, pending)
    for number, group in enumerate(known.file.groups):
        rows = standing[group.first : group.end]
        if not months.holds(known.file.rows[group.first].month):
            # A row of a month that is compared, in the place of one of a month that is not.
            yield from (_altered(row) for row in rows if row.leaves)
        elif (leaves := known.leaves(number)) is not None:
            yield from _compare_rows(leaves, rows, batch, pending)
        elif proven(group.root, [row.leaves for row in rows]) is None:
            yield from _compare_group(rows, batch)
    complete = high - low == entry.commitment.count
    if (
        complete
        and merkle.root(batch.leaves[low:high]) == entry.commitment.root
        and batch.digest(low, high) != entry.commitment.sha3_512
    ):
        yield Finding(
            Kind.ALTERED, where, "the rows have the logged SHA-256 hashes, but not the SHA3-512 digest"
        )


def _standing(
    file: LeafFile, entry: Entry, batch: Batch, low: int, high: int, pending: Pending
) -> Generator[Finding, None, list[Standing]]:
    """Return what stands at every position that was logged; name what stands elsewhere or more than once."""
    positions = [Position(entry.stream, entry.partition, row.offset, row.index) for row in file.rows]
    there: dict[Position, list[int]] = {position: [] for position in positions}
    before = None
    for row, position in zip(range(low, high), batch.positions(low, high), strict=True):
        if position == before:
            yield Finding(
                Kind.DUPLICATED, str(position), "it is in the archive more than once", batch.file(row)
            )
        elif position not in there:
            yield from pending.add(batch, row, row + 1, "its commit was logged without it")
        if position in there:
            there[position].append(row)
        before = position
    return [
        Standing(position, [batch.leaves[row] for row in rows], batch.file(rows[0]) if rows else None)
        for position, rows in there.items()
    ]


def _compare_rows(
    leaves: Sequence[bytes], rows: Sequence[Standing], batch: Batch, pending: Pending
) -> Iterator[Finding]:
    """Compare each row with its leaf hash."""
    for leaf, row in zip(leaves, rows, strict=True):
        if not row.leaves:
            yield from _absent(row, batch, pending, leaf)
        elif row.leaves[0] != leaf:
            yield _altered(row)


def _compare_group(rows: Sequence[Standing], batch: Batch) -> Iterator[Finding]:
    """Say what can be said of a group of rows that does not lead to its root."""
    named: list[Finding] = []
    for row in rows:
        if not row.leaves:
            named += _absent(row, batch)
        elif not row.leaves[0]:  # without a canonical form it is none that was logged
            named.append(_altered(row))
    there = [row for row in rows if any(row.leaves)]
    if there:
        where = str(there[0].position) + (f" to {there[-1].position}" if len(there) > 1 else "")
        what = f"the {len(there)} rows" if len(there) > 1 else "the row"
        if named:
            kind, detail = Kind.NOT_PROVEN, f"{len(named)} others of the group are not as logged"
            detail = f"whether {what} in scope here changed cannot be told: {detail}"
        else:
            kind = Kind.ALTERED
            detail = f"of {what} in scope here one or more are not as logged; which cannot be told"
        yield Finding(kind, where, detail, there[0].file)
    yield from named


def _absent(
    row: Standing, batch: Batch, pending: Pending | None = None, leaf: bytes | None = None
) -> Iterator[Finding]:
    """Name a position at which no row in scope stands."""
    file = batch.without_hash(row.position)
    if file:
        yield Finding(Kind.ALTERED, str(row.position), "its integrity_hash was removed", file)
    else:
        yield from (pending or Pending()).miss(row.position, leaf)


def _altered(row: Standing) -> Finding:
    return Finding(Kind.ALTERED, str(row.position), "it is not the row that was logged", row.file)


def _missing(position: Position) -> Finding:
    return Finding(Kind.MISSING, str(position), "it was logged and is not in the archive")


def _leaf_at(row: pa.Table, position: Position) -> bytes:
    """Compute the leaf hash the row would have at another position; b"" for a row that has no canonical form."""
    for name, value in (("offset", position.offset), ("index", position.index)):
        at = row.column_names.index(name)
        row = row.set_column(at, row.schema.field(name), pa.array([value], row.schema.field(name).type))
    try:
        return encode(row).leaf_hashes()[0]
    except LetheError:
        return b""  # the row was added, whatever it is
