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


def fraud(count: int, seed: int, until: datetime, hard: bool = False) -> tuple[Iterator[bytes], Planted]:
    """Return `count` ordinary records of the month of `until` with the five kinds planted, and what was planted.

    `hard`: weaker and noisier ones: small blocks that are flooded slowly, floods of codes over the turn of an hour,
    routes a little slower or worse, bursts of five times the usual, numbers that had an owner before they died; and
    marketing campaigns and rush hours beside them.
    """
    plan = _Plan(seed, until)
    for plant in (_hard_ait, _hard_otp, _hard_grey, _hard_burst, _hard_recycled) if hard else (
        _ait, _otp, _grey, _burst, _recycled,
    ):  # fmt: skip
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


def _hard_ait(plan: _Plan) -> None:
    draw = plan.draw
    for _ in range(8):  # few numbers, over days, some of which convert: they are written to again weeks later
        account, block, days = plan.account(), plan.someone() // 1000, draw.uniform(2, 12)
        begin = draw.uniform(0, plan.hours - 24 * days)
        for tail in draw.sample(range(1000), draw.randint(25, 60)):
            number = block * 1000 + tail
            plan.message(number, plan.at(begin + draw.uniform(0, 24 * days)), account)
            if draw.random() < 0.3:
                plan.message(number, plan.at(draw.uniform(0, plan.hours)), plan.account())
        plan.truth.ait.add((account, block))
    for _ in range(6):  # a company's own people, and a campaign to many thousands all over the country
        account, block = plan.account(), plan.someone() // 1000
        for tail in draw.sample(range(1000), draw.randint(8, 17)):
            for _ in range(draw.randint(1, 6)):
                plan.message(block * 1000 + tail, plan.at(draw.uniform(0, plan.hours)), account)
    account, begin = plan.account(), draw.uniform(0, plan.hours - 8)
    for _ in range(8000):
        plan.message(plan.someone(), plan.at(begin + draw.uniform(0, 6)), account)


def _hard_otp(plan: _Plan) -> None:
    draw = plan.draw
    names = [a.name for a in ACCOUNTS]
    for _ in range(30):  # within 50 minutes that begin anywhere in an hour
        victim, begin = plan.someone(), draw.uniform(0, plan.hours - 2)
        for account in draw.sample(names, draw.randint(6, len(names))):
            for _ in range(draw.randint(1, 3)):
                plan.message(victim, plan.at(begin + draw.uniform(0, 50 / 60)), account)
        plan.truth.otp.add(victim)
    rush = draw.randrange(plan.hours)
    for _ in range(600):  # an evening on which everybody orders: one to four senders each, within an hour
        someone = plan.someone()
        for account in draw.sample(names, draw.choice((1, 2, 2, 3, 4))):
            plan.message(someone, plan.at(rush + draw.uniform(0, 0.99)), account)
    for _ in range(60):  # busy people: eight senders or fewer in half a day
        someone, begin = plan.someone(), draw.uniform(0, plan.hours - 13)
        for at, account in enumerate(draw.sample(names, min(8, len(names)))):
            plan.message(someone, plan.at(begin + at * 1.5 + draw.uniform(0, 0.4)), account)


def _hard_grey(plan: _Plan) -> None:
    draw = plan.draw
    for number in range(6):
        network = f"4100{number + 1}" if number < 4 else f"2341{number}"
        slow, fraction = draw.choice(((draw.uniform(2.5, 4), 0.0), (1.2, draw.uniform(0.26, 0.4))))
        for route in ("direct-a", "direct-b", "direct-c", "sim-box"):
            grey = route == "sim-box"
            delay = 4.0 * (slow if grey else draw.uniform(0.8, 1.4))
            for _ in range(draw.randint(220, 400)):
                # A route now and then delivers late, whatever it is.
                late = draw.uniform(3, 10) if draw.random() < 0.08 else 1.0
                lost = draw.random() < (draw.uniform(0.02, 0.08) + (fraction if grey else 0))
                end: dict[str, Any] = {"status": _LOST, "error": _ABSENT} if lost else {}
                plan.message(
                    plan.someone(), plan.at(draw.uniform(0, plan.hours)), plan.account(), delay * late,
                    mccMnc=network, route=f"{route}-{number}", **end,
                )  # fmt: skip
        plan.truth.grey.add((network, f"sim-box-{number}"))


def _hard_burst(plan: _Plan) -> None:
    draw = plan.draw
    for number in range(8):
        account, usual = f"steady-{number}", draw.randint(9, 16)
        odd = draw.sample(range(24 * 2, plan.hours, 3), 3)
        for hour in range(24 * 2, plan.hours, 3):
            # Twice as much at noon as at night, and never the same two days running.
            level = usual * (1.0 if 8 <= hour % 24 <= 20 else 0.5) * draw.uniform(0.7, 1.4)
            for _ in range(max(0, round(draw.gauss(level, level**0.5)))):
                plan.message(plan.someone(), plan.at(hour + draw.random()), account)
        hour = odd[0]
        for _ in range(usual * draw.randint(5, 7)):
            plan.message(plan.someone(), plan.at(hour + draw.random() * 0.999), account)
        plan.truth.burst.add((account, plan.at(hour)))
        for campaign in odd[1:]:  # half as much again to twice as much is a campaign
            for _ in range(round(usual * draw.uniform(0.5, 1.0))):
                plan.message(plan.someone(), plan.at(campaign + draw.random()), account)

    for number in range(
        2
    ):  # an account that was taken over: hours on end to a list of strangers, of whom many are gone
        account, usual, begin = (
            f"taken-{number}",
            draw.randint(9, 16),
            draw.randrange(24 * 3, plan.hours - 12),
        )
        for hour in range(24 * 2, plan.hours, 3):
            for _ in range(max(0, round(draw.gauss(usual, usual**0.5)))):
                plan.message(plan.someone(), plan.at(hour + draw.random()), account)
        for hour in range(draw.randint(4, 7)):
            for _ in range(usual * draw.randint(5, 7)):
                end: dict[str, Any] = {"status": _LOST, "error": _DEAD} if draw.random() < 0.35 else {}
                plan.message(plan.someone(), plan.at(begin + hour + draw.random() * 0.999), account, **end)
        plan.truth.burst.add((account, plan.at(begin)))


def _hard_recycled(plan: _Plan) -> None:
    draw = plan.draw
    dead: dict[str, Any] = {"status": _LOST, "error": _DEAD}
    for _ in range(30):  # somebody had the number before, and one of the failures is of another kind
        number, begin = plan.someone(), draw.uniform(24 * 4, plan.hours - 24 * 16)
        days = draw.uniform(10.2, 15)
        for _ in range(draw.randint(1, 5)):
            plan.message(number, plan.at(begin - draw.uniform(1, 24 * 4)), plan.account())
        plan.message(number, plan.at(begin), plan.account(), **dead)
        for _ in range(draw.randint(2, 3)):
            plan.message(number, plan.at(begin + draw.uniform(1, days * 24 - 1)), plan.account(), **dead)
        away: dict[str, Any] = {"status": _LOST, "error": _ABSENT}
        plan.message(number, plan.at(begin + draw.uniform(1, days * 24 - 1)), plan.account(), **away)
        plan.message(number, plan.at(begin + days * 24), plan.account())
        plan.truth.recycled.add(number)
    for _ in range(60):  # off for a week, or failing now and then between deliveries
        number, begin = plan.someone(), draw.uniform(0, plan.hours - 24 * 16)
        week = draw.random() < 0.5
        for at in range(draw.randint(4, 6)):
            when = begin + (draw.uniform(0, 24 * 7) if week else at * 60)
            plan.message(number, plan.at(when), plan.account(), **dead)
            if not week:
                plan.message(number, plan.at(when + 20), plan.account())
        plan.message(number, plan.at(begin + (24 * 7.5 if week else 15 * 24)), plan.account())
