"""The canonical form of a row covers all of it, never changes, and says what the specification says."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from integrity_samples import Row, row, rows, table

from lethe.integrity.evidence import verify_evidence
from lethe.integrity.evidence.build import row_to_json
from lethe.integrity.rows.canonical_rows import COLUMNS, Kind, encode, encode_chunks
from lethe.schemas.arrow import METADATA
from lethe.schemas.errors import LetheError

PINNED = {
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.DECIMAL: pa.decimal128(18, 6),
    Kind.BOOLEAN: pa.bool_(),
    Kind.STRING: pa.string(),
    Kind.HASH: pa.binary(32),
}


def form(value: Row) -> bytes:
    return encode(table([value]))[0]


def test_every_column_of_the_archive_has_an_id_and_the_kind_of_its_type() -> None:
    assert {field.name for field in METADATA} - {"month"} == COLUMNS.keys()
    for name, (_, kind) in COLUMNS.items():
        assert METADATA.field(name).type == PINNED[kind], name
    ids = [number for number, _ in COLUMNS.values()]
    assert ids == sorted(set(ids))
    assert min(ids) > 0
    assert max(ids) < 256


def test_ids_and_kinds_of_released_columns_never_change() -> None:
    # The ids of version 1. A new column is added below, nothing above is ever edited.
    released = (
        "stream partition offset index event_time done_time channel direction account application sender "
        "recipient source_kind destination_kind country mcc mnc network route parts duration_ms status_group "
        "status error permanent_error price currency price_unit redacted integrity_hash original_form "
        "format format_version"
    )
    assert [(name, number) for name, (number, _) in COLUMNS.items()][:33] == [
        (name, number + 1) for number, name in enumerate(released.split())
    ]


def test_the_stand_alone_verifier_has_the_same_columns() -> None:
    kinds = {name: (number, kind.name.lower()) for name, (number, kind) in COLUMNS.items()}
    assert kinds == verify_evidence.COLUMNS


def test_the_bytes_of_a_row_are_those_of_the_specification() -> None:
    value: dict[str, Any] = dict.fromkeys(METADATA.names) | {
        "stream": "s",
        "partition": 7,
        "offset": 2**40,
        "index": -1,
        "event_time": datetime(2026, 1, 1, tzinfo=UTC),
        "channel": "é",
        "direction": "",
        "permanent_error": True,
        "price": Decimal("-0.000001"),
        "integrity_hash": bytes(range(32)),
        "format": "f",
        "format_version": 2,
        "month": "2026-01",
    }
    assert form(value) == b"".join(
        (
            b"\x01",
            b"\x01\x01s",
            b"\x02" + struct.pack("<i", 7),
            b"\x03" + struct.pack("<q", 2**40),
            b"\x04" + struct.pack("<i", -1),
            b"\x05" + struct.pack("<q", 1_767_225_600_000_000),
            b"\x07\x02\xc3\xa9",
            b"\x08\x00",
            b"\x19\x01",
            b"\x1a" + struct.pack("<q", -1),
            b"\x1e" + bytes(range(32)),
            b"\x20\x01f",
            b"\x21" + struct.pack("<i", 2),
            b"\x00",
        )
    )


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 70_000])
def test_long_strings_carry_a_long_length(size: int) -> None:
    head = bytes([size]) if size < 255 else b"\xff" + struct.pack("<I", size)
    assert b"\x17" + head + b"x" * size + b"\x18" in form(row(1, status="x" * size, error="e"))


def test_any_change_of_any_column_changes_the_form() -> None:
    seen = {form(row(1))}
    changes: dict[Kind, Any] = {
        Kind.INT32: 99,
        Kind.INT64: 99,
        Kind.TIMESTAMP: datetime(2026, 1, 1, tzinfo=UTC),
        Kind.DECIMAL: Decimal(9),
        Kind.BOOLEAN: True,
        Kind.STRING: "other",
        Kind.HASH: bytes(32),
    }
    for column, (_, kind) in COLUMNS.items():
        seen.add(form(row(1) | {column: changes[kind]}))
        if METADATA.field(column).nullable and row(1)[column] is not None:
            seen.add(form(row(1) | {column: None}))
    nullable = sum(METADATA.field(c).nullable and row(1)[c] is not None for c in COLUMNS)
    assert len(seen) == 1 + len(COLUMNS) + nullable


def test_a_nullable_column_that_is_added_later_changes_no_old_row() -> None:
    old = table(rows(3)).drop_columns(["redacted", "application"])
    assert encode(old).data == encode(table(rows(3))).data


def test_the_layout_of_the_table_does_not_matter() -> None:
    plain = table(rows(40))
    expected = encode(plain)
    coded = pa.table(
        [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in plain.columns],
        names=plain.column_names,
    )
    large = plain.set_column(
        plain.column_names.index("account"), "account", plain["account"].cast(pa.large_string())
    )
    shuffled = plain.select(sorted(plain.column_names))
    chunked = pa.concat_tables([plain.slice(0, 7), plain.slice(7)])
    for other in (coded, large, shuffled, chunked, plain.drop_columns(["month"])):
        assert encode(other).data == expected.data
        assert list(encode(other).bounds) == list(expected.bounds)


def test_a_slice_is_encoded_as_the_rows_it_shows() -> None:
    part = encode(table(rows(20)).slice(5, 3))
    assert [part[n] for n in range(3)] == [form(row(offset)) for offset in (5, 6, 7)]
    with pytest.raises(IndexError):
        part[3]


def test_chunks_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lethe.integrity.rows.canonical_rows.CHUNK_ROWS", 7)
    whole = encode(table(rows(20)))
    assert b"".join(chunk.data for chunk in encode_chunks(table(rows(20)))) == whole.data
    assert [
        leaf for chunk in encode_chunks(table(rows(20))) for leaf in chunk.leaf_hashes()
    ] == whole.leaf_hashes()


def test_many_different_values_take_the_same_form_as_few() -> None:
    values = [row(n, account=f"account-{n}", sender=f"s{n % 7}", network=f"n{n}") for n in range(300)]
    assert [encode(table(values))[n] for n in range(300)] == [form(value) for value in values]


def test_a_dictionary_with_nulls_of_its_own_is_read_right() -> None:
    odd = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array(["acme", None]))
    plain = table([row(n, account=a) for n, a in enumerate(["acme", None, "acme"])])
    coded = plain.set_column(plain.column_names.index("account"), "account", odd)
    assert encode(coded).data == encode(plain).data


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("surprise", pa.array([1])),
        ("offset", pa.array([None], pa.int64())),
        ("channel", pa.array([None], pa.string())),
        ("offset", pa.array(["1"])),
        ("status", pa.array([b"x"])),
        ("event_time", pa.array([0], pa.timestamp("us"))),
        ("price", pa.array([1.5])),
    ],
)
def test_what_has_no_canonical_form_is_refused(column: str, values: pa.Array) -> None:
    sound = table([row(1)])
    if column in sound.column_names:
        broken = sound.set_column(sound.column_names.index(column), column, values)
    else:
        broken = sound.append_column(column, values)
    with pytest.raises(LetheError, match=column):
        encode(broken)


def test_rows_without_position_are_refused() -> None:
    with pytest.raises(LetheError, match="position"):
        encode(table([row(1)]).drop_columns(["offset"]))


def test_the_form_is_the_one_the_stand_alone_verifier_makes() -> None:
    value = row(12, 3, status="é" * 200, done_time=datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC))
    assert verify_evidence.encode_row(row_to_json(table([value]))) == form(value)
