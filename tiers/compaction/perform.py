"""One file of a run is written: the rows of all inputs between two bounds, sorted. No key is needed for it.

The same task gives the same bytes wherever it runs, so it may run twice, at once or after a crash.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from hashlib import sha256
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lethe.schemas.arrow import conformed, file_schema
from lethe.schemas.errors import FencedError, IntegrityError
from lethe.tiers.compaction.constants import Constants
from lethe.tiers.compaction.layout import (
    ROW_GROUP,
    TOKENS,
    USUAL_ROW_GROUP,
    Contents,
    Place,
    offset_column,
)
from lethe.tiers.compaction.plan import Bound, Footer, Job, Key, Task, check_release
from lethe.tiers.delta.files import (
    DICTIONARY,
    SORTED_BY,
    by_token,
    encoding,
    only_rows,
    prefixes,
    smallest_times,
)
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.places import Opened, ends_of
from lethe.tiers.delta.rewrite import BROKEN
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects

_FIRST: Final[Key] = ("", -1, -1)
_LAST: Final[Key] = ("\U0010ffff", 1 << 31, 1 << 62)


def footers(objects: Objects, job: Job) -> list[Footer]:
    """Say where the rows of each row group of a job's inputs can be, as their footers say.

    Raises `FencedError` when an input is gone, `IntegrityError` when one cannot be read.
    """
    names = ("stream", "partition", offset_column(job.table))
    told: list[Footer] = []
    for file in job.inputs:
        with _Reading(job.table, file):
            metadata = Opened(objects, f"{job.table}/{file.path}", file.size).metadata
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                ends = [found for name in names if (found := ends_of(group, name))]
                known = len(ends) == len(names)
                first = (ends[0][0], ends[1][0], ends[2][0]) if known else _FIRST
                last = (ends[0][1], ends[1][1], ends[2][1]) if known else _LAST
                told.append((first, last, group.num_rows))
    return told


def perform(objects: Objects, task: Task) -> DataFile | None:
    """Write the file of a task, not yet committed; None if no row belongs in it.

    Raises `FencedError` when an input is gone, `IntegrityError` when one is damaged, `ConfigurationError` when another
    release planned the task.
    """
    job = task.job
    check_release(job.release)
    schema = _schema(job.table)
    rows_of_group = ROW_GROUP.get(job.table, USUAL_ROW_GROUP)
    sink = io.BytesIO()
    rows = 0
    inputs = [_Input(objects, job, file) for file in job.inputs]
    parts = (_sorted(job.table, _between(inputs, schema, lower, upper)) for lower, upper in task.slices)
    parts = (part for part in parts if part.num_rows)
    begin = next(parts, None)
    if begin is None:
        return None
    times = smallest_times(begin)
    options = encoding(job.table, schema, rows_of_group, read_in_places=True, times=times)
    empty, first, continued = set(schema.names), list[Key](), set[int]()
    constants = Constants(schema.names)
    with pq.ParquetWriter(sink, schema, **options) as writer:
        for part in chain([begin], parts):
            begin = None  # it is in memory as long as it is written, and no longer
            writer.write_table(part, row_group_size=rows_of_group)
            empty -= {n for n in empty if part.column(n).null_count < part.num_rows}
            begins, halves = _first_of_groups(job.table, part, rows_of_group)
            continued |= {len(first) + group for group in halves}
            first += begins
            constants.add(part, rows_of_group)
            rows += part.num_rows
        constant = {name: runs for name, runs in constants.runs().items() if name not in empty}
        said = Contents(frozenset(empty), first, frozenset(continued), constant)
        writer.add_key_value_metadata(said.encode())
    data = sink.getvalue()
    folder = "".join(f"{key}={value}/" for key, value in job.partition.items())
    name = Place(job.id, task.number, task.of).name
    path = f"{folder}{name}-{sha256(data).hexdigest()[:16]}.parquet"
    fail_point("compact.writing")
    objects.put(f"{job.table}/{path}", data)
    fail_point("compact.written")
    newest = max(f.modified_ms for f in job.inputs)
    return DataFile(path, len(data), dict(job.partition), rows, newest, only_rows(rows))


def _first_of_groups(table: str, rows: pa.Table, rows_of_group: int) -> tuple[list[Key], list[int]]:
    """Return the position of each row that a row group begins with, if a table is in the order of positions, and the
    row groups before which a row of the same position stands.
    """
    if table in SORTED_BY:
        return [], []
    places = rows.select(["stream", "partition", offset_column(table)])
    starts = list(range(0, rows.num_rows, rows_of_group))

    def keys(numbers: list[int]) -> list[Key]:
        taken = places.take(pa.array(numbers, pa.int64())).to_pydict()
        return list(zip(*taken.values(), strict=True))

    first, before = keys(starts), keys([at - 1 for at in starts[1:]])
    return first, [number for number, key in enumerate(before, 1) if key == first[number]]


class _Reading:
    """Say what reading a file has raised in the words of this house."""

    def __init__(self, table: str, file: DataFile) -> None:
        self._where = f"{table}/{file.path}"

    def __enter__(self) -> None:
        """Begin to read."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Raise `FencedError` for a file that is gone, `IntegrityError` for one that is damaged."""
        if isinstance(error, FileNotFoundError):
            raise FencedError(f"{self._where}: deleted meanwhile") from None
        if isinstance(error, BROKEN) and not isinstance(error, IntegrityError):
            raise IntegrityError(
                f"{self._where} is damaged ({type(error).__name__}); it is not merged; run `lethe verify`, "
                "bring it back from the backup"
            ) from None


class _Input:
    """One file that is merged: its row groups, opened once."""

    def __init__(self, objects: Objects, job: Job, file: DataFile) -> None:
        self.table, self.file = job.table, file
        with _Reading(job.table, file):
            texts = [
                n for n in DICTIONARY[job.table] if pa.types.is_string(file_schema(job.table).field(n).type)
            ]
            self._opened = Opened(objects, f"{job.table}/{file.path}", file.size, dictionaries=texts)
            unknown = set(self._opened.parquet.schema_arrow.names) - set(file_schema(job.table).names)
            if unknown - set(job.partition):
                raise IntegrityError(
                    f"{job.table}/{file.path} has columns this release does not know; use the release that wrote it"
                )
            if self._opened.metadata.num_rows != file.rows:
                raise ValueError("another number of rows than the table says")

    def read(self, schema: pa.Schema, lower: Bound, upper: Bound) -> Iterator[pa.Table]:
        """Yield the rows between two bounds (`upper` excluded), a row group at a time."""
        with _Reading(self.table, self.file):
            for number in range(self._opened.metadata.num_row_groups):
                group = self._opened.metadata.row_group(number)
                if not _meets(self.table, group, lower, upper):
                    continue
                rows = conformed(self._opened.read(number), schema)
                yield rows.filter(_mask(self.table, rows, lower, upper))


def _between(inputs: list[_Input], schema: pa.Schema, lower: Bound, upper: Bound) -> pa.Table:
    parts = [part for one in inputs for part in one.read(schema, lower, upper)]
    return pa.concat_tables([schema.empty_table(), *parts]).unify_dictionaries().combine_chunks()


def _schema(table: str) -> pa.Schema:
    """Return the columns of a table's files, texts that repeat themselves as numbers of a dictionary."""
    wanted = [n for n in DICTIONARY[table] if pa.types.is_string(file_schema(table).field(n).type)]
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([f.with_type(kind) if f.name in wanted else f for f in file_schema(table)])


def _sorted(table: str, rows: pa.Table) -> pa.Table:
    """Return rows in the order of their table. Of equal ones the first stays first."""
    if rows.num_rows < 2:
        return rows
    if order := SORTED_BY.get(table):
        plain = rows.set_column(
            rows.schema.get_field_index("role"), "role", rows.column("role").cast(pa.string())
        )
        return rows.take(by_token(plain, order))
    keys = [rows.column(offset_column(table)).to_numpy(), rows.column("partition").to_numpy(), _ranks(rows)]
    if "index" in rows.column_names:
        keys.insert(0, rows.column("index").fill_null(-1).to_numpy())
    return rows.take(pa.array(np.lexsort(keys)))


def _ranks(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Return the stream of each row as its place among all streams."""
    streams = rows.column("stream").combine_chunks()
    if isinstance(streams, pa.ChunkedArray):
        streams = streams.chunk(0)
    order = np.argsort(np.array(streams.dictionary.to_pylist(), dtype=object))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    found: npt.NDArray[np.int64] = ranks[streams.indices.to_numpy()]
    return found


def _mask(table: str, rows: pa.Table, lower: Bound, upper: Bound) -> Any:
    """Say which rows lie between two bounds."""
    if table == "identifiers":
        tokens = prefixes(rows.column("token").combine_chunks()) if rows.num_rows else np.empty(0, np.uint64)
        inside = np.ones(len(tokens), np.bool_)
        if isinstance(lower, int):
            inside &= tokens >= np.uint64(lower)
        if isinstance(upper, int):
            inside &= tokens < np.uint64(upper)
        return pa.array(inside)
    inside = pa.repeat(True, rows.num_rows)
    if isinstance(lower, tuple):
        inside = pc.invert(_before(table, rows, lower))
    if isinstance(upper, tuple):
        inside = pc.and_(inside, _before(table, rows, upper))
    return inside


def _before(table: str, rows: pa.Table, key: Key) -> Any:
    streams, partitions = rows.column("stream").cast(pa.string()), rows.column("partition")
    earlier = pc.less(rows.column(offset_column(table)), key[2])
    earlier = pc.or_(pc.less(partitions, key[1]), pc.and_(pc.equal(partitions, key[1]), earlier))
    return pc.or_(pc.less(streams, key[0]), pc.and_(pc.equal(streams, key[0]), earlier))


def _meets(table: str, group: pq.RowGroupMetaData, lower: Bound, upper: Bound) -> bool:
    """Tell whether a row group can have rows between two bounds, as far as its footer says."""
    if table == "identifiers":
        ends = ends_of(group, "token")
        if ends is None:
            return True
        first, last = (int.from_bytes(end[:8], "big") for end in ends)
        last = TOKENS - 1 if _nulls(group, "token") else last
        return (upper is None or first < int(upper)) and (lower is None or last >= int(lower))  # type: ignore[arg-type]
    found = [ends_of(group, name) for name in ("stream", "partition", offset_column(table))]
    if not all(found):
        return True
    first_key, last_key = (tuple(f[at] for f in found if f) for at in (0, 1))
    if isinstance(lower, tuple) and isinstance(upper, tuple) and lower[:2] == upper[:2]:
        # Of one partition: a file has rows of many, and each column has ends of its own.
        (_, low, start), (_, high, end) = first_key, last_key
        if not (low <= lower[1] <= high and start < upper[2] and end >= lower[2]):
            return False
    return (upper is None or first_key < upper) and (lower is None or last_key >= lower)  # type: ignore[operator]


def _nulls(group: pq.RowGroupMetaData, name: str) -> bool:
    for at in range(group.num_columns):
        column = group.column(at)
        if column.path_in_schema == name and column.is_stats_set:
            return (
                column.statistics is None
                or not column.statistics.has_null_count
                or bool(column.statistics.null_count)
            )
    return True
