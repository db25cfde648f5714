"""Rows of one country leave the archive on time, whatever was forged, damaged or has not been published."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from retention_world import World, report
from test_archive import GERMAN, MARCH, evidence, findings, mixed, shared

from lethe.integrity.log.commitment import Commitment
from lethe.operations.proof.publisher import publication_of
from lethe.schemas.errors import IntegrityError
from lethe.tiers.certificates import certificates
from lethe.tiers.delta.files import parquet_bytes
from lethe.tiers.evidence import replay_log
from lethe.tiers.ledger.commits import LedgerEntry
from lethe.tiers.retention.expiry import Outcome

TIME = datetime(2028, 1, 2, tzinfo=UTC)


def add(world: World, **changes: Any) -> None:
    """Put one more row of the country that leaves into the archive's file, as whoever has the disk can."""
    path = next(world.root / p for p in world.paths("metadata") if p.endswith(".parquet"))
    table = pq.read_table(path, partitioning=None)
    (row,) = [r for r in table.to_pylist() if r["offset"] == 1]
    more = pa.Table.from_pylist([row | changes], schema=table.schema)
    path.write_bytes(parquet_bytes("metadata", pa.concat_tables([table, more])))


def countries(world: World) -> list[str]:
    return sorted({r["country"] for p in world.paths("metadata") if p.endswith(".parquet")
                   for r in pq.read_table(world.root / p, partitioning=None).to_pylist()})  # fmt: skip


def swept(world: World) -> list[Outcome]:
    world.now = max(world.now, TIME)
    return [outcome for outcome in world.sweep(forced=True) if outcome.what.startswith("archive")]


def not_kept(world: World) -> list[int]:
    bodies = certificates.every(world.runtime.objects)
    return [b["proofs_not_kept"]["commits"] for b in bodies if "proofs_not_kept" in b]


@pytest.mark.parametrize(
    "changes",
    [{"offset": 10_000}, {"offset": -5}, {"partition": 7}, {"partition": -1}]
    + [{"stream": name} for name in ("elsewhere", "", "..", "../../x", "x/y", "=replays", "ü" * 300, "\0")],
    ids=lambda c: str(c)[:30],
)
def test_rows_that_no_commit_accounts_for_hold_nothing_up(
    make_world: Callable[..., World], changes: dict[str, Any]
) -> None:
    world = shared(make_world)
    world.ingest(mixed(40))
    add(world, **changes)
    before = set(world.paths("_log"))
    (outcome,) = swept(world)
    assert (outcome.state, outcome.rows) == ("forgotten", 20)  # as many as the table says were there
    assert countries(world) == ["PK"]
    assert not_kept(world) == [0]
    assert all(p.endswith((".whole", ".lock")) for p in set(world.paths("_log")) - before)
    for row in world.rows("metadata")[::7]:
        assert evidence(world, row)
    assert swept(world) == []


def spoil_leaf_file(world: World) -> None:
    min(p for p in (world.root / "_log").rglob("leaves/*") if p.is_file()).unlink()


def spoil_entries(world: World) -> None:
    for path in (world.root / "_log").rglob("tile/entries/*"):
        for file in [path, *path.rglob("*")]:
            if file.is_file():
                file.write_bytes(b"\x00\x01x")


def spoil_checkpoint(world: World) -> None:
    for path in (world.root / "_log").glob("*/0/checkpoint"):
        path.write_bytes(b"nothing")


def lose_log(world: World) -> None:
    for path in (world.root / "_log").glob("*/0/checkpoint"):
        path.unlink()


@pytest.mark.parametrize("spoil", [spoil_leaf_file, spoil_entries, spoil_checkpoint, lose_log])
def test_a_damaged_log_holds_nothing_up(
    make_world: Callable[..., World], spoil: Callable[[World], None], caplog: pytest.LogCaptureFixture
) -> None:
    world = shared(make_world)
    world.ingest(mixed(40))
    spoil(world)
    with caplog.at_level(logging.WARNING, "lethe.sweep"):
        (outcome,) = swept(world)
    assert (outcome.state, outcome.rows) == ("forgotten", 20)
    assert countries(world) == ["PK"]
    assert not_kept(world) == [1]
    assert "offsets 0 to 39 of " in caplog.text


def unpublished(world: World) -> World:
    """Two commits of different topic-partitions, of which one is not in its log."""
    world.ingest(mixed(40))
    runtime = world.runtime
    runtime.warehouse.commit([world.prepare(runtime, mixed(40))], runtime.ring)
    return world


def test_only_rows_of_unpublished_commits_wait(
    make_world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world = unpublished(shared(make_world))
    with caplog.at_level(logging.WARNING, "lethe.sweep"):
        (outcome,) = swept(world)
    assert (outcome.state, outcome.rows, outcome.rows_waiting) == ("waiting", 20, 20)
    assert "rows that stay for now: 20" in caplog.text
    assert {r["stream"] for r in world.rows("metadata") if r["country"] == "DE"} == {"cdr"}
    files = world.paths("metadata")
    (again,) = swept(world)
    assert (again.state, again.rows_waiting) == ("waiting", 20)
    assert world.paths("metadata") == files, "nothing is written again while rows wait"
    assert not_kept(world) == []
    assert publication_of(world.runtime).run().failures == {}
    (done,) = swept(world)
    assert (done.state, done.rows, done.rows_waiting) == ("forgotten", 40, 0)
    assert countries(world) == ["PK"]
    assert not_kept(world) == [0]
    assert findings(world) == []
    for row in world.rows("metadata")[::7]:
        assert evidence(world, row)
    assert swept(world) == []


def test_rows_do_not_wait_for_ever(make_world: Callable[..., World]) -> None:
    world = unpublished(shared(make_world))
    assert [o.state for o in swept(world)] == ["waiting"]
    world.now = TIME + timedelta(days=31)
    assert [o.state for o in swept(world)] == ["forgotten"]
    assert countries(world) == ["PK"]
    assert not_kept(world) == [1]


def test_what_was_replayed_waits_for_the_log_of_replays(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shared(make_world)
    world.ingest(mixed(40))
    stream = world.rows("metadata")[0]["stream"]
    add(world, index=3)  # lies at an offset of the commit, which was logged without it
    replayed = [LedgerEntry(stream, 0, 1, 1, Commitment(1, bytes(32), bytes(64)), 99)]
    monkeypatch.setattr(replay_log, "replays", lambda _: replayed)
    (outcome,) = swept(world)
    assert (outcome.state, outcome.rows, outcome.rows_waiting) == ("waiting", 19, 1)
    assert [(r["offset"], r["index"]) for r in world.rows("metadata") if r["country"] == "DE"] == [(1, 3)]
    replayed.clear()
    (outcome,) = swept(world)
    assert (outcome.state, outcome.rows) == ("forgotten", 20)  # as many as the table says were there
    assert countries(world) == ["PK"]


@pytest.mark.parametrize("column", ["channel", "event_time", None])
def test_a_damaged_file_is_named_and_later_months_go_on(
    make_world: Callable[..., World], column: str | None
) -> None:
    world = shared(make_world)
    world.ingest(mixed(40))
    world.ingest([report(i, GERMAN, MARCH + timedelta(days=35)) for i in range(5)])
    path = next(world.root / p for p in world.paths("metadata/month=2025-03") if p.endswith(".parquet"))
    table = pq.read_table(path, partitioning=None)
    if column is None:
        path.write_bytes(b"PAR1")
    else:
        empty = pa.nulls(table.num_rows, table.schema.field(column).type)
        pq.write_table(table.set_column(table.column_names.index(column), column, empty), path)
    with pytest.raises(IntegrityError, match=f"{path.name} is damaged"):
        swept(world)
    assert not world.paths("metadata/month=2025-04"), "the later month is gone"
