"""Read columns of a month's files, a row group at a time, in as many threads as the machine has processors.

A row group is what one thread holds at a time, and works on in pieces: memory does not grow with the month.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import TOKEN
from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.files import DICTIONARY
from lethe.tiers.delta.rewrite import actions_of
from lethe.tiers.delta.table import Table

POSITION: Final = ("stream", "partition", "offset", "index")
_MOST_THREADS: Final = 4
_AT_ONCE: Final = 1 << 17
_JOB: Final = 1 << 18
_NO_MORE: Final = {"batch_readahead": 0, "fragment_readahead": 0}
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

Seen = Callable[[int], None]
"""Is told how many rows were read since it was told last; by several threads."""


def unseen(rows: int) -> None:
    """Watch nothing."""


def row_groups(table: Table, month: Month, window_months: int | None = None) -> list[Any]:
    """Return the row groups of a month as Arrow fragments, in which text comes as codes of a dictionary."""
    from pyarrow.dataset import ParquetFileFormat, ParquetReadOptions

    here = pc.field("month") == str(month)
    if window_months is not None:
        here &= pc.field("window_months") == window_months
    options = ParquetReadOptions(dictionary_columns=_texts(table.name), coerce_int96_timestamp_unit="us")
    reads = ParquetFileFormat(read_options=options)
    found = []
    for one in table.dataset().get_fragments(filter=here):
        again = reads.make_fragment(
            one.path, one.filesystem, partition_expression=_partition(one.partition_expression)
        )
        found += again.split_by_row_group()
    return found


def _partition(expression: Any) -> Any:
    """Keep of what is known of a file the partition it is of, and no bounds of its columns."""
    from pyarrow.dataset import get_partition_keys

    where = pc.scalar(True)
    for name, value in get_partition_keys(expression).items():
        where &= pc.field(name) == value
    return where


def rows_in(table: Table, months: Sequence[Month]) -> list[int]:
    """Count the rows of each month by what the log says of its files; none is opened."""
    table.reload()
    files = [actions_of(table, {"month": str(month)}).column("num_records").to_pylist() for month in months]
    return [sum(n or 0 for n in counts) for counts in files]


def scan(
    table: Table,
    groups: Sequence[Any],
    columns: Sequence[str],
    visit: Callable[[pa.RecordBatch], None],
    seen: Seen = unseen,
) -> None:
    """Call `visit` with the columns of each row group, in threads, some rows at a time in no particular order.

    Columns that a file of an earlier release does not have are null. What `visit` raises is raised here.
    """
    known = pa.schema(table.dataset().schema)
    texts = set(_texts(table.name))
    types = dict.fromkeys(texts, _TEXT) | {"token": TOKEN}  # as files have it, and the log cannot say
    schema = pa.schema([pa.field(name, types.get(name, known.field(name).type)) for name in columns])

    def read(some: Any) -> None:
        found = some.scanner(
            schema=schema, columns=list(columns), use_threads=False, batch_size=_AT_ONCE, **_NO_MORE
        )
        for batch in found.to_batches():
            visit(batch)
            seen(batch.num_rows)

    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        try:
            for _ in pool.map(read, list(_jobs(groups))):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            pa.default_memory_pool().release_unused()


def _jobs(groups: Sequence[Any]) -> Iterator[Any]:
    """Put small row groups of a file together, so that it is not opened for each of them."""
    for _, mine in groupby(groups, lambda one: one.path):
        some, rows = [], 0
        for one in mine:
            some.append(one)
            rows += one.row_groups[0].num_rows
            if rows >= _JOB:
                yield some[0].subset(row_group_ids=[o.row_groups[0].id for o in some])
                some, rows = [], 0
        if some:
            yield some[0].subset(row_group_ids=[o.row_groups[0].id for o in some])


def _texts(name: str) -> list[str]:
    from lethe.schemas.arrow import TABLES

    return [
        n for n in DICTIONARY[name] if n in TABLES[name].names and TABLES[name].field(n).type == pa.string()
    ]


def coded(column: pa.Array) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """Return the values of a column and, by row, which of them it has; the last value is None."""
    if not isinstance(column, pa.DictionaryArray):
        column = column.dictionary_encode()
    values = column.dictionary.to_pylist()
    indices = column.indices.fill_null(len(values)) if column.null_count else column.indices
    return [*values, None], indices.to_numpy(zero_copy_only=False)


def whole(column: pa.Array) -> npt.NDArray[np.int64]:
    """Return a column of integers or times as integers, nulls as 0."""
    if column.null_count == len(column):
        return np.zeros(len(column), np.int64)
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    if column.null_count:
        column = column.fill_null(0)
    found: npt.NDArray[np.int64] = column.to_numpy(zero_copy_only=False)
    return found


def rows_of(groups: Iterable[Any]) -> int:
    """Count the rows of row groups by their footers."""
    return sum(one.row_groups[0].num_rows for one in groups)
