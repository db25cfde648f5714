"""What is not to be billed: planted repeats and superseded reports are all found, and none beside them."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable
from retention_world import World, report

from lethe.operations.adjustments import run, run_due
from lethe.operations.retention.sweep import run_sweep
from lethe.schemas.errors import FencedError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.adjustments import table as adjustments
from lethe.tiers.archive import sql

MARCH = datetime(2025, 3, 10, 12, tzinfo=UTC)
HER = "+923001234567"
HIM = "+4915112345678"


def said(
    number: int, to: str, state: str = "DELIVERED", minutes: int = 0, price: float = 0.02, **more: object
) -> bytes:
    """A report of message `number`: sent at a fixed time, in this state `minutes` later."""
    record = json.loads(report(number, to, MARCH + timedelta(seconds=number)))
    record["doneAt"] = (MARCH + timedelta(seconds=number, minutes=minutes)).strftime(
        "%Y-%m-%dT%H:%M:%S.000+0000"
    )
    ids = {"PENDING": 1, "DELIVERED": 3, "UNDELIVERABLE": 2}
    record["status"] = {"groupId": ids[state], "groupName": state, "id": 5, "name": state, "description": "d"}
    record["price"]["pricePerMessage"] = price
    return json.dumps({**record, **more}).encode()


def reasons(world: World) -> dict[int, str]:
    """Offset -> reason, of one ingested file."""
    return {r["offset"]: r["reason"] for r in world.rows("adjustments")}


def test_of_several_reports_of_a_message_the_final_one_counts(world: World) -> None:
    world.ingest(
        [
            said(1, HER, "PENDING"),
            said(1, HER, "DELIVERED", 2),
            said(2, HIM),
            said(2, HIM),
            said(3, HER, "PENDING"),
        ]
    )
    assert [(a.new, a.total) for a in run(world.runtime)] == [(2, 2)]
    assert reasons(world) == {0: "superseded", 3: "repeated"}


def test_a_second_run_finds_nothing_new(world: World) -> None:
    world.ingest([said(1, HER, "PENDING"), said(1, HER)])
    run(world.runtime)
    assert [(a.new, a.total) for a in run(world.runtime)] == [(0, 1)]
    assert len(world.rows("adjustments")) == 1


def test_a_late_report_adds_and_takes_nothing_back(world: World) -> None:
    world.ingest([said(1, HER, "PENDING")])
    assert [a.total for a in run(world.runtime)] == [0]
    world.ingest([said(1, HER, "UNDELIVERABLE", 5)])
    assert [a.total for a in run(world.runtime)] == [1]
    before = {(r["stream"], r["offset"]) for r in world.rows("adjustments")}
    world.ingest([said(1, HER, "DELIVERED", 9)])
    assert [a.total for a in run(world.runtime)] == [2]
    assert before < {(r["stream"], r["offset"]) for r in world.rows("adjustments")}
    (_, rows) = sql.query(world.runtime.warehouse, "SELECT status_group FROM billable")
    assert [row[0].upper() for row in rows] == ["DELIVERED"]


def test_one_message_id_to_two_people_is_two_messages(world: World) -> None:
    world.ingest([said(1, HER, messageId="batch-7"), said(1, HIM, messageId="batch-7")])
    assert [a.total for a in run(world.runtime)] == [0]


def test_a_run_that_was_overtaken_looks_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ingest([said(1, HER, "PENDING"), said(1, HER)])
    warehouse, month = world.runtime.warehouse, Month(2025, 3)
    found = adjustments.set_apart
    others = []

    def overtaken(*arguments: object) -> pl.DataFrame:
        answer = found(*arguments)  # type: ignore[arg-type]
        if not others:
            others.append(1)
            assert adjustments.adjust(world.runtime.warehouse, month, world.now).new == 1
        return answer

    monkeypatch.setattr(adjustments, "set_apart", overtaken)
    assert adjustments.adjust(warehouse, month, world.now).new == 0
    assert len(world.rows("adjustments")) == 1


def test_who_is_overtaken_for_ever_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ingest([said(1, HER, "PENDING"), said(1, HER)])

    def fenced(*_: object, **__: object) -> int:
        raise FencedError("another came first")

    warehouse = world.runtime.warehouse
    monkeypatch.setattr("lethe.tiers.delta.table.Table.commit", fenced)
    with pytest.raises(FencedError, match="faster"):
        adjustments.adjust(warehouse, Month(2025, 3), world.now)


@pytest.mark.parametrize("passes", [1, 7])
def test_planted_ones_are_all_found_and_none_beside_them(
    world: World, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(11)
    lines: list[tuple[bytes, bool, Decimal]] = []  # record, to be set apart, price
    for number in range(600):
        to = f"+92300{chance.randrange(10**7):07}"
        price = Decimal(chance.randrange(1, 900)) / 10_000
        last = said(number, to, chance.choice(("DELIVERED", "UNDELIVERABLE")), 9, float(price))
        kind = chance.random()
        if kind < 0.1:
            lines.append((said(number, to, "PENDING", 1, float(price)), True, price))
        elif kind < 0.15:
            lines.append((last, True, price))
        elif kind < 0.2:
            lines.append((said(number, to, "UNDELIVERABLE", 4, 0.9), True, Decimal("0.9")))
        lines.append((last, False, price))
    first, second = lines[: len(lines) // 2], lines[len(lines) // 2 :]
    for part in (first, second):
        world.ingest([line for line, _, _ in part])
    if passes > 1:
        rows = len(world.rows("identifiers"))
        monkeypatch.setattr("lethe.tiers.adjustments.find._ROWS_OF_A_SHARE", -(-rows // passes))
        monkeypatch.setattr("lethe.tiers.adjustments.find._ROWS_AT_A_TIME", 10)
    (done,) = run(world.runtime)
    assert done.total == sum(apart for _, apart, _ in lines)

    # A bill computed from the records alone, and by three readers from the tables.
    bill = sum((price for _, apart, price in lines if not apart), Decimal(0))
    (_, ((by_duckdb,),)) = sql.query(world.runtime.warehouse, "SELECT sum(price) FROM billable")
    archive = DeltaTable(str(world.root / "metadata")).to_pyarrow_dataset()
    apart = DeltaTable(str(world.root / "adjustments")).to_pyarrow_dataset()
    keys = ["month", "stream", "partition", "offset", "index"]
    by_polars = (
        pl.scan_delta(str(world.root / "metadata"))
        .with_columns(pl.col("stream").cast(pl.String))
        .join(
            pl.scan_delta(str(world.root / "adjustments")).with_columns(pl.col("stream").cast(pl.String)),
            on=keys,
            how="anti",
            nulls_equal=True,
        )
        .select(pl.col("price").sum())
        .collect()
        .item()
    )
    assert by_duckdb == by_polars == by_hand(archive, apart) == bill


def by_hand(archive: ds.Dataset, apart: ds.Dataset) -> Decimal:
    """Sum what is left of the archive, row by row."""
    keys = ("stream", "partition", "offset", "index")
    out = Counter(tuple(r[k] for k in keys) for r in apart.to_table().to_pylist())
    assert set(out.values()) <= {1}
    rows = archive.to_table(columns=[*keys, "price"]).to_pylist()
    return sum((r["price"] for r in rows if tuple(r[k] for k in keys) not in out), Decimal(0))


def test_no_byte_of_a_person_or_message_is_in_the_table(world: World) -> None:
    world.ingest([said(1, HER, "PENDING"), said(1, HER)])
    run(world.runtime)
    held = world.holding(HER[1:].encode(), b"m-00000001")
    assert [name for name in held if name.startswith("adjustments")] == []
    assert {c for r in world.rows("adjustments") for c in r} == {
        "stream", "partition", "offset", "index", "reason", "found_time", "month",
    }  # fmt: skip


def test_the_leader_looks_through_what_has_changed_once_a_day(world: World) -> None:
    world.ingest([said(1, HER, "PENDING"), said(1, HER)])
    assert [a.new for a in run_due(world.runtime, set())] == [1]
    assert run_due(world.runtime, set()) == []
    world.ingest([said(2, HIM), said(2, HIM)])
    assert run_due(world.runtime, set()) == []  # a few hours more
    assert [a.new for a in run_due(world.runtime, {Month(2025, 3)})] == [1]  # its window ends
    world.ingest([said(3, HIM), said(3, HIM)])
    world.now += timedelta(hours=21)
    assert [a.new for a in run_due(world.runtime, set())] == [1]


def test_a_sweep_looks_once_more_before_it_forgets_a_month(world: World) -> None:
    world.ingest([said(1, HER, "PENDING"), said(1, HER)])
    world.now = datetime(2026, 4, 1, 0, 30, tzinfo=UTC)
    world.ingest([report(9, HIM, world.now - timedelta(hours=1))])  # vouches for the clock
    assert run_sweep(world.runtime)
    assert world.rows("identifiers")[0]["month"] == "2026-03"
    assert reasons(world) == {0: "superseded"}


def test_what_is_set_apart_goes_with_the_archive(world: World) -> None:
    world.ingest([said(1, HER, "PENDING"), said(1, HER)])
    run(world.runtime)
    world.now = datetime(2036, 1, 1, 0, 30, tzinfo=UTC)
    world.ingest(
        [report(9, HIM, world.now - timedelta(hours=1)), report(9, HIM, world.now - timedelta(hours=1))]
    )
    run_sweep(world.runtime)
    run(world.runtime)
    assert {r["month"] for r in world.rows("adjustments")} == {"2035-12"}
    assert not any("month=2025-03" in p for p in world.paths("adjustments"))
