"""Values taken out of a Parquet file's pages one by one, in compiled code: where it is there, of files it can read.

To find a record the library decodes all values of a row group, 16,384 a column, for one of them. What is here unpacks
the pages and goes to the value: a tenth of the time or less. The library remains the reference: whatever is not as this
house writes it, and whatever does not add up, is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from lethe.schemas.arrow import file_schema
from lethe.schemas.compiled import native
from lethe.tiers.window._row_groups import RowGroups

_code: Final = native()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Rows = npt.NDArray[np.int64]
"""Numbers of rows in a row group, ascending."""
Chunks = dict[str, tuple[int, int, int]]
"""The columns of a file that values can be taken out of one by one: their number in it, and what their values are, as
compiled code has it.
"""


Column = tuple[str, Callable[[Any], Any] | None, tuple[int, int, int]]
"""A column by name, what makes its values of numbers if that is needed, and where it is."""


class OtherwiseError(Exception):
    """The file has to be read in another way."""


class Picker:
    """A file that is mapped into memory, and what takes values out of it."""

    def __init__(self, data: memoryview, said: RowGroups, chunks: Callable[[], Chunks], table: str) -> None:
        self._data, self._said, self._told, self._table = data, said, chunks, table

    @cached_property
    def _chunks(self) -> Chunks:
        return self._told()  # of most files that a look-up opens no row group is read

    @cached_property
    def _described(self) -> dict[str, Column]:
        reader = _readers(self._table).get
        return {name: (name, reader(name), chunk) for name, chunk in self._chunks.items()}

    def where(self, group: int, name: str, wanted: Rows) -> tuple[Rows, Rows]:
        """Find the rows of a group whose integers are among some, given in ascending order: their numbers, and the
        integers. Raises `OtherwiseError`.
        """
        rows, values = self._asked(_code.where, group, self._chunk(name), self._said.rows(group), wanted)
        return np.frombuffer(rows, np.int64), np.frombuffer(values, np.int64)

    def carrying(self, group: int, name: str, wanted: Sequence[bytes], ordered: bool) -> Rows:
        """Find the rows of a group whose bytes are among some, given in ascending order; `ordered`: the rows are, too.

        Raises `OtherwiseError`.
        """
        asked = b"".join(wanted), ordered
        rows = self._asked(_code.carrying, group, self._chunk(name), self._said.rows(group), *asked)
        return np.frombuffer(rows, np.int64)

    def pick(self, group: int, names: Sequence[str], rows: Rows) -> dict[str, list[Any]]:
        """Return the values of columns at some rows of a group, as a reader of the table has them.

        Raises `OtherwiseError`.
        """
        made = self.records(group, self.columns(names), rows, {})
        return {name: [row[name] for row in made] for name in names}

    def columns(self, names: Sequence[str]) -> list[Column]:
        """Describe columns for `records`; raises `OtherwiseError` if one is not taken apart here."""
        try:
            return [self._described[name] for name in names]
        except KeyError:
            raise OtherwiseError from None

    def records(
        self, group: int, columns: list[Column], rows: Rows, template: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return some rows of a group as dicts: copies of `template` with the values of columns put in.

        Raises `OtherwiseError`.
        """
        found: list[dict[str, Any]] = self._asked(_code.records, group, columns, rows, template)
        return found

    def _chunk(self, name: str) -> tuple[int, int, int]:
        if name not in self._chunks:
            raise OtherwiseError
        return self._chunks[name]

    def _asked(self, code: Callable[..., Any], group: int, *given: Any) -> Any:
        """Call compiled code; raises `OtherwiseError` for what it does not take."""
        try:
            return code(self._data, self._said.places(group), *given, self._inflate)
        except (ValueError, ArithmeticError, MemoryError, zstandard.ZstdError):  # or no time that there is
            raise OtherwiseError from None

    @cached_property
    def _inflate(self) -> Callable[[bytes, int], bytes]:
        """What unpacks: one for each file that is read, since threads share none."""
        return zstandard.ZstdDecompressor().decompress


def picker_of(
    data: memoryview | None, said: RowGroups, chunks: Callable[[], Chunks], table: str
) -> Picker | None:
    """Return what takes values out of a file that is in memory as a whole; None without compiled code."""
    return None if data is None or _code is None else Picker(data, said, chunks, table)


def chunks_of(table: str, metadata: pq.FileMetaData) -> Chunks:
    """Say which columns of a file can be read here: those that are of the type the table has."""
    described = metadata.schema
    of_file = described.to_arrow_schema()
    numbered = {
        column.path: (at, column.physical_type)
        for at, column in enumerate(map(described.column, range(len(described))))
    }
    found = {}
    for field in file_schema(table):
        at = of_file.get_field_index(field.name)
        if at < 0 or of_file.field(at).type != field.type or field.name not in numbered:
            continue
        column, physical = numbered[field.name]
        if (form := _form(field.type, physical)) is not None:
            found[field.name] = (column, *form)
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
