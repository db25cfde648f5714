"""Fraud planted in ordinary traffic is found, ordinary traffic is left alone, and no number is shown."""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "retention"))

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from fraud_measures import MONTH, NOW, measured
from retention_world import World, report

from lethe.keys import tokens as tokens_module
from lethe.keys.tokens import reverse_numbers, subject_tokens
from lethe.operations.asker import Asker
from lethe.operations.detection import _ait, _otp, _recycled, _traffic
from lethe.operations.detection._pattern import Part
from lethe.operations.detection.detect import KINDS, detect
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month
from lethe.testing.traffic.fraud import Planted, fraud
from lethe.tiers.detection.month_rows import MonthRows, Reading, Rows

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


def test_blocks_that_are_nearly_numbers_are_read_as_the_general_way_reads_them() -> None:
    draw = random.Random(8)
    blocks = []
    for _ in range(20_000):
        digits = str(draw.randrange(10 ** draw.randrange(1, 16))).encode()
        block = bytearray(bytes([1]) + digits.ljust(15, b"\0"))
        for _ in range(draw.randrange(3)):
            block[draw.randrange(16)] = draw.choice([0, 1, 2, 0x2F, 0x30, 0x39, 0x3A, 0x7F, 0x80, 0xB5, 0xFF])
        blocks.append(bytes(block))
    words = np.frombuffer(b"".join(blocks), "<u8").reshape(-1, 2)
    plainly = tokens_module._numbers(words)
    assert (tokens_module._usual_numbers(words) == plainly).all()
    assert [tokens_module._usual_numbers(words[at : at + 1])[0] for at in range(2_000)] == plainly[
        :2_000
    ].tolist()
    assert 8_000 < (plainly > 0).sum() < 19_000


def test_a_number_is_known_by_its_token_or_where_several_keys_made_these_by_itself(
    site: tuple[World, Planted],
) -> None:
    world, _ = site
    ring = world.runtime.ring
    batches: list[Rows] = []
    coded = MonthRows.read(world.runtime.warehouse, MONTH, ["account"])
    one, other = ring.keys_for(MONTH, 12), ring.keys_for(MONTH, 6, create=True)
    for keys in ([(12, one)], [(12, one), (6, other)]):
        coded.each(keys, batches.append)
        rows = max(batches, key=lambda b: len(b.numbers))
        numbers = dict(zip(rows.subjects.tolist(), rows.numbers.tolist(), strict=True))
        assert len(numbers) == len(set(rows.numbers.tolist()))
        some = rows.where(rows.numbers % 2 == 0)
        assert set(some.subjects.tolist()) == {s for s, n in numbers.items() if n % 2 == 0}
        batches.clear()
    values = pl.Series(["923001234567", "1", "923001234567"])
    subjects = [
        Rows(
            Reading(keys, coded._codes, 0, alone=False),
            pa.record_batch({"token": subject_tokens(keys, pl.Series(["msisdn"] * 3), values)}),
        ).subjects.tolist()
        for keys in (one, other)
    ]
    assert subjects[0] == subjects[1]
    assert subjects[0][0] == subjects[0][2] != subjects[0][1]


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


@pytest.mark.parametrize(
    ("kind", "room", "most"),
    [("ait", "MOST_GROUPS", 8), ("otp", "MOST_HOURS", 20), ("recycled", "MOST_FAILURES", 200)],
)
def test_what_is_too_much_to_be_held_is_looked_at_in_parts_with_the_same_answer(
    site: tuple[World, Planted], monkeypatch: pytest.MonkeyPatch, kind: str, room: str, most: int
) -> None:
    world, _ = site
    whole = detect(world.runtime, WHO, [kind], MONTH, least=5)
    assert len(whole[0].rows) > 3
    parts: set[Part] = set()
    takes = Part.takes
    monkeypatch.setattr(Part, "takes", lambda self, numbers: (parts.add(self), takes(self, numbers))[1])
    monkeypatch.setattr({"ait": _ait, "otp": _otp, "recycled": _recycled}[kind], room, most)
    assert detect(world.runtime, WHO, [kind], MONTH, least=5) == whole
    assert len(parts) >= 3


def test_readings_tell_how_far_they_are(site: tuple[World, Planted]) -> None:
    world, _ = site
    told: list[tuple[int, int]] = []
    [found] = detect(world.runtime, WHO, ["ait"], MONTH, progress=lambda *at: told.append(at))
    done = [at for at, _ in told]
    assert done == sorted(done)
    # Codes and charges of the archive; three readings of the numbers.
    assert done[-1] == found.read * 5
    assert {of for _, of in told} == {found.read * 5}, "known before the first is read"


@pytest.mark.parametrize("kinds", [["grey"], ["otp"], ["recycled"], ["ait", "otp", "burst"], list(KINDS)])
def test_how_many_are_read_is_known_from_the_beginning(site: tuple[World, Planted], kinds: list[str]) -> None:
    world, _ = site
    told: list[tuple[int, int]] = []
    detect(world.runtime, WHO, kinds, MONTH, progress=lambda *at: told.append(at))
    assert {of for _, of in told} == {told[-1][0]}


def test_a_month_without_records_has_nothing(site: tuple[World, Planted]) -> None:
    world, _ = site
    for found in detect(world.runtime, WHO, list(KINDS), MONTH.plus(-4)):
        assert (found.rows, found.hidden) == ([], 0)


def test_more_accounts_than_can_be_told_apart_are_refused(
    site: tuple[World, Planted], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = site
    monkeypatch.setattr(_ait, "MOST_PAIRS", 3)
    with pytest.raises(InputError, match="more accounts than can be told apart"):
        detect(world.runtime, WHO, ["ait"], MONTH)
