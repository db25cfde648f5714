"""`lethe tables` and `lethe compact` say what there is and do it; bad input changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from retention_world import World
from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.operations.compact import Asked, compact, compact_for
from lethe.operations.engines import open_engine
from lethe.schemas.errors import ConfigurationError, IntegrityError


def run(world: World, *arguments: str) -> Any:
    config = world.folder / "lethe.toml"
    config.write_text(f'root = "{world.root}"\nkeys_dir = "{world.keys}"\n')
    done = CliRunner().invoke(app, ["--config", str(config), "--json", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout) if done.stdout else None


def filled(make_world: Callable[..., World]) -> World:
    world = make_world()
    for seed in range(4):
        world.traffic(30, seed)
    return world


def files(world: World) -> int:
    return sum(p.endswith(".parquet") and "_delta_log" not in p for p in world.paths())


def test_tables_shows_files_and_compact_merges_them(make_world: Callable[..., World]) -> None:
    world = filled(make_world)
    before = {p["table"]: p for p in run(world, "tables")}
    assert before["metadata"]["files"] == 4
    assert before["metadata"]["rows"] == 120
    assert before["metadata"]["due"] == 1, "the month is over"
    count = files(world)
    planned = run(world, "compact", "--table", "metadata", "--dry-run")
    assert [(m["files_before"], m["files_after"]) for m in planned] == [(4, None)]
    assert files(world) == count
    made = run(world, "compact", "--workers", "1", "--month", "2025-03")
    assert {m["table"] for m in made} == {"identifiers", "metadata", "originals"}
    assert {p["table"]: p["files"] for p in run(world, "tables", "--month", "2025-03")} == dict.fromkeys(
        ("identifiers", "metadata", "originals"), 1
    )
    assert run(world, "compact", "--workers", "1", "--month", "2025-03") == []


@pytest.mark.parametrize(
    ("asked", "says"),
    [(("--table", "people"), "no table is called"), (("--month", "November"), "a month is written as"),
     (("--engine", "abacus"), "no engine is called"),
     (("--engine", "dask", "--address", "tcp://127.0.0.1:1"), "does not answer")],
)  # fmt: skip
def test_bad_input_changes_nothing(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], says: str
) -> None:
    monkeypatch.setattr("lethe.operations.engines.dask._SECONDS", 1)
    world = filled(make_world)
    before = world.paths("metadata")
    with pytest.raises(ConfigurationError, match=says):
        run(world, "compact", *asked)
    assert world.paths("metadata") == before


@pytest.mark.parametrize("command", [("compact",), ("verify",), ("adjustments", "run")])
def test_an_address_without_a_cluster_is_refused(
    make_world: Callable[..., World], command: tuple[str, ...]
) -> None:
    """Whoever gives one believes that the cluster does it."""
    with pytest.raises(ConfigurationError, match="an address is that of a cluster; say which"):
        run(make_world(), *command, "--address", "tcp://127.0.0.1:1")


def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyspark", None)
    with pytest.raises(ConfigurationError, match=r"install lethe\[spark\]"):
        open_engine("spark")


def test_a_table_that_another_engine_has_upgraded_is_left_alone(make_world: Callable[..., World]) -> None:
    world = filled(make_world)
    table = DeltaTable(str(world.root / "metadata"))
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "true", "delta.minWriterVersion": "4"})
    with pytest.raises(ConfigurationError, match="metadata: another engine has upgraded"):
        compact(world.runtime, Asked(whole=True))
    assert {p["table"]: p["files"] for p in run(world, "tables")}["metadata"] == 4


def test_a_damaged_file_is_named_and_the_others_are_merged(make_world: Callable[..., World]) -> None:
    world = filled(make_world)
    path = next(p for p in world.paths("originals") if p.endswith(".parquet") and "_delta_log" not in p)
    data = (world.root / path).read_bytes()
    (world.root / path).write_bytes(data[: len(data) // 2])
    with pytest.raises(IntegrityError, match=r"originals/month=2025-03.* is damaged"):
        compact(world.runtime, Asked(whole=True))
    assert {p["table"]: p["files"] for p in run(world, "tables")}["identifiers"] == 1
    (world.root / path).write_bytes(data)
    assert {m.table for m in compact(world.runtime, Asked(whole=True))} == {"originals"}


def test_the_leader_begins_nothing_when_its_time_is_over(make_world: Callable[..., World]) -> None:
    world = filled(make_world)
    world.now += timedelta(days=3)
    assert compact_for(world.runtime, 0) == []
    assert compact_for(world.runtime, 60) != []


def test_a_full_disk_leaves_everything_as_it_was(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = filled(make_world)
    before = world.rows("metadata")
    whole = Path.open

    def full(self: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if mode == "xb" and "run-" in self.name:
            raise OSError(28, "No space left on device")
        return whole(self, mode, *more, **named)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(Exception, match="No space left on device; free space"):
        compact(world.runtime, Asked(whole=True))
    monkeypatch.undo()
    assert world.rows("metadata") == before
    assert len(compact(world.runtime, Asked(whole=True))) == 4


def test_every_filter_finds_the_same_after_a_merge(make_world: Callable[..., World]) -> None:
    """Where the log gives bounds of some columns, a reader takes the others to be empty."""
    world = filled(make_world)
    asked = {
        table: {
            name: _some_of(world, table, name)
            for name in world.runtime.warehouse.table(table).dataset().schema.names
        }
        for table in ("metadata", "ledger")
    }
    run(world, "compact", "--workers", "1", "--whole")
    for table, columns in asked.items():
        for name, (value, count) in columns.items():
            if count:
                theirs = DeltaTable(world.runtime.warehouse.objects.url(table)).to_pyarrow_dataset()
                mine = world.runtime.warehouse.table(table).dataset()
                assert theirs.count_rows(filter=pc.field(name) == value) == count, (table, name)
                assert mine.count_rows(filter=pc.field(name) == value) == count, (table, name)
    assert run(world, "verify")["findings"] == []
    (found,) = run(world, "sql", "SELECT count(*) AS n FROM metadata WHERE channel = 'sms'")
    assert found["n"] > 0


def _some_of(world: World, table: str, name: str) -> tuple[Any, int]:
    """Return one of a column's values, and how many rows have it."""
    values = world.runtime.warehouse.table(table).dataset().to_table(columns=[name]).column(0).drop_null()
    return (values[0], values.to_pylist().count(values[0].as_py())) if len(values) else (None, 0)


def test_bounds_that_others_give_of_some_columns_hide_nothing(make_world: Callable[..., World]) -> None:
    """Engines write bounds of the first columns only, thirty-two by default."""
    world = filled(make_world)
    table = world.runtime.warehouse.metadata
    table.stored.alter.set_table_properties({"delta.dataSkippingNumIndexedCols": "3"})
    DeltaTable(world.runtime.warehouse.objects.url("metadata")).optimize.compact()
    table.reload()
    assert any(
        name.startswith("min.") for name in pa.schema(table.delta.get_add_actions(flatten=True).schema).names
    )
    for name in ("channel", "month", "charge_basis", "offset"):
        value, count = _some_of(world, "metadata", name)
        assert table.dataset().count_rows(filter=pc.field(name) == value) == count > 0, name
