"""A compaction dies at every step: all readers see the same rows, the next one ends what it began."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from compaction_killed import HER, HIM, TABLES, compacted, killed_at, rows_of, start
from retention_world import World, person, report

from lethe.tiers.compaction import jobs
from lethe.tiers.delta.rewrite import everything_below, files_of
from lethe.tiers.ledger import reconcile
from lethe.tiers.rights.erasure import erase

MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
POINTS = [
    f"compact.{step}:{count}"
    for step in ("noted", "writing", "written", "performed", "ready", "committed", "settled")
    for count in (1, 2)
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.now = datetime(2025, 3, 31, tzinfo=UTC)
    for number in range(4):
        made.ingest([report(number * 10 + n, to, MARCH) for n, to in enumerate((HER, HIM, HIM))] + [b"{}"])
    return made


def left(world: World) -> list[str]:
    """Files below the tables that are in no table, and notes."""
    found = world.paths("_compaction") if (world.root / "_compaction").exists() else []
    for table in TABLES:
        mine = {f"{table}/{f.path}" for f in files_of(world.runtime.warehouse.table(table))}
        every = everything_below(world.runtime.objects, table)
        found += [p for p in every if p.endswith(".parquet") and "_delta_log" not in p and p not in mine]
    return found


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_step(world: World, point: str) -> None:
    before = rows_of(world)
    killed_at(point, world)
    assert rows_of(world) == before, "whatever it did, readers see the same rows"
    assert reconcile.check(world.runtime.warehouse) == []
    compacted(world)
    assert rows_of(world) == before
    for table in TABLES:
        assert len(files_of(world.runtime.warehouse.table(table))) == 1
    world.now += jobs.READERS
    assert compacted(world) == 0
    assert left(world) == []
    assert rows_of(world) == before
    assert reconcile.check(world.runtime.warehouse) == []


@pytest.mark.parametrize("count", range(1, 6))
def test_killed_while_it_deletes_old_files(world: World, count: int) -> None:
    before = rows_of(world)
    compacted(world)
    world.now += jobs.READERS
    killed_at(f"compact.deleted:{count}", world)
    assert compacted(world) == 0
    assert left(world) == []
    assert rows_of(world) == before


@pytest.mark.parametrize("point", ["compact.written", "compact.performed", "compact.ready"])
def test_what_a_dead_compaction_has_written_does_not_outlive_an_erasure(world: World, point: str) -> None:
    tokens = set(world.tokens(HER, ["2025-03"]).values())
    killed_at(point, world)
    erase(world.maintenance_context(), person(HER))
    assert world.holding(*tokens) == [], "not in a file of any commit, nor in one of none"
    compacted(world)
    assert world.found(HER) == []
    assert len(world.found(HIM)) == 8
    assert reconcile.check(world.runtime.warehouse) == []


def test_an_erasure_of_a_compacted_table_leaves_no_old_file(world: World) -> None:
    tokens = set(world.tokens(HER, ["2025-03"]).values())
    compacted(world)
    assert world.holding(*tokens), "readers may still read the old files"
    erase(world.maintenance_context(), person(HER))
    assert world.holding(*tokens) == []
    assert len(world.found(HIM)) == 8


@pytest.mark.parametrize("point", ["compact.written", "compact.ready", "compact.committed"])
def test_a_month_that_ends_after_a_compaction_died(world: World, point: str) -> None:
    archive = rows_of(world)["metadata"]
    killed_at(point, world)
    world.now = datetime(2026, 4, 1, tzinfo=UTC)
    [outcome] = world.sweep(forced=True)
    assert outcome.state == "forgotten"
    assert [p for p in world.paths() if "2025-03/window_months" in p] == []
    compacted(world)
    assert rows_of(world)["metadata"] == archive
    assert reconcile.check(world.runtime.warehouse) == []
    world.now += jobs.READERS
    compacted(world)
    assert left(world) == []


def test_old_files_stay_for_readers_through_a_sweep(world: World) -> None:
    reader = world.runtime.warehouse.metadata.stored.to_pyarrow_dataset()
    compacted(world)
    world.sweep(forced=True)
    assert reader.to_table().num_rows == 12
    world.now += jobs.READERS + timedelta(seconds=1)
    compacted(world)
    assert left(world) == []


def test_two_compactions_at_once_and_a_writer_beside_them(world: World) -> None:
    before = len(world.rows("metadata"))
    beside = [start(world, "write 8"), start(world, "compact-often 4"), start(world, "compact-often 4")]
    for one in beside:
        one.join()
    assert [one.exitcode for one in beside] == [0, 0, 0]
    assert len(world.rows("metadata")) == before + 16
    assert len(world.found(HER)) == 4 + 8
    assert len(world.found(HIM)) == 8 + 8
    assert reconcile.check(world.runtime.warehouse) == []
    compacted(world)
    world.now += jobs.READERS
    compacted(world)
    assert left(world) == []


def test_an_erasure_beside_a_compaction(world: World) -> None:
    tokens = set(world.tokens(HER, ["2025-03"]).values())
    beside = [start(world, f"erase {HER}"), start(world, "compact-often 3")]
    for one in beside:
        one.join()
    assert [one.exitcode for one in beside] == [0, 0]
    world.now += jobs.READERS
    compacted(world)
    assert world.holding(*tokens) == []
    assert len(world.found(HIM)) == 8
    assert reconcile.check(world.runtime.warehouse) == []
