"""What compiled code notes of a footer is what the library says; any other footer is left to it."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lethe.schemas.arrow import file_schema
from lethe.tiers.delta.bloom import Probe, hashes_of
from lethe.tiers.delta.files import encoding
from lethe.tiers.delta.places import Opened
from lethe.tiers.store.objects import LocalObjects
from lethe.tiers.window import _row_groups
from lethe.tiers.window._row_groups import ByLibrary, Compiled, RowGroups, row_groups

pytestmark = pytest.mark.usefixtures("reader")
KEPT = 3
"""Numbers of a chunk that pages are read by: where it begins and ends, and its codec."""


def opened(path: Path, rows: pa.Table, **how: Any) -> Opened:
    pq.write_table(rows, path, **how)
    return Opened(LocalObjects(path.parent), path.name, path.stat().st_size)


def rows_of(chance: Random, count: int) -> pa.Table:
    """Rows of identifiers, some without a token, whose message has no token at all here and there."""
    tokens = [chance.randbytes(16) if chance.random() < 0.9 else None for _ in range(count)]
    columns = {
        "stream": [chance.choice(["a.b", "grüße"]) for _ in range(count)],
        "partition": [chance.randrange(-5, 1 << 31) for _ in range(count)],
        "offset": [chance.randrange(-(1 << 62), 1 << 62) for _ in range(count)],
        "token": tokens,
        "message_token": [None] * count if chance.random() < 0.5 else [chance.randbytes(16)] * count,
    }
    schema = pa.schema([file_schema("identifiers").field(name) for name in columns])
    return pa.table(columns, schema=schema)


def told(said: RowGroups) -> list[Any]:
    columns = range(said.described.num_columns)

    def place(group: int, at: int) -> list[int]:
        start, end, codec = said.places(group)[at * _row_groups._code.FIELDS :][:KEPT]
        return [start, end, codec if codec in (0, 6) else -1]  # of others the library has only the name

    return [
        (
            said.rows(group),
            [said.bloom(group, at) for at in columns],
            [said.ends(group, at) for at in columns],
            [place(group, at) for at in columns],
        )
        for group in range(said.count)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_the_library_says(seed: int, tmp_path: Path) -> None:
    chance = Random(seed)
    rows = rows_of(chance, chance.choice((0, 1, 70, 3_000)))
    how = encoding("identifiers", rows.schema, rows.num_rows, read_in_places=chance.random() < 0.7)
    more = {
        "row_group_size": chance.choice((7, 500, 10_000)),
        "compression": chance.choice(("zstd", "none", "snappy")),
        "compression_level": None,
    }
    file = opened(tmp_path / "f.parquet", rows, **how | more)
    said = row_groups(file)
    assert isinstance(said, Compiled)
    assert told(said) == told(ByLibrary(file.metadata))
    assert said.described.schema.equals(file.metadata.schema)
    assert said.described.metadata == file.metadata.metadata


def test_merged_files_are_read_so(tmp_path: Path) -> None:
    """A file of forty columns with notes of a merge, and none of what a row group says is made an object of."""
    rows = file_schema("metadata").empty_table()
    file = opened(tmp_path / "f.parquet", rows.replace_schema_metadata({"lethe.run": "{}"}))
    said = row_groups(file)
    assert isinstance(said, Compiled)
    assert said.described.metadata[b"lethe.run"] == b"{}"
    assert "metadata" not in vars(file), "the library was not asked"


@pytest.mark.parametrize("seed", range(60))
def test_damaged_footers_are_read_or_left_to_the_library(seed: int, tmp_path: Path) -> None:
    chance = Random(seed)
    rows = rows_of(chance, 300)
    path = tmp_path / "f.parquet"
    opened(path, rows, row_group_size=100)
    data = bytearray(path.read_bytes())
    size = struct.unpack("<I", data[-8:-4])[0]
    for _ in range(chance.choice((1, 5, 50))):
        data[-8 - chance.randrange(size) - 1] = chance.randrange(256)
    if chance.random() < 0.2:
        data[-8:-4] = struct.pack("<I", chance.choice((0, size - 1, size + 1, 1 << 31)))
    path.write_bytes(data)
    file = Opened(LocalObjects(tmp_path), path.name, len(data))
    try:
        said = row_groups(file)
    except (pa.ArrowException, OSError, ValueError):
        return  # as the library says it
    for group in range(said.count):
        assert len(said.places(group)) % _row_groups._code.FIELDS == 0
        for at in range(said.described.num_columns if isinstance(said, Compiled) else 0):
            said.ends(group, at)
            said.bloom(group, at)


def test_files_that_others_write_are_left_to_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ends that they say may be in another order."""
    file = opened(tmp_path / "f.parquet", rows_of(Random(1), 10))
    monkeypatch.setattr(_row_groups, "_WRITER", "somebody else")
    assert isinstance(row_groups(file), ByLibrary)


def test_without_compiled_code_the_library_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_row_groups, "_code", None)
    assert isinstance(row_groups(opened(tmp_path / "f.parquet", rows_of(Random(1), 10))), ByLibrary)


def test_what_is_no_parquet_file_is_the_librarys_to_refuse(tmp_path: Path) -> None:
    for data in (b"PAR1", b"nothing of the kind, but long enough", b"PAR1" + b"\0" * 20 + b"PAR1"):
        (tmp_path / "f.parquet").write_bytes(data)
        with pytest.raises((pa.ArrowException, OSError)):
            row_groups(Opened(LocalObjects(tmp_path), "f.parquet", len(data)))


@pytest.mark.parametrize("seed", range(5))
def test_filters_are_asked_one_by_one_as_all_at_once(seed: int, tmp_path: Path) -> None:
    chance = Random(seed)
    rows = rows_of(chance, 900)
    how = encoding("identifiers", rows.schema, rows.num_rows, read_in_places=True)
    file = opened(tmp_path / "f.parquet", rows, **how | {"row_group_size": 300})
    said, at = row_groups(file), rows.schema.names.index("token")
    tokens = rows.column("token").to_pylist()
    assert file.mapped is not None
    for group in range(3):
        place = said.bloom(group, at)
        assert place is not None
        mine = [token for token in tokens[group * 300 : group * 300 + 300] if token is not None]
        probes = [Probe.of(hashed) for hashed in hashes_of(mine).tolist()]
        assert all(probe.may_be_in(file.mapped, *place) for probe in probes)
        strange = [
            Probe.of(hashed) for hashed in hashes_of([chance.randbytes(16) for _ in range(400)]).tolist()
        ]
        assert sum(probe.may_be_in(file.mapped, *place) for probe in strange) < 60


def test_a_filter_that_is_not_there_hides_nothing() -> None:
    probe = Probe.of(hashes_of([bytes(16)]).tolist()[0])
    data = memoryview(bytes(100))
    for place in ((10, 47), (90, 47), (99, 1), (200, 47), (10, 1 << 40)):
        assert probe.may_be_in(data, *place)
    whole = memoryview(b"\x15\x40" + bytes(13) + bytes(32))
    assert not probe.may_be_in(whole, 0, len(whole)), "32 bytes without a bit"
