"""Values taken out of pages one by one are those that the library reads; what is written otherwise is left to it."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lethe.schemas.arrow import TABLES, file_schema
from lethe.tiers.delta.files import SORTED_BY, by_token, encoding
from lethe.tiers.delta.places import Opened
from lethe.tiers.store.objects import LocalObjects
from lethe.tiers.window import _picked
from lethe.tiers.window._footers import Footer
from lethe.tiers.window._groups import Group, GroupReader
from lethe.tiers.window._picked import OtherwiseError
from lethe.tiers.window._row_groups import row_groups

pytestmark = pytest.mark.usefixtures("reader")
SOUGHT = ("identifiers", "metadata", "usage")
TEXTS = ["", "a", "grüße", "日本", "x" * 300, *(f"route-{n}" for n in range(40))]


def drawn(chance: Random, field: pa.Field, count: int) -> pa.Array:
    """Values of a column: none, one, some or all different, null here and there if that may be."""
    kind, different = field.type, chance.choice((1, 2, 300, count))

    def one() -> Any:
        number = chance.randrange(different) * chance.choice((1, 1, 7919)) - different // 3
        if pa.types.is_string(kind):
            return TEXTS[number % len(TEXTS)] if different < 300 else f"{number}é"
        if pa.types.is_boolean(kind):
            return bool(number & 1)
        if pa.types.is_decimal(kind):
            return Decimal(number).scaleb(-6) * chance.choice((1, -1, 10**9))
        if pa.types.is_timestamp(kind):
            return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(microseconds=number * 1_001)
        if pa.types.is_fixed_size_binary(kind):
            return (number % different).to_bytes(4, "big") * (kind.byte_width // 4)
        if pa.types.is_binary(kind):
            return b"\0\xff" * (number % 50)
        if field.name == "offset":
            return number
        return number % (1 << 31) if kind == pa.int32() else number

    nulls = chance.choice((0.0, 0.0, 0.01, 0.5, 0.99, 1.0)) if field.nullable else 0.0
    return pa.array([None if chance.random() < nulls else one() for _ in range(count)], kind)


def rows_of(chance: Random, table: str, count: int) -> pa.Table:
    schema = file_schema(table)
    return pa.table([drawn(chance, field, count) for field in schema], schema=schema)


def written(folder: Path, table: str, rows: pa.Table, **how: Any) -> Opened:
    path = folder / table / "file.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    options = encoding(table, rows.schema, rows.num_rows, read_in_places=True)
    pq.write_table(rows, path, **options | how)
    return Opened(LocalObjects(folder), f"{table}/file.parquet", path.stat().st_size)


def reader_of(opened: Opened, table: str, merged: bool = False) -> GroupReader:
    return GroupReader(opened, Footer(row_groups(opened), table, merged), table)


def both(reader: GroupReader, monkeypatch: pytest.MonkeyPatch, ask: Any) -> tuple[Any, Any]:
    """What is asked of each row group, of compiled code and of the library."""
    found = [ask(Group(reader, number)) for number in reader.footer.groups]
    monkeypatch.setattr(reader, "picker", None)
    return found, [ask(Group(reader, number)) for number in reader.footer.groups]


@pytest.mark.parametrize("table", SOUGHT)
@pytest.mark.parametrize("seed", range(12))
def test_values_are_those_the_library_reads(
    table: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Random(f"{table}{seed}")
    rows = rows_of(chance, table, chance.choice((1, 7, 130, 2_500)))
    how = {
        "row_group_size": chance.choice((100, 1_000, 16_384)),
        "max_rows_per_page": chance.choice((3, 64, 1_000, 20_000)),
        "data_page_size": chance.choice((64, 1 << 20)),
        "dictionary_pagesize_limit": chance.choice((200, 1 << 20)),
        "store_decimal_as_integer": chance.random() < 0.8,
    }
    reader = reader_of(written(tmp_path, table, rows, **how), table)
    assert reader.picker is not None
    names = rows.schema.names
    asked = 0

    def ask(group: Group) -> Any:
        many = reader.opened.metadata.row_group(group._number).num_rows
        some = Random(f"{seed}{group._number}").sample(range(many), min(many, 1 + 20 * (seed % 2)))
        return group.values(names, np.array(sorted(some), np.int64))

    class Counted(Group):
        def _read(self, names: Any) -> None:
            nonlocal asked
            asked += 1
            super()._read(names)

    found = [ask(Counted(reader, number)) for number in reader.footer.groups]
    # Amounts of sixteen bytes are the library's; all else is taken here.
    sixteen = not how["store_decimal_as_integer"] and any(pa.types.is_decimal(f.type) for f in rows.schema)
    assert asked == (len(reader.footer.groups) if sixteen else 0)
    monkeypatch.setattr(reader, "picker", None)
    assert found == [ask(Group(reader, number)) for number in reader.footer.groups]


@pytest.mark.parametrize("seed", range(12))
def test_rows_at_offsets_are_those_the_library_finds(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Random(seed)
    count = chance.choice((1, 130, 4_000))
    rows = rows_of(chance, "metadata", count)
    steps = chance.choice(([1], [0, 0, 0, 1], [1, 1, 1, 90_000], [-3, 5, 1], [1 << 40, -(1 << 40)]))
    offsets = np.cumsum([chance.choice(steps) for _ in range(count)]).astype(np.int64)
    at = rows.schema.get_field_index("offset")
    rows = rows.set_column(at, rows.schema.field(at), pa.array(offsets))
    opened = written(
        tmp_path, "metadata", rows, row_group_size=1_000, max_rows_per_page=chance.choice((50, 20_000))
    )
    some = {int(chance.choice(offsets)) for _ in range(chance.choice((1, 3, 40)))}
    wanted = np.array(sorted(some | {int(offsets.min()) - 5, chance.randrange(1 << 62)}), np.int64)

    def ask(group: Group) -> Any:
        found, values = group.at(wanted, [])
        return found.tolist(), values

    found, expected = both(reader_of(opened, "metadata"), monkeypatch, ask)
    assert found == expected
    assert any(rows for rows, _ in found)


@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("messages", [False, True])
@pytest.mark.parametrize("merged", [False, True])
def test_rows_with_tokens_are_those_the_library_finds(
    nulls: float, messages: bool, merged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Random(f"{nulls}{messages}")
    rows = rows_of(chance, "identifiers", 3_000)
    # Some share their first eight bytes, by which they are sought first.
    all_tokens = [chance.randbytes(8) + chance.randbytes(8) for _ in range(500)]
    all_tokens += [token[:8] + chance.randbytes(8) for token in all_tokens[:100]]
    for name in ("token", "message_token"):
        drawn_tokens = [None if chance.random() < nulls else chance.choice(all_tokens) for _ in range(3_000)]
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.array(drawn_tokens, pa.binary(16)))
    if merged:
        rows = rows.take(by_token(rows, SORTED_BY["identifiers"]))
    opened = written(tmp_path, "identifiers", rows, row_group_size=1_000, max_rows_per_page=333)
    sought = [*sorted(chance.sample(all_tokens, 20)), *sorted([*chance.sample(all_tokens, 20), bytes(16)])]

    def ask(group: Group) -> Any:
        return group.carrying(sought[:20], sought[20:] if messages else ()).tolist()

    found, expected = both(reader_of(opened, "identifiers", merged), monkeypatch, ask)
    assert found == expected
    assert any(found) == (nulls < 1)


@pytest.mark.parametrize(
    "how",
    [
        {"compression": "snappy"},
        {"data_page_version": "1.0"},
        {"column_encoding": {"done_time": "BYTE_STREAM_SPLIT", "offset": "PLAIN"}, "use_dictionary": False},
        {"use_deprecated_int96_timestamps": True},
    ],
)
def test_what_others_write_is_left_to_the_library(
    how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(Random(5), "metadata", 500)
    path = tmp_path / "metadata" / "file.parquet"
    path.parent.mkdir()
    pq.write_table(rows, path, **{"compression": "zstd", "data_page_version": "2.0"} | how)
    opened = Opened(LocalObjects(tmp_path), "metadata/file.parquet", path.stat().st_size)
    some = np.array([3, 77, 499], np.int64)
    names = rows.schema.names
    offset = rows.column("offset")[77].as_py()

    def ask(group: Group) -> Any:
        found, values = group.at(np.array([offset], np.int64), names)
        return found.tolist(), values, group.values(names, some)

    reader = reader_of(opened, "metadata")
    assert reader.picker is not None
    with pytest.raises(OtherwiseError):
        reader.picker.pick(0, names, some)
    found, expected = both(reader, monkeypatch, ask)
    assert found == expected
    assert found[0][2] == {name: rows.column(name).take(pa.array(some)).to_pylist() for name in names}


@pytest.mark.parametrize("seed", range(40))
def test_damaged_pages_give_no_more_than_the_library_has(seed: int, tmp_path: Path) -> None:
    """They are refused or read; nothing else happens, and no memory is taken that the file only speaks of."""
    chance = Random(seed)
    rows = rows_of(chance, "metadata", 600)
    opened = written(tmp_path, "metadata", rows, max_rows_per_page=chance.choice((100, 20_000)))
    data = bytearray((tmp_path / "metadata" / "file.parquet").read_bytes())
    for _ in range(chance.choice((1, 30, 400))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    footer = Footer(row_groups(opened), "metadata", merged=False)
    picker = _picked.picker_of(memoryview(bytes(data)), footer.said, footer.chunks, "metadata")
    assert picker is not None
    for name in footer.names:
        try:
            found = picker.pick(0, [name], np.array([0, 300, 599], np.int64))
        except OtherwiseError:
            continue
        assert len(found[name]) == 3
    try:
        at, values = picker.where(0, "offset", np.array([0, 1, 2], np.int64))
    except OtherwiseError:
        return
    assert len(at) == len(values) <= 600


def test_without_compiled_code_the_library_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_picked, "_code", None)
    rows = rows_of(Random(1), "metadata", 50)
    reader = reader_of(written(tmp_path, "metadata", rows), "metadata")
    assert reader.picker is None
    assert Group(reader, 0).values(["route"], np.array([7], np.int64)) == {
        "route": [rows.column("route")[7].as_py()]
    }


def test_all_types_of_the_tables_are_known() -> None:
    """A column of a type that is not would have every look-up read it whole."""
    for table in SOUGHT:
        schema = file_schema(table)
        empty = io.BytesIO()
        pq.write_table(schema.empty_table(), empty, **encoding(table, schema, 1))
        known = _picked.chunks_of(table, pq.read_metadata(empty))
        assert known.keys() == set(schema.names), table
    assert set(SOUGHT) <= TABLES.keys()
