"""Split the rows of a load back into one result per batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lethe.schemas.transformed import Counts, TransformedBatch
from lethe.streams.transform.batch import Batch, Load, Reason, Reject
from lethe.streams.transform.decode.decode import ROW

BatchIndex = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, and which batch each is of."""

    table: pa.Table
    batch_index: BatchIndex


def transformed(
    batch: Batch, counts: Counts, held: int | None = None, **tables: pa.Table
) -> TransformedBatch:
    """Make the result of one batch: its place and offsets, with the counts and the tables it has rows for.

    `held`: bytes of the tables, if they are known.
    """
    return TransformedBatch(
        stream=batch.source.stream,
        partition=batch.source.partition,
        source=batch.source.id,
        first=batch.first,
        last=batch.last,
        counts=counts,
        gap=batch.gap,
        held=sum(table.nbytes for table in tables.values()) if held is None else held,
        received_ms=int(batch.received_ms[len(batch.values) // 2]) if batch.values else -1,
        **tables,
    )


def split_by_batch(load: Load, counts: list[Counts], **tables: Rows) -> list[TransformedBatch]:
    """Split the rows of a load back into one result per batch, in the order of the load. Rows keep their order."""
    if len(load.batches) == 1:
        return [
            transformed(load.batches[0], counts[0], **{name: rows.table for name, rows in tables.items()})
        ]
    cuts = {name: _cut(rows, len(load.batches)) for name, rows in tables.items()}
    each = sum(rows.table.nbytes for rows in tables.values()) // max(1, len(load.values))
    return [
        transformed(
            batch, counts[at], each * len(batch.values), **{name: parts[at] for name, parts in cuts.items()}
        )
        for at, batch in enumerate(load.batches)
    ]


def _cut(rows: Rows, count: int) -> list[pa.Table]:
    table, batch_index = rows.table, rows.batch_index
    if (np.diff(batch_index) < 0).any():  # several months one after the other
        order = np.argsort(batch_index, kind="stable")
        table, batch_index = table.take(pa.array(order)), batch_index[order]
    ends = np.searchsorted(batch_index, np.arange(count + 1))
    return [table.slice(ends[at], ends[at + 1] - ends[at]) for at in range(count)]


def counted(
    load: Load,
    rejects: Iterable[Reject],
    records: pl.DataFrame,
    content: pl.DataFrame | None,
    identifiers: BatchIndex,
    usage: BatchIndex,
) -> list[Counts]:
    """Count the records of each batch. `records`: `ROW`, `late`, `in_scope`, `redacted` of all that was split."""
    size = len(load.batches)
    batch_index = load.batch_index[records.get_column(ROW).to_numpy()]
    late = records.get_column("late").to_numpy()

    def each(which: npt.NDArray[np.bool_] | slice = slice(None)) -> list[int]:
        found: list[int] = np.bincount(batch_index[which], minlength=size).tolist()
        return found

    split, all_late = each(~late), each(late)
    scope = each(records.get_column("in_scope").to_numpy() & ~late)
    withheld = records.get_column("redacted")
    redacted = (
        [0] * size if withheld.null_count() == records.height else each(withheld.is_not_null().to_numpy())
    )
    named = np.bincount(identifiers, minlength=size).tolist()
    used = np.bincount(usage, minlength=size).tolist()
    dropped = [0.0] * size
    if content is not None:
        rows, values = content.get_column(ROW).to_numpy(), content.get_column("dropped").to_numpy()
        dropped = np.bincount(load.batch_index[rows], values, minlength=size).tolist()
    counts = [
        Counts(
            messages=len(batch.values),
            records=split[at] + all_late[at],
            split=split[at],
            late=all_late[at],
            redacted=redacted[at],
            content_dropped=int(dropped[at]),
            identifiers=named[at],
            in_scope=scope[at],
            usage=used[at],
        )
        for at, batch in enumerate(load.batches)
    ]
    for reject in rejects:
        mine = counts[int(load.batch_index[reject.row])]
        mine.records += 1
        if reject.reason == Reason.TOMBSTONE:
            mine.tombstones += 1
        else:
            mine.rejected += 1
            mine.reasons[reject.reason] += 1
    return counts
