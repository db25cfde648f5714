"""What changes in usage data is named too, and ordinary weeks of it are not; nothing of it is kept but counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from quality_world import Record, Site
from transform_kit import batch_of

from lethe.schemas.declaration import format as formats
from lethe.schemas.transformed import TransformedBatch

ACTIVITY, ACCESS = "platform/activity", "web/combined"
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
ACTIONS = ["login", "logout", "api_key.create", "message.search", "report.download", "user.invite"]


def ordinary(seed: int, days: int, a_day: int = 240) -> Iterator[tuple[datetime, list[Record]]]:
    """Yield what users of a platform do, four hours at a time: more by day than by night, no two weeks alike."""
    draw = Random(seed)
    for step in range(days * 6):
        begun = FIRST + timedelta(hours=4 * step)
        busy = 0.4 if begun.hour < 6 or begun.weekday() > 4 else 1.3
        records = []
        for _ in range(draw.randint(int(a_day / 6 * busy * 0.8) + 1, int(a_day / 6 * busy * 1.2) + 2)):
            at = begun + timedelta(seconds=draw.uniform(0, 4 * 3600))
            records.append(
                {
                    "timestamp": at.isoformat(), "account_id": f"acme-{draw.randint(1, 40)}",
                    "user_id": f"user.{draw.randint(1, 400)}", "ip_address": f"203.0.113.{draw.randint(1, 250)}",
                    "action": draw.choice(ACTIONS), "result": draw.choice(["ok"] * 9 + ["denied"]),
                }
            )  # fmt: skip
        yield begun + timedelta(hours=4), sorted(records, key=lambda r: str(r["timestamp"]))


def as_activity(record: Record) -> bytes:
    return json.dumps(record).encode()


def as_access(record: Record) -> bytes:
    """The same as a web server writes it."""
    at = datetime.fromisoformat(record["timestamp"])
    method = record.get("method") or ("GET" if record["action"] < "m" else "POST")
    status = record.get("code") or ("200" if record["result"] == "ok" else "403")
    return (
        f"{record['ip_address']} - {record['user_id']} [{at:%d/%b/%Y:%H:%M:%S} +0000] "
        f'"{method} /accounts/{record["account_id"]}/logs HTTP/1.1" {status} 2326 "-" "Mozilla/5.0"'
    ).encode()


WRITTEN: dict[str, Callable[[Record], bytes]] = {ACTIVITY: as_activity, ACCESS: as_access}


@pytest.mark.parametrize("seed", [1, 20])
def test_thirty_ordinary_days_of_usage_change_nothing(tmp_path: Path, seed: int) -> None:
    site = Site(tmp_path)
    for at, records in ordinary(seed, 30):
        site.now = at
        made = [one for name in WRITTEN for one in _came(site, name, records)]
        site.warehouse.quality.check(made, at)
    past = site.warehouse.quality._past
    assert past is not None
    assert past.found == []
    assert all(past.profiles[name].rows > 25 * 150 for name in WRITTEN)


def _later(hours: float) -> Callable[[Record], Any]:
    def move(record: Record) -> None:
        at = datetime.fromisoformat(record["timestamp"]) - timedelta(hours=hours)
        record["timestamp"] = at.isoformat()

    return move


def _without(*names: str) -> Callable[[Record], Any]:
    return lambda record: [record.pop(name) for name in names]


def _with(**more: str) -> Callable[[Record], Any]:
    return lambda record: record.update(more)


PLANTED: dict[str, tuple[str, Callable[[Record], Any], tuple[str, str]]] = {
    "an account is no longer written": (ACTIVITY, _without("account_id"), ("account", "missing")),
    "an address is no longer written": (ACTIVITY, _without("ip_address"), ("address", "missing")),
    "an action of no known shape": (ACTIVITY, _with(action="Someone did: something!"), ("action", "missing")),
    "a user is no longer known": (ACCESS, _with(user_id="-"), ("user", "missing")),
    "a zone that moved": (ACTIVITY, _later(5), ("event_time", "zone")),
    "a new method": (ACCESS, _with(method="PATCH"), ("method", "codes")),
    "an answer never given before": (ACCESS, _with(code="503"), ("status", "codes")),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_changes_is_named_at_the_first_flush(tmp_path: Path, planted: str) -> None:
    name, how, (column, what) = PLANTED[planted]
    site = Site(tmp_path)
    steps = list(ordinary(7, 6, 900))
    for at, records in steps[:-3]:
        site.now = at
        site.warehouse.quality.check(_came(site, name, records), at)
    assert site.warehouse.quality.current(site.now) == []
    site.now, records = steps[-3]
    found = site.warehouse.quality.check(_came(site, name, records, how), site.now)
    assert (column, what) in {(one.column, one.what) for one in found}


def test_an_hour_of_usage_sent_again_is_named_and_nothing_of_a_person_is_kept(tmp_path: Path) -> None:
    site = Site(tmp_path)
    steps = list(ordinary(3, 6, 900))
    for at, records in steps:
        site.now = at
        site.commit({ACTIVITY: [*map(as_activity, records)]})
    site.now += timedelta(minutes=5)
    found = site.commit({ACTIVITY: [*map(as_activity, steps[-1][1])]})
    assert ("event_time", "repeated") in {(one.column, one.what) for one in found}
    site.warehouse.quality.save()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "warehouse" / "_quality").rglob("*.json"))
    assert kept
    for word in (b"user.", b"acme-", b"203.0.113", b"login", b"denied"):
        assert word not in kept


def _came(
    site: Site, name: str, records: list[Record], how: Callable[[Record], Any] = lambda _record: None
) -> list[TransformedBatch]:
    """Split what came in some hours, each half hour a batch as the broker got it; `how` changes what was written."""
    halves: dict[datetime, list[bytes]] = {}
    for record in records:
        sent = datetime.fromisoformat(record["timestamp"])
        how(record)
        half = sent.replace(minute=sent.minute // 30 * 30, second=0, microsecond=0) + timedelta(minutes=30)
        halves.setdefault(half, []).append(WRITTEN[name](record))
    load = []
    for half, values in sorted(halves.items()):
        first = site.offsets.get(name, 0)
        site.offsets[name] = first + len(values)
        load.append(batch_of([*values], name, first, half))
    return site.runtime.transform.process_all(load, formats.get(name))
