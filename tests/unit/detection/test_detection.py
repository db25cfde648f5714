"""Fraud planted in ordinary traffic is found, ordinary traffic is left alone, and no number is shown."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "retention"))

import polars as pl
import pyarrow as pa
import pytest
from fraud_measures import MONTH, NOW, measured
from retention_world import World, report

from lethe.keys.tokens import reverse_numbers, subject_tokens
from lethe.operations.asker import Asker
from lethe.operations.detection import _numbers, _traffic
from lethe.operations.detection.detect import KINDS, detect
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month
from lethe.testing.traffic.fraud import Planted, fraud
from lethe.tiers.detection.month_rows import MonthRows, Rows

SEED = 101  # thresholds were tuned on seeds below 10
WHO = Asker.of("amal", "F-1", "fraud")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Planted]:
    world = World(tmp_path_factory.mktemp("fraud") / "site")
    world.now = NOW
    lines, truth = fraud(20_000, SEED, NOW)
    world.ingest(lines)
    return world, truth


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_was_planted_is_found_and_little_else(site: tuple[World, Planted], kind: str) -> None:
    world, truth = site
    one = measured(world, kind, truth)
    assert one.recall >= 0.95, one
    assert one.precision >= 0.9, one


def test_weaker_fraud_among_campaigns_and_rush_hours_is_found_too(tmp_path: Path) -> None:
    world = World(tmp_path / "site")
    world.now = NOW
    lines, truth = fraud(10_000, SEED, NOW, hard=True)
    world.ingest(lines)
    for kind in KINDS:
        one = measured(world, kind, truth)
        # Floods over the turn of an hour, too: each of the thirty.
        assert one.recall >= (1.0 if kind == "otp" else 0.95), (kind, one)
        assert one.precision >= 0.9, (kind, one)


def hourly(account: str, hour: int, n: int, failed: int = 0) -> pa.RecordBatch:
    """Give messages of an account in an hour from the start of the month on."""
    start = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1_000_000) + hour * 3_600_000_000
    return pa.record_batch(
        {
            "account": pa.array([account] * n),
            "event_time": pa.array([start] * n, pa.timestamp("us", "UTC")),
            "status_group": pa.array(["UNDELIVERABLE"] * failed + ["DELIVERED"] * (n - failed)),
        }
    )


@pytest.mark.parametrize(
    ("hours", "failed", "reads_as"),
    [
        ([60, 300, 310, 290, 80], 0, "campaign"),  # begun and ended within an hour, paced between
        ([300, 310, 290], 0, "burst"),  # too short to be told
        ([60, 300, 900, 290, 80], 0, "burst"),  # not paced
        (
            [60, 300, 310, 290, 80],
            60,
            "burst",
        ),  # a third of it fails, and of the account's other messages none
        ([60, 300, 310, 290, 80], 4, "campaign"),
    ],
)
def test_a_campaign_is_what_is_paced_and_delivered(hours: list[int], failed: int, reads_as: str) -> None:
    pattern = _traffic.Burst()
    for day in range(1, 20):
        for hour in range(24):
            pattern.count(hourly("shop", day * 24 + hour, 5))
    for at, n in enumerate(hours):
        pattern.count(hourly("shop", 20 * 24 + 9 + at, n, min(n, failed)))
    pattern.count(hourly("other", 480, 60))
    rows = pattern.found().to_dicts()
    assert [(r["account"], r["hours"], r["reads_as"]) for r in rows if r["account"] == "shop"] == [
        ("shop", len(hours), reads_as)
    ]
    assert [r["reads_as"] for r in rows] == sorted((r["reads_as"] for r in rows), key="campaign".__eq__)


@pytest.mark.parametrize("kind", list(KINDS))
def test_blocks_are_shown_and_never_a_number(site: tuple[World, Planted], kind: str) -> None:
    world, truth = site
    [found] = detect(world.runtime, WHO, [kind], MONTH, least=5)
    assert found.rows
    told = repr(found.rows)
    numbers = truth.otp | truth.recycled | {b * 1000 + n for _, b in truth.ait for n in range(1000)}
    assert not any(str(n) in told for n in numbers)
    for row in found.rows:
        if "block" in row:
            assert row["block"].endswith("xxx")
            assert row["numbers"] >= 5
    entry = [e for e in world.runtime.audit.entries() if e["action"] == "detect"][-1]
    assert (entry["who"], entry["case"], entry["kind"], entry["count"]) == (
        "amal",
        "F-1",
        kind,
        len(found.rows),
    )


def test_numbers_in_no_block_are_counted_alone(site: tuple[World, Planted]) -> None:
    world, truth = site
    [found] = detect(world.runtime, WHO, ["otp"], MONTH, least=1000)
    assert found.rows == []
    assert found.hidden >= len(truth.otp) * 0.95


def test_a_record_of_a_block_is_one_a_reveal_can_ask_for(site: tuple[World, Planted]) -> None:
    world, truth = site
    [found] = detect(world.runtime, WHO, ["recycled"], MONTH, least=5)
    positions = {r for row in found.rows for r in row["records"]}
    offsets = {
        f"{r['stream']}/{r['partition']}/{r['offset']}" for n in truth.recycled for r in world.found(f"+{n}")
    }
    assert positions
    assert positions <= offsets


def test_unknown_patterns_and_small_blocks_are_refused(site: tuple[World, Planted]) -> None:
    world, _ = site
    with pytest.raises(InputError, match="a pattern is one of"):
        detect(world.runtime, WHO, ["nothing"], MONTH)
    with pytest.raises(InputError, match="5 numbers or more"):
        detect(world.runtime, WHO, ["otp"], MONTH, least=1)
    with pytest.raises(InputError, match="a case and a purpose"):
        detect(world.runtime, Asker.of("amal"), ["otp"], MONTH)


def test_a_column_of_tokens_gives_its_numbers_back(site: tuple[World, Planted]) -> None:
    world, _ = site
    keys = world.runtime.ring.keys_for(MONTH, 12)
    values = ["923001234567", "1", "999999999999999", "a@example.com", "923001234567"]
    kinds = ["msisdn", "msisdn", "msisdn", "email", "sip"]
    tokens = subject_tokens(keys, pl.Series(kinds), pl.Series(values))
    assert reverse_numbers(keys, tokens).tolist() == [923001234567, 1, 999999999999999, 0, 0]
    assert reverse_numbers(keys, tokens[1:3]).tolist() == [1, 999999999999999]


def test_every_row_finds_its_archive_row(site: tuple[World, Planted]) -> None:
    world, _ = site
    runtime = world.runtime
    coded = MonthRows.read(runtime.warehouse, MONTH, ["account"])
    keys = [(12, runtime.ring.keys_for(MONTH, 12))]
    batches: list[Rows] = []
    coded.each(keys, batches.append)
    assert sum(len(b.codes) for b in batches) > 20_000
    assert all((b.codes > 0).all() for b in batches)


def test_all_patterns_at_once_find_what_each_finds_alone(site: tuple[World, Planted]) -> None:
    world, _ = site
    together = detect(world.runtime, WHO, list(KINDS), MONTH, least=5)
    alone = [detect(world.runtime, WHO, [kind], MONTH, least=5)[0] for kind in KINDS]
    assert together == alone
    assert all(found.read >= 20_000 for found in together)


def test_a_month_whose_window_has_ended_is_told_so_and_not_taken_for_empty(
    site: tuple[World, Planted],
) -> None:
    world, _ = site
    ended = Month.parse("2023-01")
    with pytest.raises(InputError, match="the window of 2023-01 has ended"):
        detect(world.runtime, WHO, ["ait"], ended)
    assert detect(world.runtime, WHO, ["burst"], ended)[0].rows == []


def _told(number: str, when: datetime, at: int, dead: bool) -> bytes:
    told = json.loads(report(at, number, when))
    if dead:
        told["status"] = {**told["status"], "groupId": 2, "groupName": "UNDELIVERABLE", "id": 9}
        told["error"] = {**told["error"], "id": 1, "name": "EC_UNKNOWN_SUBSCRIBER", "permanent": True}
    return json.dumps(told).encode()


def test_a_number_that_died_two_months_ago_and_had_an_owner_before_is_found(tmp_path: Path) -> None:
    world = World(tmp_path / "site")
    world.now = NOW
    january, march = datetime(2025, 1, 20, tzinfo=UTC), datetime(2025, 3, 5, tzinfo=UTC)
    lines = []
    for n in range(6):
        who = f"+92300123456{n}"
        lines.append(_told(who, january - timedelta(days=9), 10 * n, dead=False))  # the owner before
        lines += [_told(who, january + timedelta(days=9 * k), 10 * n + 1 + k, dead=True) for k in range(4)]
        lines.append(_told(who, march, 10 * n + 8, dead=False))
    world.ingest(lines)
    [found] = detect(world.runtime, WHO, ["recycled"], MONTH, least=5)
    assert [(row["numbers"], row["failures"]) for row in found.rows] == [(6, 24)]
    earlier = detect(world.runtime, WHO, ["recycled"], MONTH.plus(-1), least=5)
    assert earlier[0].rows == []  # they came alive in March


def test_numbers_taken_in_parts_give_the_same_answer(
    site: tuple[World, Planted], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = site
    whole = detect(world.runtime, WHO, ["recycled"], MONTH, least=5)
    parts: list[int] = []
    begin = _numbers.Recycled.begin
    monkeypatch.setattr(_numbers.Recycled, "begin", lambda self, n: (parts.append(n), begin(self, n))[1])
    monkeypatch.setattr(_numbers, "MOST_FAILURES", 200)
    assert detect(world.runtime, WHO, ["recycled"], MONTH, least=5) == whole
    assert max(parts) >= 3
