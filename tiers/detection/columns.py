"""Read columns of a month's files, a row group at a time, in as many threads as the machine has processors.

A row group is what one thread holds at a time: memory does not grow with the month.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.files import DICTIONARY
from lethe.tiers.delta.table import Table

POSITION: Final = ("stream", "partition", "offset", "index")
_MOST_THREADS: Final = 4
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())


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


def scan(
    table: Table, groups: Sequence[Any], columns: Sequence[str], visit: Callable[[pa.RecordBatch], None]
) -> None:
    """Call `visit` with the columns of each row group, in threads, in no particular order.

    Columns that a file of an earlier release does not have are null. What `visit` raises is raised here.
    """
    known = pa.schema(table.dataset().schema)
    texts = set(_texts(table.name))
    fields = [
        pa.field(f.name, _TEXT) if f.name in texts else f for f in (known.field(name) for name in columns)
    ]
    schema = pa.schema(fields)

    def read(group: Any) -> None:
        rows = group.to_table(schema=schema, columns=list(columns), use_threads=False)
        if rows.num_rows:
            visit(rows.combine_chunks().to_batches()[0])

    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        try:
            for _ in pool.map(read, groups):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


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
        column = column.cast(pa.int64())
    if column.null_count:
        column = column.fill_null(0)
    found: npt.NDArray[np.int64] = column.to_numpy(zero_copy_only=False)
    return found


def rows_of(groups: Iterable[Any]) -> int:
    """Count the rows of row groups by their footers."""
    return sum(one.row_groups[0].num_rows for one in groups)
