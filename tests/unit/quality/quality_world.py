"""Ordinary days, hour by hour, and what a vendor may do to them: through the kernel and the real commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from transform_kit import batch_of

from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.declaration import format as formats
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Source
from lethe.testing.traffic import FORMATS, generate
from lethe.tiers.quality.past import Found
from lethe.tiers.warehouse import Warehouse

Record = dict[str, Any]
SMS, INBOUND, VOICE, EMAIL = FORMATS
_CAME: dict[str, datetime] = {}
"""When the broker got a message: at the end of the half hour in which it was sent."""
_SENT = {SMS: "sentAt", INBOUND: "receivedAt", VOICE: "sentAt", EMAIL: "sentAt"}


def ordinary(
    name: str, seed: int, count: int, last: datetime, hours: int = 4
) -> Iterator[tuple[datetime, list[bytes]]]:
    """Yield the records of the month that ends at `last`, as they were sent: some hours at a time."""
    timed = []
    for value in generate(name, count, seed, until=last, months=1):
        sent = datetime.fromisoformat(json.loads(value)[_SENT[name]])
        timed.append((sent, value))
        half = sent.replace(minute=sent.minute // 30 * 30, second=0, microsecond=0) + timedelta(minutes=30)
        _CAME[json.loads(value)["messageId"]] = half
    timed.sort()
    at, some = timed[0][0].replace(minute=0, second=0, microsecond=0) + timedelta(hours=hours), []
    for sent, value in timed:
        while sent >= at:
            yield at, some
            at, some = at + timedelta(hours=hours), []
        some.append(value)
    yield at, some


@dataclass
class Site:
    """One installation, its clock, and processes that commit."""

    folder: Path
    now: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    offsets: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = Settings(root=str(self.folder / "warehouse"), keys_dir=self.folder / "keys")
        self.runtime = Runtime(self.settings, lambda: self.now)
        self.warehouse = self.runtime.new_warehouse()

    def restart(self, killed: bool = False) -> None:
        """Go on as another process."""
        if not killed:
            self.warehouse.quality.save()
        self.runtime = Runtime(self.settings, lambda: self.now)
        self.warehouse = self.runtime.new_warehouse()

    def another(self) -> Warehouse:
        return self.runtime.new_warehouse()

    def transformed(self, name: str, values: list[bytes], topic: str = "") -> list[TransformedBatch]:
        """Split what came in the last hours, each half hour a batch."""
        stream = f"{name}{topic}".replace("/", "-")
        source, load = Source(stream, 0, f"cluster/{stream}/0", name), []
        for sent, some in _as_they_came(values, self.now):
            first = self.offsets.get(stream, 0)
            self.offsets[stream] = first + len(some)
            load.append(replace(batch_of(some, name, first, sent), source=source))
        return self.runtime.transform.process_all(load, formats.get(name)) if load else []

    def commit(
        self, given: Mapping[str, list[bytes]], topic: str = "", other: Warehouse | None = None
    ) -> list[Found]:
        """Take records in, of each format some, and return what is new or goes on in what changed."""
        warehouse = other or self.warehouse
        before = {id(one) for one in warehouse.quality.current(self.now)}
        made = [one for name, values in given.items() for one in self.transformed(name, values, topic)]
        warehouse.commit(made, self.runtime.ring)
        return [one for one in warehouse.quality.current(self.now) if id(one) not in before]


def _as_they_came(values: list[bytes], now: datetime) -> Iterator[tuple[datetime, list[bytes]]]:
    """Yield what came in each half hour, whatever clock the records have; what comes again comes now."""
    halves: dict[datetime, list[bytes]] = {}
    for value in values:
        sent = _CAME.get(json.loads(value).get("messageId"), now)
        halves.setdefault(sent if now - sent < timedelta(days=2) else now, []).append(value)
    yield from sorted(halves.items())


def learned(
    site: Site,
    name: str,
    days: int = 4,
    a_day: int = 900,
    seed: int = 1,
    how: Callable[[Record], Any] = lambda _record: None,
) -> list[bytes]:
    """Let a site see ordinary days, changed by `how`; returns the records that come next, as they are."""
    count = days * a_day
    last = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=days)
    steps = list(ordinary(name, seed, count, last))
    for at, values in steps[:-2]:
        site.now = at
        site.commit({name: changed(values, how)})
    site.now = steps[-2][0]
    return steps[-2][1]


def changed(values: Iterable[bytes], how: Callable[[Record], Any]) -> list[bytes]:
    """Change every record: `how` changes it in place, or returns another."""
    result = []
    for value in values:
        record = json.loads(value)
        other = how(record)
        result.append(json.dumps(record if other is None else other, ensure_ascii=False).encode())
    return result
