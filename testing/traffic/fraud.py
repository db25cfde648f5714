"""Traffic with fraud planted in it, and what was planted: for detectors to be measured by.

Around it is the ordinary traffic of `generate`, and what looks like fraud without being it: a company that texts a few
of its own people's adjacent numbers, busy people with many senders a day, a campaign twice as large as usual, a route
a little slower than others, telephones that were off for some days.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from lethe.testing.traffic import generate
from lethe.testing.traffic.accounts import ACCOUNTS

_OK: Final = {"groupId": 0, "groupName": "OK", "id": 0, "name": "NO_ERROR", "permanent": False}
_DEAD: Final = {
    "groupId": 1, "groupName": "HANDSET_ERRORS", "id": 1, "name": "EC_UNKNOWN_SUBSCRIBER", "permanent": True,
}  # fmt: skip
_ABSENT: Final = {**_DEAD, "id": 27, "name": "EC_ABSENT_SUBSCRIBER", "permanent": False}
_GOOD: Final = {
    "groupId": 3, "groupName": "DELIVERED", "id": 5, "name": "DELIVERED_TO_HANDSET", "description": "d",
}  # fmt: skip
_LOST: Final = {
    "groupId": 2, "groupName": "UNDELIVERABLE", "id": 9, "name": "UNDELIVERABLE_NOT_DELIVERED", "description": "d",
}  # fmt: skip


@dataclass(slots=True)
class Planted:
    """What was planted: blocks of 1,000 by (account, block), numbers, routes by (network, route), account and hour."""

    ait: set[tuple[str, int]] = field(default_factory=set)
    otp: set[int] = field(default_factory=set)
    grey: set[tuple[str, str]] = field(default_factory=set)
    burst: set[tuple[str, datetime]] = field(default_factory=set)
    recycled: set[int] = field(default_factory=set)


class _Plan:
    def __init__(self, seed: int, until: datetime) -> None:
        self.draw = random.Random(f"lethe fraud 1 {seed}")  # noqa: S311  (traffic, not a key)
        self.start = until.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        self.hours = int((until - self.start) / timedelta(hours=1))
        self.truth = Planted()
        self.lines: list[bytes] = []

    def at(self, hours: float) -> datetime:
        return self.start + timedelta(hours=hours)

    def someone(self) -> int:
        return int(
            "92" + self.draw.choice(("300", "301", "321", "333", "345")) + f"{self.draw.randrange(10**7):07d}"
        )

    def account(self) -> str:
        return self.draw.choice(ACCOUNTS).name

    def message(self, to: int, when: datetime, account: str, delay: float = 4.0, **more: Any) -> None:
        name = f"f{len(self.lines):07d}-{self.draw.getrandbits(40):010x}"
        done = when + timedelta(seconds=delay * (0.4 + self.draw.random()))
        record = {
            "bulkId": "b", "messageId": name, "to": str(to), "sender": "NOTICE",
            "sentAt": when.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
            "doneAt": done.strftime("%Y-%m-%dT%H:%M:%S.000+0000"), "messageCount": 1, "mccMnc": "41001",
            "price": {"pricePerMessage": 0.0214, "currency": "EUR"}, "status": _GOOD, "error": _OK,
            "platform": {"entityId": account, "applicationId": "app"}, **more,
        }  # fmt: skip
        self.lines.append(orjson.dumps(record))


def fraud(count: int, seed: int, until: datetime) -> tuple[Iterator[bytes], Planted]:
    """Return `count` ordinary records of the month of `until` with the five kinds planted, and what was planted."""
    plan = _Plan(seed, until)
    for plant in (_ait, _otp, _grey, _burst, _recycled):
        plant(plan)
    plan.draw.shuffle(plan.lines)

    def lines() -> Iterator[bytes]:
        yield from plan.lines
        yield from generate("infobip/sms-report", count, seed, until=until, months=1)

    return lines(), plan.truth


def _ait(plan: _Plan) -> None:
    draw = plan.draw
    for _ in range(8):
        account, block, begin = plan.account(), plan.someone() // 1000, draw.uniform(0, plan.hours - 30)
        for tail in draw.sample(range(1000), draw.randint(30, 300)):
            for _ in range(draw.choice((1, 1, 1, 2))):
                plan.message(block * 1000 + tail, plan.at(begin + draw.uniform(0, 24)), account)
        plan.truth.ait.add((account, block))
    for _ in range(6):  # a company's own people: few, over the whole month
        account, block = plan.account(), plan.someone() // 1000
        for tail in draw.sample(range(1000), draw.randint(5, 14)):
            for _ in range(draw.randint(1, 6)):
                plan.message(block * 1000 + tail, plan.at(draw.uniform(0, plan.hours)), account)


def _otp(plan: _Plan) -> None:
    draw = plan.draw
    names = [a.name for a in ACCOUNTS]
    for _ in range(30):
        victim, hour = plan.someone(), draw.randrange(plan.hours)
        for account in draw.sample(names, draw.randint(6, len(names))):
            for _ in range(draw.randint(1, 4)):
                plan.message(victim, plan.at(hour + draw.uniform(0, 0.99)), account)
        plan.truth.otp.add(victim)
    for _ in range(60):  # busy people: three or four senders within an hour, or many within a day
        someone, hour = plan.someone(), draw.randrange(plan.hours - 24)
        spread = draw.choice((0.99, 23.0))
        some = draw.sample(names, draw.randint(3, 4) if spread < 1 else draw.randint(6, len(names)))
        for at, account in enumerate(some):
            plan.message(
                someone, plan.at(hour + (draw.uniform(0, 0.99) if spread < 1 else at * 2.1)), account
            )


def _grey(plan: _Plan) -> None:
    draw = plan.draw
    for number in range(6):
        network = f"4100{number + 1}" if number < 4 else f"2341{number}"
        fraction, slow = draw.choice((0.0, 0.35, 0.45)), draw.uniform(8, 20)
        for route in ("direct-a", "direct-b", "direct-c", "sim-box"):
            grey = route == "sim-box"
            delay = 4.0 * (slow if grey else draw.uniform(0.9, 1.3))
            for _ in range(draw.randint(250, 500)):
                lost = draw.random() < (0.04 + (fraction if grey else 0))
                end: dict[str, Any] = {"status": _LOST, "error": _ABSENT} if lost else {}
                plan.message(
                    plan.someone(), plan.at(draw.uniform(0, plan.hours)), plan.account(), delay,
                    mccMnc=network, route=f"{route}-{number}", **end,
                )  # fmt: skip
        plan.truth.grey.add((network, f"sim-box-{number}"))


def _burst(plan: _Plan) -> None:
    draw = plan.draw
    for number in range(8):
        account = f"steady-{number}"
        usual = draw.randint(2, 8)
        for hour in range(24 * 2, plan.hours, 3):
            for _ in range(max(0, round(draw.gauss(usual, usual**0.5)))):
                plan.message(plan.someone(), plan.at(hour + draw.random()), account)
        hour = 24 * 2 + 3 * draw.randrange((plan.hours - 24 * 2) // 3)
        for _ in range(max(50, usual * draw.randint(8, 20))):
            plan.message(plan.someone(), plan.at(hour + draw.random() * 0.999), account)
        plan.truth.burst.add((account, plan.at(hour)))
        campaign = 24 * 2 + 3 * draw.randrange((plan.hours - 24 * 2) // 3)
        for _ in range(usual):  # twice the usual is a campaign
            plan.message(plan.someone(), plan.at(campaign + draw.random()), account)


def _recycled(plan: _Plan) -> None:
    draw = plan.draw
    dead: dict[str, Any] = {"status": _LOST, "error": _DEAD}
    for _ in range(30):
        number, begin = plan.someone(), draw.uniform(0, plan.hours - 24 * 16)
        days = draw.uniform(12, 15)
        plan.message(number, plan.at(begin), plan.account(), **dead)
        for _ in range(draw.randint(2, 6)):
            plan.message(number, plan.at(begin + draw.uniform(1, days * 24 - 1)), plan.account(), **dead)
        plan.message(number, plan.at(begin + days * 24), plan.account())
        plan.truth.recycled.add(number)
    for _ in range(30):  # off for some days only, or never reached again
        number, begin = plan.someone(), draw.uniform(0, plan.hours - 24 * 16)
        for _ in range(draw.randint(3, 6)):
            plan.message(number, plan.at(begin + draw.uniform(0, 24 * 6)), plan.account(), **dead)
        if draw.random() < 0.5:
            plan.message(number, plan.at(begin + 24 * 6.5), plan.account())
