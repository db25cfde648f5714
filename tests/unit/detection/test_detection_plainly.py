"""What the detectors answer over random traffic is what reading it plainly, record by record, gives."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise, product
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "retention"))

import pyarrow as pa
import pytest
from fraud_measures import MONTH, NOW
from retention_world import World, report

from lethe.keys.tokens import reverse_numbers
from lethe.operations.analysis.overview import LEVEL, poisson_tail
from lethe.operations.asker import Asker
from lethe.operations.detection.detect import detect
from lethe.schemas.retention.calendar import Month

WHO = Asker.of("amal", "F-1", "fraud")
ACCOUNTS = [f"account-{n}" for n in range(9)]
SHOWN = 500
DEAD: dict[str, Any] = {
    "status": {"groupId": 2, "groupName": "UNDELIVERABLE", "id": 9, "name": "UNDELIVERABLE_NOT_DELIVERED"},
    "error": {"groupId": 1, "groupName": "HANDSET_ERRORS", "id": 1, "name": "EC_UNKNOWN_SUBSCRIBER", "permanent": True},
}  # fmt: skip


@dataclass(frozen=True)
class Message:
    """One recipient of one record: hours from the start of its month, and its position."""

    number: int
    month: Month
    hour: int
    at: datetime
    position: tuple[str, int, int]
    account: str | None
    currency: str | None
    charge: Decimal | None
    delivered: bool
    dead: bool

    @property
    def name(self) -> str:
        return "/".join(map(str, self.position))


def drawn(seed: int, spread: str) -> list[bytes]:
    """Draw traffic of two months: numbers spread or dense, with floods, deaths, several currencies, no prices."""
    chance = random.Random(seed)
    dense = {"one block": 1, "blocks": 6, "spread": 400}[spread]
    blocks = [923_000_000 + chance.randrange(30_000) for _ in range(dense)]
    start = datetime(2025, 2, 20, tzinfo=UTC)
    lines: list[bytes] = []

    def send(number: int, when: datetime, account: str, **more: Any) -> None:
        currency = chance.choice(["EUR", "EUR", "USD", "PKR"])
        price = {"price": {"pricePerMessage": chance.randrange(1, 900) / 1000, "currency": currency}}
        priced = {"price": None} if chance.random() < 0.1 else price
        lines.append(report(len(lines), f"+{number}", when, account, **priced, **more))

    def someone() -> int:
        return chance.choice(blocks) * 1000 + chance.randrange(1000)

    for _ in range(2_500):
        account = ACCOUNTS[min(int(chance.expovariate(0.5)), 8)]
        more = DEAD if chance.random() < 0.1 else {}
        send(someone(), start + timedelta(minutes=chance.randrange(38 * 24 * 60)), account, **more)
    for _ in range(25):  # floods, over the turn of an hour too
        number, when = (
            someone(),
            start + timedelta(hours=9 * 24 + chance.randrange(24 * 28) + chance.random()),
        )
        for account in chance.sample(ACCOUNTS, chance.randrange(4, 9)):
            send(number, when + timedelta(minutes=chance.randrange(50)), account)
    for _ in range(25):  # deaths, and some that end
        number, when = someone(), start + timedelta(hours=chance.randrange(24 * 15))
        for _ in range(chance.randrange(2, 6)):
            send(number, when, ACCOUNTS[0], **DEAD)
            when += timedelta(hours=chance.randrange(24 * 8))
        send(number, when, ACCOUNTS[1])
    for _ in range(4):  # one account floods a block
        block, account = 923_100_000 + chance.randrange(1000), chance.choice(ACCOUNTS)
        for number in chance.sample(range(1000), chance.randrange(15, 70)):
            for _ in range(chance.randrange(1, 3)):
                send(block * 1000 + number, start + timedelta(hours=300 + chance.randrange(200)), account)
    return [
        line for line in lines if b'"sentAt": "2025-03-3' not in line and b'"sentAt": "2025-04' not in line
    ]


def messages(world: World) -> list[Message]:
    """Read every recipient of the world, and what the archive says of the record."""
    at = ("stream", "partition", "offset")
    archive = {tuple(row[n] for n in at): row for row in world.rows("metadata")}
    found = []
    ring = world.runtime.ring
    opened = {m: ring.keys_for(m, 12) for m in (MONTH, MONTH.plus(-1))}
    for row in world.rows("identifiers"):
        if row["role"] != "recipient" or row["kind"] != "msisdn":
            continue
        month = Month.parse(row["month"])
        keys = opened[month]
        number = int(reverse_numbers(keys, pa.array([row["token"]], pa.binary(16)))[0])
        position = tuple(row[n] for n in at)
        said = archive[position]
        delivered = said["status_group"] == "DELIVERED"
        hour = int((row["event_time"] - month.start()).total_seconds()) // 3600
        found.append(
            Message(
                number, month, hour, row["event_time"], position, said["account"], said["currency"], said["charge"],
                delivered, bool(said["permanent_error"]) and not delivered,
            )
        )  # fmt: skip
    return found


def grouped(those: Iterable[Message], *names: str) -> dict[Any, list[Message]]:
    groups: dict[Any, list[Message]] = defaultdict(list)
    for one in those:
        key = tuple(getattr(one, n) for n in names)
        groups[key if len(names) > 1 else key[0]].append(one)
    return groups


def samples(records: Mapping[int, list[Message]]) -> list[set[str]]:
    """Give the records that may stand for each of the three first numbers: any of the first month it has one of."""
    found = []
    for number in sorted(records)[:3]:
        month = min((m.month for m in records[number]), key=str)
        found.append({m.name for m in records[number] if m.month == month})
    return found


def plain_ait(all_: list[Message], least: int) -> tuple[list[dict[str, Any]], int]:
    mine = [m for m in all_ if m.month == MONTH]
    around: dict[Any, int] = defaultdict(int)
    groups: dict[Any, list[Message]] = defaultdict(list)
    for m in mine:
        around[m.account, m.number // 1_000_000] += 1
        groups[m.number // 1000, m.account, m.currency].append(m)
    rows = []
    for (block, account, currency), those in groups.items():
        numbers = grouped(those, "number")
        expected = max(around[account, block // 1000] - len(those), 1) / 1000
        if len(numbers) < 20 or (p := poisson_tail(len(numbers), expected)) >= LEVEL / (len(around) * 1000):
            continue
        charges = [m.charge for m in those if m.charge is not None]
        times = [m.hour for m in those]
        rows.append(
            {
                "block": f"+{block}xxx", "account": account, "currency": currency, "numbers": len(numbers),
                "messages": len(those), "first": MONTH.start() + timedelta(hours=min(times)),
                "last": MONTH.start() + timedelta(hours=max(times)), "probability": p,
                "charge": sum(charges) if charges else None,
                "records": samples(numbers),
            }
        )  # fmt: skip
    rows.sort(key=lambda r: (-r["numbers"], int(r["block"][1:-3]), r["account"] or "", r["currency"] or ""))
    shown = [r for r in rows if r["numbers"] >= least]
    return shown[:SHOWN], len(rows) - len(shown)


def plain_otp(all_: list[Message]) -> Iterator[tuple[int, int, list[Message]]]:
    """Tell number, messages of what was found, and the records of its first hour."""
    for number, those in grouped((m for m in all_ if m.month == MONTH), "number").items():
        hours = grouped(those, "hour")
        many = {h for h, mine in hours.items() if len({m.account for m in mine}) >= 5}
        for h in many:
            yield number, len(hours[h]), hours[h]
        rest = {h: mine for h, mine in hours.items() if not many & {h - 1, h, h + 1}}
        turns = sorted(
            h for h in rest if len({m.account for m in [*rest[h], *rest.get(h + 1, [])]}) >= 6
        )  # an hour of four at most: both are there
        for before, h in pairwise([-9, *turns]):
            if h - before > 1:
                yield number, len(rest[h]) + len(rest[h + 1]), rest[h]


def plain_recycled(all_: list[Message]) -> Iterator[tuple[int, int, list[Message]]]:
    """Tell number, failures of the death that ended, and all failures of the number."""

    def hours(m: Message) -> int:
        return int((m.at - datetime(2025, 1, 1, tzinfo=UTC)).total_seconds()) // 3600

    start = (MONTH.start() - datetime(2025, 1, 1, tzinfo=UTC)).days * 24
    for number, those in grouped(all_, "number").items():
        failures = [m for m in those if m.dead]
        dead: list[int] = []
        # A delivery in the hour of a failure lies before it.
        for hour, failed in sorted((hours(m), m.dead) for m in those if m.dead or m.delivered):
            if failed:
                dead.append(hour)
                continue
            if len(dead) >= 3 and hour - dead[0] >= 240 and hour >= start and len(failures) >= 3:
                yield number, len(dead), failures
                break
            dead = []


def narrowest(
    found: Iterable[tuple[int, int, list[Message]]], what: str, least: int
) -> tuple[list[dict[str, Any]], int]:
    totals: dict[int, int] = defaultdict(int)
    records: dict[int, list[Message]] = defaultdict(list)
    for number, n, those in found:
        totals[number] += n
        records[number] += those
    rest, rows = sorted(totals), []
    for digits in range(3, 10):
        blocks: dict[int, list[int]] = defaultdict(list)
        for number in rest:
            blocks[number // 10**digits].append(number)
        for block, mine in blocks.items():
            if len(mine) >= least:
                told = {what: sum(totals[n] for n in mine), "records": samples({n: records[n] for n in mine})}
                rows.append({"block": f"+{block}{'x' * digits}", "numbers": len(mine), **told})
                rest = [n for n in rest if n not in mine]
    rows.sort(key=lambda r: (-r["numbers"], r["block"]))
    return rows[:SHOWN], len(rest)


def stand_for(records: list[str], wanted: list[set[str]]) -> bool:
    """Tell whether there is one record, in order of their names, for each number."""
    return any(set(records) == set(drawn) for drawn in product(*wanted)) and records == sorted(records)


def plainly(those: list[Message], kind: str, least: int) -> tuple[list[Mapping[str, Any]], int]:
    if kind == "ait":
        return plain_ait(those, least)  # type: ignore[return-value]
    if kind == "otp":
        return narrowest(plain_otp(those), "messages", least)  # type: ignore[return-value]
    return narrowest(plain_recycled(those), "failures", least)  # type: ignore[return-value]


@pytest.mark.parametrize("spread", ["one block", "blocks", "spread"])
@pytest.mark.parametrize("seed", [1, 2])
def test_detectors_answer_what_a_plain_reading_of_the_records_gives(
    tmp_path: Path, seed: int, spread: str
) -> None:
    world = World(tmp_path / "site")
    world.now = NOW
    lines = drawn(seed, spread)
    for part in range(3):  # several files, so that the records of a group do not stand together
        world.ingest(lines[part::3])
    those = messages(world)
    assert len(those) == len(lines)
    for kind in ("ait", "otp", "recycled"):
        for least in (5, 40):
            [found] = detect(world.runtime, WHO, [kind], MONTH, least)
            rows, hidden = plainly(those, kind, least)
            assert [list(row) for row in found.rows] == [list(row) for row in rows]
            told = [row.pop("records") for row in found.rows]
            wanted = [row.pop("records") for row in rows]  # type: ignore[attr-defined]
            assert found.rows == rows, (kind, least)
            assert found.hidden == hidden, (kind, least)
            assert all(map(stand_for, told, wanted)), (kind, least)
            if least == 5:
                assert rows or hidden, kind
