"""Verify the archive of one topic-partition against its log: every row, and which is not as it was.

Nothing is known here of files and tables: rows come from a callable. How they are laid out does not matter,
so the result is the same before and after compaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field

from lethe.integrity.log import merkle
from lethe.integrity.log.entries import Entry, Log, leaf_path
from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.locate import Pending, locate
from lethe.integrity.verify.outside_rows import OutsideRows, uncovered, verify_outside
from lethe.integrity.verify.row_batch import ALL_MONTHS, Batch, Months, Rows
from lethe.schemas.errors import IntegrityError

BATCH_ROWS = 131_072
BATCH_ENTRIES = 4_096
"""Whole commits are asked for and verified together, up to so many rows: what is held in memory at a time."""


@dataclass(slots=True)
class Progress:
    """How far verification has come: what a progress bar shows and a report counts. `outside` are rows out of scope.

    `unchanged`: those of them in data files that are byte for byte as they were written.
    """

    rows: int = 0
    entries: int = 0
    outside: int = 0
    unchanged: int = 0
    tick: Callable[[Progress], None] | None = field(default=None, repr=False)


def verify_archive(
    log: Log,
    rows: Rows,
    months: Months = ALL_MONTHS,
    version: int | None = None,
    progress: Progress | None = None,
    unchanged: Set[int] = frozenset(),
) -> Iterator[Finding]:
    """Yield every row that is not as it was logged: altered, missing, added, duplicated or moved.

    Of rows out of scope the group of 32 is named, and only commits with an entry of version 2 tell of them.

    Only rows of `months` are compared; others have outlived the archive, or nobody asked for them. Entries of
    a metadata table version after `version` are left out: pin the table first, then open the log. The log
    itself is the business of `verify_log`; an entry that is altered is named and its rows are left out.
    `unchanged` are first offsets of commits whose rows out of scope are known to be as logged: none of them is read.
    Raises what `rows` and the log's store raise.
    """
    pending = Pending()
    progress = progress or Progress()
    said: set[Finding] = set()  # of a file that holds rows of several batches
    start, proven = 0, True
    for steps in _batches(log, version):
        end = next((entry.last_offset for entry, _ in reversed(steps) if entry), start)
        batch = Batch(rows(start, end), months)
        others = OutsideRows(batch.unscoped)
        batch.digest_together(_whole(batch, [entry for entry, _ in steps if entry]))
        yield from (finding for finding in batch.findings if finding not in said)
        said.update(batch.findings)
        for entry, trouble in steps:
            if entry is None:
                yield Finding(
                    Kind.NOT_PROVEN, f"{log.origin}", f"the rows of a commit cannot be compared: {trouble}"
                )
                proven = False
                continue
            if proven and start < entry.first_offset:
                yield from uncovered(others, start, entry.first_offset - 1, _UNCOVERED)
            low, high = batch.first_from(start), batch.first_from(entry.first_offset)
            if proven:
                yield from pending.add(batch, low, high, _UNCOVERED)
            start, proven = entry.last_offset + 1, True
            low, high = batch.first_from(entry.first_offset), batch.first_from(start)
            if not as_logged(batch, low, high, entry, months):
                yield from locate(log, entry, batch, low, high, months, pending)
            elif entry.months and months.touch(*entry.months):
                yield from _leaf_file(log, entry)
            known = entry.first_offset in unchanged and not others.spans(
                entry.first_offset, entry.last_offset
            )
            if known:
                progress.unchanged += entry.outside.commitment.count if entry.outside else 0
            else:
                yield from verify_outside(log, entry, batch, others, months)
            progress.rows += high - low
            progress.outside += entry.outside.commitment.count if entry.outside else 0
            progress.entries += 1
        if progress.tick:
            progress.tick(progress)
    if proven:
        batch = Batch(rows(start, None), months)
        yield from (finding for finding in batch.findings if finding not in said)
        said.update(batch.findings)
        detail = "it comes after the last entry of the log: added, or the log is not published yet"
        yield from pending.add(batch, 0, len(batch), detail)
        yield from uncovered(OutsideRows(batch.unscoped), start, None, detail)
    yield from pending.findings()


def _whole(batch: Batch, entries: Iterable[Entry]) -> Iterator[tuple[int, int]]:
    """Yield the rows of each commit that has as many as were logged, from one number to another."""
    for entry in entries:
        low, high = batch.first_from(entry.first_offset), batch.first_from(entry.last_offset + 1)
        if low < high and high - low == entry.commitment.count:
            yield low, high


_UNCOVERED = "no commit that was logged covers its offset"


def _leaf_file(log: Log, entry: Entry) -> Iterator[Finding]:
    """Say what is wrong with the leaf file of a commit whose rows are as logged: they need it to be proven one by
    one.
    """
    try:
        log.leaf_file(entry)
    except IntegrityError as error:
        where = f"{log.origin} {leaf_path(log.origin, entry)}"
        yield Finding(
            Kind.NOT_PROVEN,
            where,
            f"{error}; the rows of its commit are as logged, but there is no evidence of one of them without it: "
            "bring it back from the backup",
        )


Step = tuple[Entry | None, str]
"""An entry of the log, or why there is none to be had."""


def _batches(log: Log, version: int | None) -> Iterator[list[Step]]:
    """Yield the entries of the log in order, as many together as are verified together."""
    steps: list[Step] = []
    count = 0
    for index in range(log.size):
        try:
            entry = log.entry(index)
        except IntegrityError as error:
            steps.append((None, str(error)))
            continue
        if version is not None and entry.version > version:
            break
        steps.append((entry, ""))
        count += entry.commitment.count + (entry.outside.commitment.count if entry.outside else 0)
        if count >= BATCH_ROWS or len(steps) >= BATCH_ENTRIES:
            yield steps
            steps, count = [], 0
    if steps:
        yield steps


def as_logged(batch: Batch, low: int, high: int, entry: Entry, months: Months) -> bool:
    """Tell whether all rows of a commit are in the batch, and just as they were logged."""
    expected = entry.commitment
    if entry.months is None or not months.touch(*entry.months):
        return low == high
    return (
        high - low == expected.count
        and merkle.root(batch.leaves[low:high]) == expected.root
        and batch.digest(low, high) == expected.sha3_512
    )
