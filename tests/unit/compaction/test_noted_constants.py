"""What a merge notes of its file stands in the place of columns that are not read, and says what is in them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looked_at import Reads
from retention_world import World, report

from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact
from lethe.operations.proof.verify import Wanted, verify
from lethe.operations.window.lookup import lookup
from lethe.schemas.arrow import PARTITIONED_BY, TABLES
from lethe.schemas.errors import IntegrityError
from lethe.tiers.compaction import constants, layout
from lethe.tiers.compaction.perform import footers, perform
from lethe.tiers.compaction.plan import new_job, tasks
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.rewrite import files_of, read_file
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import LocalObjects
from lethe.tiers.window.sought import Tokens, by_position, by_token

HER = "+923001234567"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
GROUP = 8
SHAPES = ("one", "none", "halves", "holes", "many")
VALUES: dict[Any, Callable[[int], Any]] = {
    pa.string(): lambda at: ("", "a b", 'ü"\\', "x" * 80)[at % 4],
    pa.int32(): lambda at: (0, -1, 7, 2**31 - 1)[at % 4],
    pa.int64(): lambda at: (0, -(2**60) - 1, 7, 2**62 + 1)[at % 4],
    pa.bool_(): lambda at: at % 2 == 0,
    pa.decimal128(18, 6): lambda at: Decimal(("0", "-1.5", "999999999999.999999", "0.000001")[at % 4]),
    pa.timestamp("us", "UTC"): lambda at: MARCH - timedelta(days=at % 7 * 20_000, microseconds=at),
    pa.binary(): lambda at: b"\0\xff" * (at % 3),
    pa.binary(16): lambda at: bytes([at % 4]) * 16,
    pa.binary(32): lambda at: bytes([at % 4]) * 32,
}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows a row group, so that a small table has many."""
    for table in ("identifiers", "metadata"):
        monkeypatch.setitem(layout.ROW_GROUP, table, GROUP)


def column(field: pa.Field, shape: str, start: int, rows: int) -> list[Any]:
    """Return values of a column: all the same, none, two, with holes, or many."""
    value = VALUES[field.type]
    if shape == "none" and field.nullable:
        return [None] * rows
    if shape == "halves":
        return [value(start + (at >= rows // 2)) for at in range(rows)]
    if shape == "holes" and field.nullable:
        return [value(start) if at % 3 else None for at in range(rows)]
    return [value(start + (at if shape == "many" else 0)) for at in range(rows)]


@st.composite
def tables(draw: st.DrawFn, name: str) -> pa.Table:
    """Rows of a table in one partition of it: every column in any of the shapes, two to a position at times."""
    rows = draw(st.integers(1, 5 * GROUP))
    columns = {}
    for field in TABLES[name]:
        shape, start = draw(st.sampled_from(SHAPES)), draw(st.integers(0, 3))
        columns[field.name] = column(field, shape, start, rows)
    twice, border = draw(st.booleans()), draw(st.integers(0, rows))
    columns |= {
        "partition": [0 if at < border else 1 for at in range(rows)],
        "offset": [at // 2 if twice else at for at in range(rows)],
        "index": [at % 2 if twice else None for at in range(rows)],
        "month": ["2025-03"] * rows,
    }
    if "window_months" in columns:
        columns["window_months"] = [12] * rows
    return pa.table({f.name: pa.array(columns[f.name], f.type) for f in TABLES[name]}, TABLES[name])


def merged(objects: LocalObjects, name: str, rows: pa.Table) -> Table:
    """Write rows as two files and merge them; the table is left with the merged ones."""
    half = rows.num_rows // 2
    files = [
        file
        for number, part in enumerate((rows.slice(0, half), rows.slice(half)))
        for file in write_files(objects, name, part, f"n{number}", 0)
    ]
    job = new_job(name, files[0].partition, files)
    done = [perform(objects, task) for task in tasks(job, footers(objects, job))]
    table = Table(objects, name, {})
    table.commit([file for file in done if file is not None], {}, {})
    return table


def ordered(rows: list[dict[str, Any]]) -> list[str]:
    """Return rows as text, which tells 1 from True and one decimal from another, in one order."""
    return sorted(repr(sorted(row.items())) for row in rows)


def read(objects: LocalObjects, table: Table) -> list[dict[str, Any]]:
    """Return all rows of a table, by a plain reading of its files."""
    found = [read_file(objects, table.name, file) for file in files_of(table)]
    return [row for rows in found if rows is not None for row in plain(rows)]


def plain(rows: pa.Table) -> list[dict[str, Any]]:
    """Return rows as dicts, times in the one zone that a look-up gives them."""
    return [
        {k: v.astimezone(UTC) if isinstance(v, datetime) else v for k, v in row.items()}
        for row in rows.to_pylist()
    ]


@given(rows=st.one_of(tables("metadata"), tables("identifiers")), data=st.data())
@settings(max_examples=60, deadline=None)
def test_rows_found_by_position_are_those_of_the_file(rows: pa.Table, data: st.DataObject) -> None:
    name = "identifiers" if "token" in rows.column_names else "metadata"
    with tempfile.TemporaryDirectory() as folder:
        objects = LocalObjects(Path(folder))
        table = merged(objects, name, rows)
        every = read(objects, table)
        assert ordered(every) == ordered(plain(rows))
        sought = data.draw(
            st.sets(st.sampled_from([(r["stream"], r["partition"], r["offset"]) for r in every]))
        )
        where: dict[tuple[str, int], set[int]] = {}
        for stream, partition, offset in sought:
            where.setdefault((stream, partition), set()).add(offset)
        key = tuple(str(every[0][k]) for k in PARTITIONED_BY[name])
        found = by_position(objects, table, {key: where} if where else {})
        assert ordered(found) == ordered(
            [r for r in every if (r["stream"], r["partition"], r["offset"]) in sought]
        )


@given(rows=tables("identifiers"), subject=st.integers(0, 4), message=st.one_of(st.none(), st.integers(0, 4)))
@settings(max_examples=60, deadline=None)
def test_rows_found_by_token_are_those_of_the_file(rows: pa.Table, subject: int, message: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        objects = LocalObjects(Path(folder))
        table = merged(objects, "identifiers", rows)
        subjects = frozenset([bytes([subject]) * 16])
        messages = frozenset([bytes([message]) * 16] if message is not None else [])
        found = by_token(objects, table, {("2025-03", "12"): Tokens(subjects, messages)})
        assert ordered(found) == ordered(
            [r for r in read(objects, table) if r["token"] in subjects or r["message_token"] in messages]
        )


@given(rows=st.one_of(tables("metadata"), tables("identifiers")))
@settings(max_examples=60, deadline=None)
def test_what_is_noted_is_all_there_is_in_a_row_group_and_no_bytes(rows: pa.Table) -> None:
    seen = constants.Constants(rows.column_names)
    seen.add(rows, GROUP)
    seen.add(rows.slice(0, 3), GROUP)
    noted = constants.Noted(seen.runs(), rows.schema)
    parts = [rows.slice(at, GROUP) for at in range(0, rows.num_rows, GROUP)] + [rows.slice(0, 3)]
    for group, part in enumerate(parts):
        values = noted.values(group)
        for field in rows.schema:
            inside = [row[field.name] for row in plain(part.select([field.name]))]
            short = isinstance(inside[0], (int, datetime, Decimal)) or (
                isinstance(inside[0], str) and len(inside[0]) <= 64
            )
            same = all(value == inside[0] for value in inside) and (inside[0] is None or short)
            assert (field.name in values) == same
            if same:
                assert repr(values[field.name]) == repr(inside[0])
    assert noted.values(len(parts)) == {}


@pytest.mark.parametrize(
    "runs",
    [
        {"parts": [(0, 1, "2")]},
        {"parts": [(0, 1, True)]},
        {"late": [(0, 1, 1)]},
        {"price": [(0, 1, 1)]},
        {"price": [(0, 1, "much")]},
        {"channel": [(0, 1, 1)]},
        {"event_time": [(0, 1, "2025")]},
        {"event_time": [(0, 1, 1 << 80)]},
        {"integrity_hash": [(0, 1, "00")]},
        {"parts": [(1, 0, 2)]},
        {"parts": [("0", 1, 2)]},
        {"parts": [(0, 2, 2), (1, 3, 2)]},
    ],
)
def test_notes_that_no_merge_has_written_are_refused(runs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="noted"):
        constants.Noted(runs, TABLES["metadata"])


def filled(world: World) -> None:
    """Four files, merged."""
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    for number in range(4):
        world.traffic(30, number)
        world.ingest([report(number, HER, MARCH + timedelta(hours=number))])
    compact(world.runtime, Asked(whole=True))


def records(world: World) -> list[dict[str, Any]]:
    return lookup(world.runtime, Asker.of("ada", "F-1", "test", None), HER).records


@pytest.mark.parametrize("compiled", [True, False])
def test_a_look_up_does_not_read_what_is_noted(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    world = make_world()
    filled(world)
    reads = Reads(monkeypatch, compiled)
    found = records(world)
    assert [r["channel"] for r in found] == ["sms"] * 4
    assert [r["format"] for r in found] == ["infobip/sms-report"] * 4
    columns = reads.columns_of("metadata")
    assert "offset" in columns
    assert not {"channel", "format", "format_version", "direction", "event_time", "*"} & columns


def altered(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    """Write the merged file of the archive again, its rows as they are, with other notes."""
    [path] = Path(world.runtime.settings.root).glob("metadata/month=2025-03/run-*.parquet")
    rows = pq.ParquetFile(path)
    said = orjson.loads(rows.metadata.metadata[b"lethe.run"])
    change(said)
    with pq.ParquetWriter(
        path.with_suffix(".new"), rows.schema_arrow.remove_metadata(), store_schema=False
    ) as writer:
        for group in range(rows.num_row_groups):
            writer.write_table(rows.read_row_group(group).replace_schema_metadata(None))
        writer.add_key_value_metadata({b"lethe.run": orjson.dumps(said)})
    path.with_suffix(".new").replace(path)


def another_channel(said: dict[str, Any]) -> None:
    said["constant"]["channel"] = [[at, end, "voice"] for at, end, _ in said["constant"]["channel"]]


def no_account(said: dict[str, Any]) -> None:
    said["empty"].append("parts")


def another_place(said: dict[str, Any]) -> None:
    said["first"][1][2] += 1


@pytest.mark.parametrize("change", [another_channel, no_account, another_place])
def test_verification_notices_notes_that_are_not_what_the_rows_are(
    make_world: Callable[..., World], change: Callable[[dict[str, Any]], None]
) -> None:
    world = make_world()
    filled(world)
    altered(world, lambda said: None)
    assert list(problems(world)) == []
    altered(world, change)
    assert any("what it notes of its rows" in text for text in problems(world))


def problems(world: World) -> Iterator[str]:
    """Say what a verification finds."""
    for finding in verify(world.runtime, Wanted(), lambda _done, _all: None).findings:
        yield str(finding)


def test_a_look_up_says_that_a_file_with_impossible_notes_is_damaged(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    filled(world)
    altered(world, lambda said: said["constant"].update({"parts": [[0, 1, "two"]]}))
    with pytest.raises(IntegrityError, match="is damaged"):
        records(world)
