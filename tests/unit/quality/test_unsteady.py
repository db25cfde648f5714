"""A zone that moved is named where arrival is not steady too, and what was only late is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from quality_world import SMS, Record, Site, changed, ordinary

from lethe.schemas.transformed import TransformedBatch
from lethe.tiers.quality.past import Found

LAST = datetime(2026, 3, 5, tzinfo=UTC)
HOUR = 3_600_000


def unsteady(site: Site, values: list[bytes], draw: Random) -> list[TransformedBatch]:
    """Each half hour comes at its end or up to five hours later; some of a window always at once."""
    most = draw.choice([0, HOUR, 5 * HOUR])
    return [
        replace(one, received_ms=one.received_ms + (0 if at % 3 == 0 else draw.randint(0, most)))
        for at, one in enumerate(site.transformed(SMS, values))
    ]


@pytest.fixture
def learned(tmp_path: Path) -> tuple[Site, list[bytes]]:
    site, draw = Site(tmp_path), Random(5)
    steps: Iterator[tuple[datetime, list[bytes]]] = ordinary(SMS, 1, 4 * 900, LAST)
    *before, (at, coming), _ = steps
    for now, values in before:
        site.now = now
        assert site.warehouse.quality.check(unsteady(site, values, draw), now) == []
    site.now = at
    past = site.warehouse.quality._past
    assert past is not None
    low, high = past.profiles[SMS].columns["event_time"].bands["middle"]
    assert high - low > HOUR / 2  # not steady
    return site, coming


def named(found: list[Found]) -> set[tuple[str, str]]:
    return {(one.column, one.what) for one in found}


def behind(minutes: int, values: list[bytes]) -> list[bytes]:
    def how(record: Record) -> None:
        for member in ("sentAt", "doneAt"):
            at = datetime.fromisoformat(record[member]) - timedelta(minutes=minutes)
            record[member] = at.isoformat(timespec="milliseconds")

    return changed(values, how)


@pytest.mark.parametrize("minutes", [60, 300, 330])
def test_a_clock_behind_is_named_though_arrival_is_not_steady(
    learned: tuple[Site, list[bytes]], minutes: int
) -> None:
    site, coming = learned
    made = unsteady(site, behind(minutes, coming), Random(9))
    found = site.warehouse.quality.check(made, site.now)
    assert ("event_time", "zone") in named(found)
    (zone,) = [one for one in found if one.what == "zone"]
    assert f"{minutes // 60} h {minutes % 60:02d} min earlier" in zone.now


def test_a_clock_ahead_is_named_by_what_happens_in_the_future(learned: tuple[Site, list[bytes]]) -> None:
    site, coming = learned
    made = unsteady(site, behind(-60, coming), Random(9))
    assert ("event_time", "future") in named(site.warehouse.quality.check(made, site.now))


def test_what_was_held_back_and_comes_at_once_is_no_other_zone(learned: tuple[Site, list[bytes]]) -> None:
    site, coming = learned
    held = int(site.now.timestamp() * 1000) + HOUR
    late = [replace(one, received_ms=held + at) for at, one in enumerate(site.transformed(SMS, coming[:120]))]
    assert ("event_time", "zone") not in named(site.warehouse.quality.check(late, site.now))


def test_a_file_taken_in_an_hour_later_is_no_other_zone(learned: tuple[Site, list[bytes]]) -> None:
    site, coming = learned
    late = [replace(one, received_ms=-1) for one in site.transformed(SMS, behind(60, coming))]
    assert ("event_time", "zone") not in named(site.warehouse.quality.check(late, site.now))
