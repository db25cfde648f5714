"""What a Parquet footer says of its row groups: how many rows, where the chunks and Bloom filters are, their ends.

The library makes objects of all that is said, a quarter of a second's worth for a year of merged months, for which
whoever starts a process waits. Compiled code notes the few numbers that a look-up wants, in an eighth of the time.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from lethe.schemas.compiled import native
from lethe.tiers.delta.places import Opened

Ends = tuple[Any, Any]
_MAGIC: Final = b"PAR1"
_LENGTH: Final = struct.Struct("<I")
_NO_GROUPS: Final = b"\x0c"
"""A list of objects without any, as Thrift's compact protocol has it."""
_CODECS: Final = {"UNCOMPRESSED": 0, "ZSTD": 6}
_WRITER: Final = "parquet-cpp-arrow"
"""The ends that others have written may be in another order; the library knows of whom they are."""
_READ: Final[dict[str, Callable[[bytes], Any]]] = {
    "INT32": lambda data: int.from_bytes(data, "little", signed=True),
    "INT64": lambda data: int.from_bytes(data, "little", signed=True),
    "FIXED_LEN_BYTE_ARRAY": bytes,
    "BYTE_ARRAY": bytes.decode,
}
"""What makes values of their bytes: texts, bytes and integers, as what is found by its ends is one of them."""
_BLOOM, _LEAST = 3, 5  # as `native/footer.h` has them


class RowGroups(Protocol):
    """What a footer says; columns are numbered as the file has them."""

    described: pq.FileMetaData
    """The file's columns and notes; of its row groups nothing may be here."""
    count: int

    def rows(self, group: int) -> int:
        """Say how many rows a row group has."""

    def places(self, group: int) -> memoryview:
        """Return where the column chunks of a row group are, for compiled code: see `native/footer.h`."""

    def bloom(self, group: int, column: int) -> tuple[int, int] | None:
        """Say where the Bloom filter of a column is and how long it is; None where it has none."""

    def ends(self, group: int, column: int) -> Ends | None:
        """Return the least and the greatest value, of texts, bytes and integers; None where nothing is said."""


class ByLibrary:
    """What the library says."""

    def __init__(self, metadata: pq.FileMetaData) -> None:
        self.described, self.count = metadata, metadata.num_row_groups
        self._places: dict[int, memoryview] = {}

    def rows(self, group: int) -> int:
        """See `RowGroups`."""
        return int(self.described.row_group(group).num_rows)

    def places(self, group: int) -> memoryview:
        """See `RowGroups`."""
        if group not in self._places:
            said = self.described.row_group(group)
            numbers = [n for at in range(said.num_columns) for n in self._place(said.column(at))]
            self._places[group] = memoryview(array("q", numbers))
        return self._places[group]

    @staticmethod
    def _place(said: pq.ColumnChunkMetaData) -> list[int]:
        start = said.data_page_offset
        if said.dictionary_page_offset:  # some writers say 0 where there is none
            start = min(start, said.dictionary_page_offset)
        codec = _CODECS.get(said.compression, -1)
        return [start, start + said.total_compressed_size, codec, *[-1] * (_code.FIELDS - _BLOOM)]

    def bloom(self, group: int, column: int) -> tuple[int, int] | None:
        """See `RowGroups`."""
        said = self.described.row_group(group).column(column)
        place = said.bloom_filter_offset, said.bloom_filter_length
        return place if all(place) else None

    def ends(self, group: int, column: int) -> Ends | None:
        """See `RowGroups`."""
        chunk = self.described.row_group(group).column(column)
        said = chunk.statistics if chunk.is_stats_set else None
        return (said.min, said.max) if said is not None and said.has_min_max else None


class Compiled:
    """What compiled code has noted of a footer."""

    def __init__(self, footer: bytes) -> None:
        """Read it; raises `ValueError` for one that has to be read by the library."""
        start, end, self._columns, rows, chunks = _code.footer(footer)
        self._footer, self._rows, self._chunks = (
            footer,
            memoryview(rows).cast("q"),
            memoryview(chunks).cast("q"),
        )
        self.count = len(self._rows)
        rest = footer[:start] + _NO_GROUPS + footer[end:]
        whole = pa.py_buffer(_MAGIC + rest + _LENGTH.pack(len(rest)) + _MAGIC)
        self.described: pq.FileMetaData = pq.read_metadata(pa.BufferReader(whole))
        named = self.described.num_columns == self._columns or not self.count
        if self.described.num_row_groups or not named or not self.described.created_by.startswith(_WRITER):
            raise ValueError("a footer that is read in another way")
        self._kinds = [
            self.described.schema.column(at).physical_type for at in range(self.described.num_columns)
        ]

    def rows(self, group: int) -> int:
        """See `RowGroups`."""
        return self._rows[group]

    def places(self, group: int) -> memoryview:
        """See `RowGroups`."""
        size = self._columns * _code.FIELDS
        return self._chunks[group * size : group * size + size]

    def bloom(self, group: int, column: int) -> tuple[int, int] | None:
        """See `RowGroups`."""
        at = (group * self._columns + column) * _code.FIELDS
        start, size = self._chunks[at + _BLOOM : at + _LEAST]
        return (start, size) if start > 0 and size > 0 else None

    def ends(self, group: int, column: int) -> Ends | None:
        """See `RowGroups`."""
        at = (group * self._columns + column) * _code.FIELDS
        low, low_size, high, high_size = self._chunks[at + _LEAST : at + _code.FIELDS]
        if low < 0 or high < 0:
            return None
        least, greatest = self._footer[low : low + low_size], self._footer[high : high + high_size]
        kind = self._kinds[column]
        try:
            return (_READ[kind](least), _READ[kind](greatest)) if kind in _READ else None
        except UnicodeDecodeError:
            return None


_code: Final = native()


def row_groups(opened: Opened) -> RowGroups:
    """Read the footer of an open file: by compiled code, if that is there and the file is in memory."""
    if _code is not None and (footer := _footer_of(opened.mapped)) is not None:
        try:
            return Compiled(footer)
        except (ValueError, OSError, pa.ArrowException):
            pass  # the library says what is wrong with it, if it is not only another writer's
    return ByLibrary(opened.metadata)


def _footer_of(file: memoryview | None) -> bytes | None:
    if file is None or len(file) < 12 or bytes(file[-4:]) != _MAGIC:
        return None
    size = _LENGTH.unpack(file[-8:-4])[0]
    return bytes(file[-8 - size : -8]) if size <= len(file) - 12 else None
