"""The canonical form of an archive row, the bytes that are hashed. Specified in docs/integrity.md, section 2.

    row    = version (0x01) ‖ column* ‖ end (0x00)
    column = id (1 byte, ascending) ‖ value

A null column is left out, so a nullable column added later changes no old row. An id never changes its column
or its type and is never used again. Numbers are little-endian, as Arrow holds them: no byte is swapped to
hash a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.rows import compiled
from lethe.schemas.arrow import METADATA
from lethe.schemas.errors import LetheError

VERSION = b"\x01"
END = b"\x00"
CHUNK_ROWS = 32_768
"""Rows encoded at a time: the work stays in the processor's cache, far below Arrow's limit of 2 GiB."""

LONG = 255  # a length of 255 and more is this byte, then 4 bytes


class Kind(Enum):
    """How a value is written: the Arrow type whose buffer holds these bytes, and how many they are."""

    INT32 = (pa.int32(), 4)  # two's complement
    INT64 = (pa.int64(), 8)  # two's complement
    TIMESTAMP = (pa.timestamp("us", tz="UTC"), 8)  # two's complement: microseconds since 1970-01-01T00:00:00Z
    DECIMAL = (pa.decimal64(18, 6), 8)  # two's complement: millionths
    BOOLEAN = (pa.uint8(), 1)  # 0 or 1
    STRING = (pa.string(), 0)  # length, UTF-8
    HASH = (pa.binary(32), 32)  # as it is


COLUMNS = {
    "stream": (1, Kind.STRING),
    "partition": (2, Kind.INT32),
    "offset": (3, Kind.INT64),
    "index": (4, Kind.INT32),
    "event_time": (5, Kind.TIMESTAMP),
    "done_time": (6, Kind.TIMESTAMP),
    "channel": (7, Kind.STRING),
    "direction": (8, Kind.STRING),
    "account": (9, Kind.STRING),
    "application": (10, Kind.STRING),
    "sender": (11, Kind.STRING),
    "recipient": (12, Kind.STRING),
    "source_kind": (13, Kind.STRING),
    "destination_kind": (14, Kind.STRING),
    "country": (15, Kind.STRING),
    "mcc": (16, Kind.STRING),
    "mnc": (17, Kind.STRING),
    "network": (18, Kind.STRING),
    "route": (19, Kind.STRING),
    "parts": (20, Kind.INT32),
    "duration_ms": (21, Kind.INT64),
    "status_group": (22, Kind.STRING),
    "status": (23, Kind.STRING),
    "error": (24, Kind.STRING),
    "permanent_error": (25, Kind.BOOLEAN),
    "price": (26, Kind.DECIMAL),
    "currency": (27, Kind.STRING),
    "price_unit": (28, Kind.STRING),
    "redacted": (29, Kind.STRING),
    "integrity_hash": (30, Kind.HASH),
    "original_form": (31, Kind.STRING),
    "format": (32, Kind.STRING),
    "format_version": (33, Kind.INT32),
    "charge": (34, Kind.DECIMAL),
    "charge_basis": (35, Kind.STRING),
    "charged_duration_ms": (36, Kind.INT64),
    "late": (37, Kind.BOOLEAN),
    "ingested_at": (38, Kind.TIMESTAMP),
    "countries": (39, Kind.STRING),
    "retention_rule": (40, Kind.STRING),
}
"""Id and kind of every column of the archive but `month`, which follows from `event_time`."""

REQUIRED = tuple(
    name for name in COLUMNS if not METADATA.field(name).nullable or name in ("index", "integrity_hash")
)
"""The columns that every file of the archive must have."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Canonical rows one after the other: row `i` is `data[bounds[i]:bounds[i + 1]]`."""

    data: bytes
    bounds: Sequence[int]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index: int) -> bytes:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.data[self.bounds[index] : self.bounds[index + 1]]

    def leaf_hashes(self) -> list[bytes]:
        """SHA-256(0x00 ‖ row) of every row, in order."""
        return self.hashes(0, len(self), 1)

    def hashes(self, first: int, end: int, group: int) -> list[bytes]:
        """SHA-256(0x00 ‖ row ‖ row ‖ …) of every `group` rows from `first` on, the last of those left before `end`."""
        return compiled.split(self.joined_hashes(first, end, group))

    def joined_hashes(self, first: int, end: int, group: int) -> bytes:
        """Return the same hashes (32 bytes each), one after the other."""
        found = compiled.hashes(0, self.data, self.bounds[first : end + 1], group)
        if found is not None:
            return found
        # Copying a state that has seen the prefix costs no more than a new one and saves a copy of the row.
        prefixed = sha256(b"\x00").copy
        data = memoryview(self.data)
        hashes: list[bytes] = []
        append = hashes.append
        start = self.bounds[first]
        for row in range(first, end, group):
            stop = self.bounds[min(row + group, end)]
            state = prefixed()
            state.update(data[start:stop])
            append(state.digest())
            start = stop
        return b"".join(hashes)


def encode_chunks(table: pa.Table) -> Iterator[EncodedRows]:
    """Encode a table of any length, `CHUNK_ROWS` rows at a time; see `encode`."""
    for start in range(0, table.num_rows, CHUNK_ROWS):
        yield encode(table.slice(start, CHUNK_ROWS))


def encode(table: pa.Table) -> EncodedRows:
    """Return the canonical form of every row of `table`, in its order.

    `table` has columns of `lethe.schemas.arrow.METADATA` (dictionary-encoded or not); `month` is left aside, a
    column that is absent counts as null. Raises `LetheError` for a column without an id, a position that is
    null and a value that does not fit its column's type.
    """
    if not table.num_rows:
        return EncodedRows(b"", [0])
    check_schema(table.schema)
    # Asked once: the table makes a new list each time, and to ask for every column cost as much as 2,000 rows.
    there = {name: at for at, name in enumerate(table.column_names)}
    columns = [
        column
        for name in COLUMNS
        if name in there
        for column in _column(name, table.column(there[name]), table.num_rows)
    ]
    made = compiled.forms(columns, table.num_rows)
    return EncodedRows(*made) if made else _general(columns, table.num_rows)


def _general(columns: Iterable[compiled.Column], rows: int) -> EncodedRows:
    """Make the forms without compiled code: what it is held against."""
    pieces = _Pieces(rows)
    pieces.constant(VERSION)
    for number, width, values in columns:
        if width:
            pieces.fixed(bytes([number]), values, width)
        else:
            pieces.strings(bytes([number]), values)
    pieces.constant(END)
    return pieces.join()


def _column(name: str, values: pa.ChunkedArray, rows: int) -> Iterator[compiled.Column]:
    """Yield id, width and values of a column that is not null in all rows, in the type its bytes are those of."""
    nulls = values.null_count
    if nulls and not METADATA.field(name).nullable:
        raise LetheError(f"the archive column {name} may not be null")
    if nulls == rows:
        return
    number, kind = COLUMNS[name]
    arrow_type, width = kind.value
    whole = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    if kind is Kind.STRING:
        if whole.type != arrow_type and (
            not pa.types.is_dictionary(whole.type) or whole.dictionary.null_count
        ):
            whole = whole.cast(arrow_type)
        yield number, width, whole
        return
    try:
        yield number, width, whole if whole.type == arrow_type else whole.cast(arrow_type)
    except pa.ArrowInvalid:
        raise LetheError(f"a value of the archive column {name} does not fit {arrow_type}") from None


_TYPES = {field.name: field.type for field in METADATA}
_TEXT = pa.string()
_PASSED: list[pa.Schema] = []
"""The schema that was found right last: files of one release have the same, and to look costs as much as 200 rows."""


def check_schema(schema: pa.Schema) -> None:
    """Demand that every column is one of the archive, there once and of a type that holds its values.

    Raises `LetheError` otherwise. Whoever has rewritten a file may have chosen a wider type, `conform` gives its values
    theirs. A column may be absent if it may be null; `index` and `integrity_hash` must be there, because the position
    and the scope of every row depend on them.
    """
    if any(schema.equals(passed) for passed in _PASSED):
        return
    for field in schema:
        if field.name not in COLUMNS and field.name != "month":
            raise LetheError(f"no canonical form is defined for the archive column {field.name}")
        wanted = METADATA.field(field.name).type
        if not _holds(wanted, field.type):
            raise LetheError(f"the archive column {field.name} is {wanted}, not {field.type}")
    for name in REQUIRED:
        if name not in schema.names:
            raise LetheError(f"rows without {name} have no position or no canonical form")
    if len(set(schema.names)) < len(schema.names):
        raise LetheError("a column of the archive is there twice")
    _PASSED[:] = [schema]


class _Pieces:
    """What the rows are made of, column by column: a byte string for all rows, or an array of one each.

    A null in an array contributes nothing to its row.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.parts: list[bytes | pa.Array] = []
        # Neighbouring string columns are gathered as one, as long as few combinations of their values exist:
        # the words, and for each row which one (None: there is but one).
        self.words = [b""]
        self.codes: pa.Array | None = None
        self.most_words = min(1024, rows // 16)

    def constant(self, data: bytes) -> None:
        self._gather([data], None)

    def fixed(self, tag: bytes, array: pa.Array, width: int) -> None:
        """Values whose Arrow buffer already holds their canonical bytes."""
        validity, data = array.buffers()
        if array.null_count:
            tags = pa.py_buffer(tag * (array.offset + len(array)))
            self._array(_as_binary(len(array), validity, tags, len(tag), array.offset))
        else:
            self.constant(tag)
        self._array(_as_binary(len(array), validity, data, width, array.offset))

    def strings(self, tag: bytes, coded: pa.Array) -> None:
        """Values of which few are different: each different one is written once."""
        if not pa.types.is_dictionary(coded.type):
            coded = coded.dictionary_encode()
        texts = coded.dictionary.cast(pa.string()).cast(pa.binary()).to_pylist()
        words = [tag + length(len(text)) + text for text in texts]
        codes = coded.indices.cast(pa.int32())
        if coded.null_count:
            codes = codes.fill_null(len(words))
            words.append(b"")
        self._gather(words, None if len(words) == 1 else codes)

    def _gather(self, words: list[bytes], codes: pa.Array | None) -> None:
        if self.codes is not None and codes is not None and len(self.words) * len(words) > self.most_words:
            self._flush()
        if self.codes is not None and codes is not None:
            codes = pc.add(pc.multiply(self.codes, pa.scalar(len(words), pa.int32())), codes)
        self.codes = self.codes if codes is None else codes
        self.words = [before + word for before in self.words for word in words]

    def _array(self, values: pa.Array) -> None:
        self._flush()
        self.parts.append(values)

    def _flush(self) -> None:
        if self.codes is not None:
            self.parts.append(pa.array(self.words, pa.binary()).take(self.codes))
        elif self.words != [b""]:
            self.parts.append(self.words[0])
        self.words, self.codes = [b""], None

    def join(self) -> EncodedRows:
        """Return all parts of every row, in order."""
        self._flush()
        parts = [pa.scalar(part, pa.binary()) if isinstance(part, bytes) else part for part in self.parts]
        joined = pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()), null_handling="skip")
        _, bounds, data = joined.buffers()
        return EncodedRows(data.to_pybytes(), memoryview(bounds).cast("i")[: self.rows + 1])


def conform(table: pa.Table) -> pa.Table:
    """Give every column of a table that `check_schema` lets through its own type; strings stay as they are.

    Raises `LetheError` where a value would change.
    """
    for at, field in enumerate(table.schema):
        wanted = _TYPES[field.name]
        if field.type == wanted or wanted == _TEXT:
            continue
        try:
            column = table.column(at).cast(wanted)
        except pa.ArrowException:
            raise LetheError(f"a value of the archive column {field.name} does not fit {wanted}") from None
        table = table.set_column(at, METADATA.field(field.name).with_nullable(True), column)
    return table


_FAMILIES = (
    (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    (pa.types.is_fixed_size_binary, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
    (pa.types.is_integer,),
    (pa.types.is_decimal,),
    (pa.types.is_boolean,),
)
"""Types whose values are of one kind, whatever their width."""


def _holds(wanted: pa.DataType, given: pa.DataType) -> bool:
    """Say whether values of the type `given` can be those of `wanted`."""
    given = given.value_type if pa.types.is_dictionary(given) else given
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_timestamp(given) and given.tz is not None)
    return any(
        any(kind(wanted) for kind in family) and any(kind(given) for kind in family) for family in _FAMILIES
    )


def _as_binary(rows: int, validity: pa.Buffer | None, data: pa.Buffer, width: int, offset: int) -> pa.Array:
    fixed = pa.Array.from_buffers(pa.binary(width), rows, [validity, data], offset=offset)
    return fixed.cast(pa.binary())


def length(size: int) -> bytes:
    """Say how the length of a string is written: one byte, or 0xFF and four."""
    return bytes([size]) if size < LONG else bytes([LONG]) + size.to_bytes(4, "little")
