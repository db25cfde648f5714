"""What the footers of files say of their columns."""

from __future__ import annotations

import io
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lethe.schemas.arrow import TABLES, file_schema
from lethe.tiers.delta.files import encoding, parquet_bytes


@pytest.mark.parametrize("table", TABLES)
def test_no_text_but_the_stream_is_in_the_statistics(table: str) -> None:
    schema = file_schema(table)
    rows = pa.table([pa.array([_value(f.type)] * 3, f.type) for f in schema], schema=schema)
    group = pq.ParquetFile(io.BytesIO(parquet_bytes(table, rows))).metadata.row_group(0)
    said = {
        group.column(at).path_in_schema: group.column(at).statistics is not None
        for at in range(group.num_columns)
    }
    assert said == {f.name: f.name == "stream" or not pa.types.is_string(f.type) for f in schema}


@pytest.mark.parametrize("table", TABLES)
def test_what_is_random_is_not_compressed(table: str) -> None:
    schema = file_schema(table)
    rows = pa.table([pa.array([_value(f.type)] * 3, f.type) for f in schema], schema=schema)
    group = pq.ParquetFile(io.BytesIO(parquet_bytes(table, rows))).metadata.row_group(0)
    for at in range(group.num_columns):
        column = group.column(at)
        expected = (
            "UNCOMPRESSED" if "BYTE_ARRAY" in column.physical_type and not _is_text(schema, at) else "ZSTD"
        )
        assert column.compression == expected, column.path_in_schema
    assert pq.read_table(io.BytesIO(parquet_bytes(table, rows))).cast(schema).equals(rows)


def test_amounts_take_eight_bytes_and_are_read_as_they_were() -> None:
    """A file of an earlier release, with sixteen bytes a value, gives the same rows."""
    table = "metadata"
    amounts = [field for field in file_schema(table) if pa.types.is_decimal(field.type)]
    values = [Decimal("999999999999.999999"), Decimal("-999999999999.999999"), Decimal("0.000001"), None]
    rows = pa.table([pa.array(values, field.type) for field in amounts], schema=pa.schema(amounts))
    written = io.BytesIO()
    pq.write_table(rows, written, **encoding(table, rows.schema, rows.num_rows))
    earlier = io.BytesIO()
    pq.write_table(
        rows, earlier, **encoding(table, rows.schema, rows.num_rows) | {"store_decimal_as_integer": False}
    )
    kinds = [
        {pq.ParquetFile(file).schema.column(at).physical_type for at in range(len(amounts))}
        for file in (written, earlier)
    ]
    assert kinds == [{"INT64"}, {"FIXED_LEN_BYTE_ARRAY"}]
    assert pq.read_table(written).equals(rows)
    assert pq.read_table(earlier).equals(rows)


def _is_text(schema: pa.Schema, at: int) -> bool:
    return bool(pa.types.is_string(schema.field(at).type))


def _value(kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return b"x" * (kind.byte_width if pa.types.is_fixed_size_binary(kind) else 5)
    return True if pa.types.is_boolean(kind) else 1
