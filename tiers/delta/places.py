"""Parquet files read in places: the footer and the row groups that matter, and nothing else.

On an object store each place is one request; on a local disk the file is mapped into memory.
"""

from __future__ import annotations

import io
import mmap
import os
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from lethe.tiers.store.objects import Objects

_FOOTER: Final = 1 << 16
"""Bytes at the end of a file that are asked for first, and one of every `_SHARE` of its size if that is more."""
_SHARE: Final = 128
_WHOLE: Final = 1 << 20
"""A file of no more bytes is fetched as a whole."""


class Places(io.RawIOBase):
    """A file of an object store as bytes that are fetched in few pieces, each kept once fetched."""

    def __init__(self, objects: Objects, path: str, size: int) -> None:
        super().__init__()
        self._objects, self._path, self._size, self._at = objects, path, size, 0
        self._pieces: list[tuple[int, bytes]] = []
        self.fetch(0 if size <= _WHOLE else size - max(_FOOTER, size // _SHARE), size)

    def fetch(self, start: int, end: int) -> None:
        """Fetch a range in one request; raises `FileNotFoundError` when the file is gone."""
        if self._piece(start, end) is None:
            data = self._objects.get_range(self._path, start, end - start)
            if data is None:
                raise FileNotFoundError(self._path)
            self._pieces.append((start, data))

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that any place of it can be read."""
        return True

    def tell(self) -> int:
        """Return the place that is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read on, from what was fetched if it is there."""
        end = self._size if size < 0 else min(self._size, self._at + size)
        piece = self._piece(self._at, end)
        if piece is None:
            self.fetch(self._at, end)
            piece = self._piece(self._at, end) or b""
        self._at = end
        return piece

    def _piece(self, start: int, end: int) -> bytes | None:
        for at, data in self._pieces:
            if at <= start and end <= at + len(data):
                return data[start - at : end - at]
        return None


class Opened:
    """A Parquet file that is open for reading in places."""

    def __init__(
        self,
        objects: Objects,
        path: str,
        size: int,
        metadata: pq.FileMetaData | None = None,
        dictionaries: list[str] | None = None,
    ) -> None:
        """Open a file of `size` bytes; raises `FileNotFoundError` when it is gone.

        With `metadata` its footer is not read again.
        """
        self._mapped: memoryview | None = None
        self._places: Places | None = None
        self._dictionaries = dictionaries or []
        # Not by `Path`: a look-up opens dozens, and it would take half of the time.
        if os.path.isdir(objects.root):  # noqa: PTH112
            with open(f"{objects.root}/{path}", "rb", buffering=0) as file:  # noqa: PTH123
                self._mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        else:
            self._places = Places(objects, path, size)
        self._known = metadata

    @cached_property
    def metadata(self) -> pq.FileMetaData:
        """The footer as the library has it, read when it is needed."""
        return self._known or self.parquet.metadata

    @cached_property
    def parquet(self) -> pq.ParquetFile:
        """What reads whole columns; made when it is needed, since single values are found without it."""
        source: Any = (
            pa.PythonFile(self._places, "r")
            if self._mapped is None
            else pa.BufferReader(pa.py_buffer(self._mapped))
        )
        return open_parquet(source, self._known, self._dictionaries)

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """Read a row group, on an object store in one request for all of its columns."""
        if self._places is not None:
            described = self.metadata.row_group(group)
            chunks = [described.column(at) for at in range(described.num_columns)]
            start = min(_start(c) for c in chunks)
            self._places.fetch(start, max(_start(c) + c.total_compressed_size for c in chunks))
        return in_utc(self.parquet.read_row_group(group, columns=columns, use_threads=False), self.parquet)

    @property
    def mapped(self) -> memoryview | None:
        """The whole file, where it is mapped into memory."""
        return self._mapped

    def bytes_between(self, start: int, end: int) -> tuple[memoryview, int]:
        """Read some of the file's bytes, and say at which place in it they begin; in one request."""
        if self._mapped is not None:
            return self._mapped, 0
        assert self._places is not None  # noqa: S101
        self._places.seek(start)
        return memoryview(self._places.read(end - start)), start


_NO_ZONE: Final = pa.timestamp("us")


def open_parquet(source: Any, metadata: pq.FileMetaData | None, dictionaries: list[str]) -> pq.ParquetFile:
    """Open a file, some columns of it as dictionaries: those it has, since one of an earlier release lacks some."""
    try:
        return _opened(source, metadata, dictionaries)
    except KeyError:  # to look first which it has would cost as much as to open it
        metadata = metadata or pq.ParquetFile(source).metadata
        there = set(metadata.schema.names)
        return _opened(source, metadata, [name for name in dictionaries if name in there])


def _opened(source: Any, metadata: pq.FileMetaData | None, dictionaries: list[str]) -> pq.ParquetFile:
    return pq.ParquetFile(
        source, metadata=metadata, read_dictionary=dictionaries, coerce_int96_timestamp_unit="us"
    )


def read_parquet(data: bytes) -> pa.Table:
    """Return the rows of a whole file, whoever wrote it."""
    parquet = open_parquet(pa.BufferReader(data), None, [])
    return in_utc(parquet.read(), parquet)


def in_utc(rows: pa.Table, parquet: pq.ParquetFile) -> pa.Table:
    """Give times of a file's rows their zone where they are INT96, as Spark writes them: these have none, and are UTC.

    Other times without a zone stay as they are: nobody knows what they mean.
    """
    if _NO_ZONE not in rows.schema.types:
        return rows
    known = schema_of(parquet)
    for at, field in enumerate(rows.schema):
        if field.type == _NO_ZONE:
            rows = rows.set_column(
                at, known.field(field.name), rows.column(at).cast(known.field(field.name).type)
            )
    return rows


def schema_of(parquet: pq.ParquetFile) -> pa.Schema:
    """Return the columns of a file as `in_utc` gives them."""
    schema: pa.Schema = parquet.schema_arrow
    if _NO_ZONE not in schema.types:
        return schema
    described = parquet.metadata.schema
    spark = {c.path for c in map(described.column, range(len(described))) if c.physical_type == "INT96"}
    return pa.schema(
        [
            f.with_type(pa.timestamp("us", "UTC")) if f.type == _NO_ZONE and f.name in spark else f
            for f in schema
        ]
    )


def _start(column: pq.ColumnChunkMetaData) -> int:
    starts = [column.data_page_offset]
    if column.dictionary_page_offset is not None:
        starts.append(column.dictionary_page_offset)
    return int(min(starts))


def ends_of(group: pq.RowGroupMetaData, name: str) -> tuple[Any, Any] | None:
    """Return the least and the greatest value of a column in a row group, as the footer says; None if it says
    nothing.
    """
    for at in range(group.num_columns):
        column = group.column(at)
        if column.path_in_schema == name:
            said = column.statistics if column.is_stats_set else None
            return (said.min, said.max) if said is not None and said.has_min_max else None
    return None
