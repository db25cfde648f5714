"""Whatever shape a file of the archive is given, verification names it and still compares all others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from proof_world import World, name, read

from lethe.integrity.verify.findings import Kind
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position
from lethe.tiers.evidence.proof import evidence_of


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("base"))
    world.feed("one", 200, 2)
    assert world.verify() == []
    return world


Shape = Callable[[pa.Table], pa.Table]


def put(column: str, values: Any) -> Shape:
    return lambda rows: rows.set_column(rows.column_names.index(column), column, values(rows))


def twice(column: str) -> Shape:
    return lambda rows: pa.Table.from_arrays([*rows.columns, rows[column]], [*rows.column_names, column])


def cast(column: str, kind: pa.DataType) -> Shape:
    return put(column, lambda rows: rows[column].cast(kind))


ALTERED: dict[str, Shape] = {
    **{f"{c} twice": twice(c) for c in ("channel", "integrity_hash", "offset", "stream", "event_time", "index")},
    **{
        f"no {c}": lambda rows, c=c: rows.drop_columns([c])  # type: ignore[misc]
        for c in ("stream", "partition", "offset", "index", "integrity_hash", "event_time", "channel", "format")
    },
    "time without zone": cast("event_time", pa.timestamp("us")),
    "time as text": put("event_time", lambda rows: pa.array(["x"] * rows.num_rows)),
    "time as number": cast("event_time", pa.int64()),
    "partition too large": put("partition", lambda rows: pa.array([1 << 40] * rows.num_rows)),
    "stream as bytes": cast("stream", pa.binary()),
    "hash of another length": put("integrity_hash", lambda rows: pa.array([b"x"] * rows.num_rows)),
    "unknown column": lambda rows: rows.append_column("file", pa.array([1] * rows.num_rows)),
    "nested": put("channel", lambda rows: pa.array([{"a": 1}] * rows.num_rows)),
    "no Parquet": lambda rows: None,
}  # fmt: skip
ROWS: dict[str, Shape] = {
    "time in milliseconds": lambda rows: cast("event_time", pa.timestamp("ms", "UTC"))(
        put("event_time", lambda r: pa.array([0] * r.num_rows, pa.timestamp("us", "UTC")))(rows)
    ),
    "no time": put("event_time", lambda rows: pa.array([None] * rows.num_rows, pa.timestamp("us", "UTC"))),
    "time before year 1": put(
        "event_time",
        lambda rows: pa.array([-(7 * 10**16)] * rows.num_rows, pa.int64()).cast(pa.timestamp("us", "UTC")),
    ),
    "no channel": put("channel", lambda rows: pa.nulls(rows.num_rows, pa.string())),
    "no rows": lambda rows: rows.slice(0, 0),
}


def given(world: World, shape: Shape) -> tuple[set[str], Path]:
    """Change the first file with rows in scope; returns the names of its rows, and the file."""
    path = world.scoped()[0][0]
    rows = read(path)
    mine = {name(row) for row in rows.to_pylist()}
    changed = shape(rows.cast(pa.schema([f.with_nullable(True) for f in rows.schema])))
    if changed is None:
        path.write_bytes(b"PAR1 and nothing else PAR1")
    else:
        pq.write_table(changed, path)
    return mine, path


@pytest.mark.parametrize("shape", ALTERED.values(), ids=ALTERED)
def test_a_file_of_another_shape_is_named(base: World, tmp_path: Path, shape: Shape) -> None:
    world = base.copy(tmp_path / "it")
    mine, path = given(world, shape)
    found = world.verify()
    assert [f.where.rpartition("/")[2] for f in found if f.kind is Kind.ALTERED] == [path.name]
    assert {f.where for f in found if f.kind is Kind.MISSING} == mine


@pytest.mark.parametrize("shape", ROWS.values(), ids=ROWS)
def test_rows_without_what_they_need_are_named_or_missed(base: World, tmp_path: Path, shape: Shape) -> None:
    world = base.copy(tmp_path / "it")
    mine, _ = given(world, shape)
    found = world.verify()
    assert mine <= {f.where for f in found}
    assert {f.where for f in found if "/" in f.where and f.kind in (Kind.ALTERED, Kind.MISSING)} <= mine


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_another_form_of_text_is_the_same_text(base: World, tmp_path: Path, kind: pa.DataType) -> None:
    world = base.copy(tmp_path / "it")
    given(world, cast("channel", kind))
    assert world.verify() == []


def test_a_month_that_a_file_says_of_itself_is_not_believed(base: World, tmp_path: Path) -> None:
    world = base.copy(tmp_path / "it")
    given(world, lambda rows: rows.append_column("month", pa.array(["1999-01"] * rows.num_rows)))
    assert world.verify() == []


@pytest.mark.parametrize("stream", ["", "..", "../../x", "x/y", "=replays", "ü" * 300, "\0", "keys"])
def test_rows_of_a_stream_that_cannot_be_are_named(base: World, tmp_path: Path, stream: str) -> None:
    world = base.copy(tmp_path / "it")
    given(
        world,
        lambda rows: pa.concat_tables([rows, put("stream", lambda r: pa.array([stream] * r.num_rows))(rows)]),
    )
    found = world.verify()
    assert [(f.kind, f.where) for f in found] == [(Kind.ADDED, f"{stream}/0")]


def test_an_added_row_without_a_canonical_form_is_named(base: World, tmp_path: Path) -> None:
    world = base.copy(tmp_path / "it")
    path, number, gone = world.scoped()[0]
    rows = read(path)
    values = rows.to_pylist()
    values[number] = gone | {"offset": 10**9, "channel": None}
    pq.write_table(
        pa.Table.from_pylist(values, pa.schema([f.with_nullable(True) for f in rows.schema])), path
    )
    found = {(f.kind, f.where) for f in world.verify()}
    assert found == {(Kind.MISSING, name(gone)), (Kind.ADDED, f"one/0/{10**9}")}


@pytest.mark.parametrize("column", ["channel", "format", "event_time"])
def test_evidence_of_the_rows_beside_one_that_lacks_a_value(base: World, tmp_path: Path, column: str) -> None:
    world = base.copy(tmp_path / "it")
    path, number, spoilt = world.scoped()[1]
    mine = [row for at, _, row in world.scoped() if at == path]
    values = read(path).to_pylist()
    values[number][column] = None
    nullable = pa.schema([f.with_nullable(True) for f in read(path).schema])
    pq.write_table(pa.Table.from_pylist(values, nullable), path)
    for row in mine[:40]:
        if row == spoilt:
            with pytest.raises(IntegrityError, match="is not in the archive"):
                evidence(world, row)
        else:
            assert evidence(world, row)


def evidence(world: World, row: dict[str, Any]) -> bytes:
    runtime = world.runtime
    position = Position(row["stream"], row["partition"], row["offset"], row["index"])
    return evidence_of(runtime.warehouse, runtime.ring, world.signer.history, position, runtime.clock()).file
