"""Values taken out of a Parquet file's pages one by one, in compiled code: where it is there, of files it can read.

To find a record the library decodes all values of a row group, 16,384 a column, for one of them. What is here unpacks
the pages and goes to the value: a tenth of the time or less. The library remains the reference: whatever is not as this
house writes it, and whatever does not add up, is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from lethe.schemas.arrow import file_schema
from lethe.schemas.compiled import native

_code: Final = native()
_PACKED: Final = {"ZSTD": True, "UNCOMPRESSED": False}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Rows = npt.NDArray[np.int64]
"""Numbers of rows in a row group, ascending."""
_Chunk = tuple[int, int, bool, int, int]
"""Where a column chunk begins and ends, whether it is packed, and what its values are, as compiled code has them."""


class OtherwiseError(Exception):
    """The file has to be read in another way."""


class Chunks:
    """The column chunks of a file, as far as values can be taken out of them one by one."""

    def __init__(self, metadata: pq.FileMetaData, table: str, columns: dict[str, int]) -> None:
        self._metadata, self._columns = metadata, columns
        self._forms = _forms(table, metadata)
        self._known: dict[tuple[int, str], _Chunk | None] = {}

    def chunk(self, group: int, name: str) -> _Chunk:
        """Describe a column chunk; raises `OtherwiseError` for one that is not taken apart here."""
        key = group, name
        if key not in self._known:
            self._known[key] = self._chunk(group, name)
        if (found := self._known[key]) is None:
            raise OtherwiseError
        return found

    def _chunk(self, group: int, name: str) -> _Chunk | None:
        if name not in self._forms:
            return None
        said = self._metadata.row_group(group).column(self._columns[name])
        if said.compression not in _PACKED:
            return None
        start = said.data_page_offset
        if said.dictionary_page_offset:  # some writers say 0 where there is none
            start = min(start, said.dictionary_page_offset)
        form, width = self._forms[name]
        return start, start + said.total_compressed_size, _PACKED[said.compression], form, width

    def rows(self, group: int) -> int:
        """Say how many rows a row group has."""
        return int(self._metadata.row_group(group).num_rows)


class Picker:
    """A file that is mapped into memory, and what takes values out of it."""

    def __init__(self, data: memoryview, chunks: Chunks, table: str) -> None:
        self._data, self._chunks, self._table = data, chunks, table
        # One for each file that is read, since threads share none.
        self._unpack = zstandard.ZstdDecompressor().decompress

    def where(self, group: int, name: str, wanted: Rows) -> tuple[Rows, Rows]:
        """Find the rows of a group whose integers are among some, given in ascending order: their numbers, and the
        integers. Raises `OtherwiseError`.
        """
        chunk = self._chunks.chunk(group, name)
        rows, values = self._asked(_code.where, chunk, self._chunks.rows(group), wanted)
        return np.frombuffer(rows, np.int64), np.frombuffer(values, np.int64)

    def carrying(self, group: int, name: str, wanted: Sequence[bytes], ordered: bool) -> Rows:
        """Find the rows of a group whose bytes are among some, given in ascending order; `ordered`: the rows are, too.

        Raises `OtherwiseError`.
        """
        chunk = self._chunks.chunk(group, name)
        rows = self._asked(_code.carrying, chunk, self._chunks.rows(group), b"".join(wanted), ordered)
        return np.frombuffer(rows, np.int64)

    def pick(self, group: int, names: Sequence[str], rows: Rows) -> dict[str, list[Any]]:
        """Return the values of columns at some rows of a group, as a reader of the table has them.

        Raises `OtherwiseError`.
        """
        chunks = [self._chunks.chunk(group, name) for name in names]
        found = dict(zip(names, self._asked(_code.pick, chunks, rows), strict=True))
        readers = _readers(self._table)
        try:
            for name in readers.keys() & found.keys():
                found[name] = [None if one is None else readers[name](one) for one in found[name]]
        except (ValueError, ArithmeticError):  # no time that there is
            raise OtherwiseError from None
        return found

    def _asked(self, code: Callable[..., Any], *given: Any) -> Any:
        """Call compiled code; raises `OtherwiseError` for what it does not take."""
        try:
            return code(self._data, *given, self._inflate)
        except (ValueError, MemoryError, zstandard.ZstdError):
            raise OtherwiseError from None

    def _inflate(self, packed: bytes, size: int) -> bytes:
        # A frame says how large it is: what a damaged one says is not taken from the memory.
        if zstandard.frame_content_size(packed) != size:
            raise OtherwiseError
        return self._unpack(packed)


def picker_of(data: memoryview | None, chunks: Callable[[], Chunks], table: str) -> Picker | None:
    """Return what takes values out of a file that is in memory as a whole; None without compiled code."""
    return None if data is None or _code is None else Picker(data, chunks(), table)


def _forms(table: str, metadata: pq.FileMetaData) -> dict[str, tuple[int, int]]:
    """Return what the values of a file's columns are in its pages: of those that are of the type the table has."""
    described = metadata.schema
    of_file = described.to_arrow_schema()
    physical = {c.path: c.physical_type for c in map(described.column, range(len(described)))}
    found = {}
    for field in file_schema(table):
        at = of_file.get_field_index(field.name)
        form = (
            _form(field.type, physical.get(field.name))
            if at >= 0 and of_file.field(at).type == field.type
            else None
        )
        if form is not None:
            found[field.name] = form
    return found


def _form(kind: pa.DataType, physical: str | None) -> tuple[int, int] | None:
    widths = {"INT32": 4, "INT64": 8}
    if pa.types.is_string(kind):
        return (_code.TEXT, -1)
    if pa.types.is_boolean(kind):
        return (_code.BITS, 0)
    if pa.types.is_fixed_size_binary(kind):
        return (_code.BYTES, kind.byte_width)
    if pa.types.is_binary(kind):
        return (_code.BYTES, -1)
    plain = kind in (pa.int32(), pa.int64()) or pa.types.is_decimal(kind) or kind == _TIME
    return (_code.NUMBER, widths[physical]) if plain and physical in widths else None


_TIME: Final = pa.timestamp("us", "UTC")


@cache
def _readers(table: str) -> dict[str, Callable[[Any], Any]]:
    """Return what makes values of numbers, for columns that need it."""
    return {f.name: read for f in file_schema(table) if (read := _reader(f.type)) is not None}


def _reader(kind: pa.DataType) -> Callable[[Any], Any] | None:
    if pa.types.is_decimal(kind):
        scale = -kind.scale
        return lambda number: Decimal(number).scaleb(scale)
    if kind == _TIME:
        return lambda number: _EPOCH + timedelta(microseconds=number)
    return None
