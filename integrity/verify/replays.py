"""Verify what was replayed from quarantine against the log of replays: each row as it was logged, and nothing else.

A replayed row lies among the rows of the commit it was rejected in, whose own entry was logged without it. So each row
is compared with the entry that has its position in its leaf file, and with no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.log import leaves as leaf_files
from lethe.integrity.log import outside
from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.verify.archive import as_logged
from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.locate import Pending, locate
from lethe.integrity.verify.outside_rows import OutsideRows, verify_outside
from lethe.integrity.verify.row_batch import ALL_MONTHS, Batch, Months, Rows
from lethe.schemas.errors import IntegrityError

TopicPartition = tuple[str, int]
"""A topic-partition."""

At = tuple[int, int | None]
"""Offset and index."""


def verify_replays(
    log: Log, entries: Iterable[Entry], rows: Callable[[TopicPartition], Rows], months: Months = ALL_MONTHS
) -> Iterator[Finding | tuple[TopicPartition, set[At]]]:
    """Findings, and for each entry the positions that it answers for: no other entry has to account for them.

    An entry whose leaf file is gone or altered answers for nothing, and is named. Raises what `rows` and the log's
    store raise.
    """
    pending = Pending()
    for entry in entries:
        topic_partition = entry.stream, entry.partition
        where = f"{log.origin} offsets {entry.first_offset} to {entry.last_offset}"
        where += f" of {entry.stream}/{entry.partition}"
        try:
            file = leaf_files.decode(log.leaf_file(entry), entry.first_offset)
            parts = outside.decode(log.outside_file(entry), entry.first_offset)
            mine = {(row.offset, row.index) for row in file.rows}
            mine |= {at for part in parts for at in part.positions}
        except IntegrityError as error:
            yield Finding(Kind.NOT_PROVEN, where, f"replayed rows cannot be compared: {error}")
            continue
        chosen = only(rows(topic_partition), mine)
        batch = Batch(chosen(entry.first_offset, entry.last_offset), months)
        yield from batch.findings
        if not as_logged(batch, 0, len(batch), entry, months):
            yield from locate(log, entry, batch, 0, len(batch), months, pending)
        yield from verify_outside(log, entry, batch, OutsideRows(batch.unscoped), months)
        yield topic_partition, mine
    yield from pending.findings()


def only(rows: Rows, positions: Set[At], without: bool = False) -> Rows:
    """Yield the rows at the positions, or all others."""
    offsets = pa.array(sorted({offset for offset, _ in positions}), pa.int64())

    def chosen(first: int, last: int | None) -> Iterator[tuple[str | None, pa.Table]]:
        for file, table in rows(first, last):
            near = pc.is_in(table.column("offset"), offsets)
            if without and not pc.any(near).as_py():
                yield file, table
                continue
            yield file, table.filter(_mask(table, near, positions, without))

    return chosen


def _mask(table: pa.Table, near: Any, positions: Set[At], without: bool) -> pa.Array:
    pairs = zip(
        table.column("offset").to_pylist(), table.column("index").to_pylist(), near.to_pylist(), strict=True
    )
    chosen = [(bool(n) and (offset, index) in positions) != without for offset, index, n in pairs]
    return pa.array(chosen, pa.bool_())
