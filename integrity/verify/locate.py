"""Name the rows of one commit that are not what was logged, with the help of its leaf file."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from lethe.integrity.log import merkle
from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.leaves import LeafFile
from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.row_batch import Batch, Months
from lethe.integrity.verify.suspects import MOST_SUSPECTS, Standing, Suspects, Unsolved, altered, missing
from lethe.integrity.verify.whole import Known
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position


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
    standing = yield from _standing(known.file, entry, batch, low, high, suspects)
    for number, group in enumerate(known.file.groups):
        rows = standing[group.first : group.end]
        if not months.holds(known.file.rows[group.first].month):
            # A row of a month that is compared, in the place of one of a month that is not.
            yield from (altered(row) for row in rows if row.leaves)
        else:
            yield from _compare(known, number, rows, batch, suspects)
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
    file: LeafFile, entry: Entry, batch: Batch, low: int, high: int, suspects: Suspects
) -> Generator[Finding, None, list[Standing]]:
    """What stands at every position that was logged, returned; what stands elsewhere or more than once is named."""
    positions = [Position(entry.stream, entry.partition, row.offset, row.index) for row in file.rows]
    there: dict[Position, list[int]] = {position: [] for position in positions}
    before = None
    for row, position in zip(range(low, high), batch.positions(low, high), strict=True):
        if position == before:
            yield Finding(
                Kind.DUPLICATED, str(position), "it is in the archive more than once", batch.file(row)
            )
        elif position not in there:
            yield from added(batch, row, row + 1, "its commit was logged without it", suspects)
        if position in there:
            there[position].append(row)
        before = position
    return [
        Standing(position, [batch.leaves[row] for row in rows], batch.file(rows[0]) if rows else None)
        for position, rows in there.items()
    ]


def _compare(
    known: Known, number: int, rows: list[Standing], batch: Batch, suspects: Suspects
) -> Iterator[Finding]:
    """The rows of one group."""
    leaves = known.solve(number, [row.leaves for row in rows], suspects.tries)
    missed: list[int] = []
    for place, row in enumerate(rows):
        if not row.leaves:
            file = batch.without_hash(row.position)
            if file:
                yield Finding(Kind.ALTERED, str(row.position), "its integrity_hash was removed", file)
            else:
                missed.append(place)
        # A row without a canonical form is none that was logged.
        elif (leaves and row.leaves[0] != leaves[place]) or not row.leaves[0]:
            yield altered(row)
    one = Unsolved(known.file.groups[number], rows, missed)
    if missed and suspects.room(len(missed)):
        if leaves is None:
            suspects.unsolved.append(one)
        else:
            suspects.missing += [(rows[place].position, leaves[place]) for place in missed]
        return
    if leaves is None:
        yield from one.unnamed()
    yield from (missing(rows[place].position) for place in missed)
