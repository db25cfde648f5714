"""Name the rows of one commit that are not what was logged, with the help of its leaf file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from integrity import leaves as leaf_files
from integrity import merkle
from integrity.batch import Batch, Months
from integrity.findings import Finding, Kind
from integrity.leaves import Leaf
from integrity.log import Entry, Log
from integrity.rows import encode
from schemas.errors import IntegrityError
from schemas.position import Position

MOST_SUSPECTS = 256
"""Rows kept back, of each kind, to see whether what is missing in one place was added in another."""


@dataclass(slots=True)
class Suspects:
    """Rows that are missing and rows that were added: perhaps the same, moved."""

    missing: list[tuple[Position, bytes]] = field(default_factory=list)
    added: list[tuple[Finding, pa.Table]] = field(default_factory=list)

    def settle(self) -> Iterator[Finding]:
        """What became of them: moved, or really missing and added."""
        for position, leaf in self.missing:
            where = next(
                (n for n, (_, row) in enumerate(self.added) if _leaf_at(row, position) == leaf), None
            )
            if where is None:
                yield Finding(Kind.MISSING, str(position), "it was logged and is not in the archive")
            else:
                finding, _ = self.added.pop(where)
                detail = f"it now stands at {finding.where}"
                yield Finding(Kind.MOVED, str(position), detail, finding.file)
        for finding, _ in self.added:
            yield finding
        self.missing, self.added = [], []


def _leaf_at(row: pa.Table, position: Position) -> bytes:
    """The leaf hash the row would have at another position."""
    for name, value in (("offset", position.offset), ("index", position.index)):
        at = row.column_names.index(name)
        row = row.set_column(at, row.schema.field(name), pa.array([value], row.schema.field(name).type))
    return encode(row).leaf_hashes()[0]


def added(batch: Batch, low: int, high: int, detail: str, suspects: Suspects) -> Iterator[Finding]:
    """Rows `low` to `high` of the batch are in no commit, or in none at their position."""
    for row in range(low, high):
        (position,) = batch.positions(row, row + 1)
        finding = Finding(Kind.ADDED, str(position), detail, batch.file(row))
        if len(suspects.added) < MOST_SUSPECTS:
            suspects.added.append((finding, batch.table.slice(row, 1)))
        else:
            yield finding


def locate(
    log: Log, entry: Entry, batch: Batch, low: int, high: int, months: Months, suspects: Suspects
) -> Iterator[Finding]:
    """Compare rows `low` to `high` of the batch, all there are of a commit, with its leaf file, one by one.

    Only rows of these months are in the batch, and only those are missed.
    """
    where = f"{log.origin} offsets {entry.first_offset} to {entry.last_offset}"
    try:
        logged = list(leaf_files.decode(log.leaf_file(entry), entry.first_offset))
        if merkle.root([leaf.hash for leaf in logged]) != entry.commitment.root:
            raise IntegrityError("the leaf file does not lead to the root of its log entry")
    except IntegrityError as error:
        yield Finding(Kind.NOT_PROVEN, where, f"rows differ from the log, and cannot be named: {error}")
        return
    leaves = {Position(entry.stream, entry.partition, leaf.offset, leaf.index): leaf for leaf in logged}
    yield from _compare(leaves, batch, low, high, suspects)
    yield from _missed(leaves, batch, low, high, months, suspects)
    complete = batch.leaves[low:high] == [leaf.hash for leaf in logged]
    if complete and batch.digest(low, high) != entry.commitment.sha3_512:
        yield Finding(
            Kind.ALTERED, where, "the rows have the logged SHA-256 hashes, but not the SHA3-512 digest"
        )


def _compare(
    leaves: dict[Position, Leaf], batch: Batch, low: int, high: int, suspects: Suspects
) -> Iterator[Finding]:
    before = None
    for row, position in zip(range(low, high), batch.positions(low, high), strict=True):
        if position == before:
            yield Finding(
                Kind.DUPLICATED, str(position), "it is in the archive more than once", batch.file(row)
            )
        elif position not in leaves:
            yield from added(batch, row, row + 1, "its commit was logged without it", suspects)
        elif batch.leaves[row] != leaves[position].hash:
            yield Finding(Kind.ALTERED, str(position), "it is not the row that was logged", batch.file(row))
        before = position


def _missed(
    leaves: dict[Position, Leaf], batch: Batch, low: int, high: int, months: Months, suspects: Suspects
) -> Iterator[Finding]:
    there = set(batch.positions(low, high))
    for position, leaf in leaves.items():
        if position in there or not months.holds(leaf.month):
            continue
        file = batch.without_hash(position)
        if file:
            yield Finding(Kind.ALTERED, str(position), "its integrity_hash was removed", file)
        elif len(suspects.missing) < MOST_SUSPECTS:
            suspects.missing.append((position, leaf.hash))
        else:
            yield Finding(Kind.MISSING, str(position), "it was logged and is not in the archive")
