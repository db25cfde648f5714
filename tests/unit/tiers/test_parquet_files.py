"""What the footers of files say of their columns."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lethe.schemas.arrow import TABLES, file_schema
from lethe.tiers.delta.files import parquet_bytes


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
        if not pa.types.is_decimal(schema.field(column.path_in_schema).type):
            assert column.compression == expected, column.path_in_schema
    assert pq.read_table(io.BytesIO(parquet_bytes(table, rows))).cast(schema).equals(rows)


def _is_text(schema: pa.Schema, at: int) -> bool:
    return bool(pa.types.is_string(schema.field(at).type))


def _value(kind: pa.DataType) -> object:
    if pa.types.is_string(kind):
        return "text"
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return b"x" * (kind.byte_width if pa.types.is_fixed_size_binary(kind) else 5)
    return True if pa.types.is_boolean(kind) else 1
