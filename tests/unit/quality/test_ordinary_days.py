"""Ordinary days raise no alarm, whatever the seed; what is compared costs next to nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from quality_world import FORMATS, Site, ordinary

LAST = datetime(2026, 3, 31, tzinfo=UTC)


@pytest.mark.parametrize("seed", [1, 20, 300])
def test_thirty_ordinary_days_change_nothing(tmp_path: Path, seed: int) -> None:
    """All formats together, one flush a day; one of the seeds through the whole commit."""
    site = Site(tmp_path)
    runs = {name: dict(ordinary(name, seed, 30 * 300, LAST, hours=24)) for name in FORMATS}
    for at in sorted({at for run in runs.values() for at in run}):
        site.now = at
        if seed == 1:
            site.commit({name: run.get(at, []) for name, run in runs.items()})
        else:
            made = [one for name, run in runs.items() for one in site.transformed(name, run.get(at, []))]
            site.warehouse.quality.check(made, at)
    found = site.warehouse.quality.current(site.now)
    past = site.warehouse.quality._past
    assert past is not None
    assert [*found, *past.found] == []
    assert {name: past.profiles[name].rows > 25 * 300 for name in FORMATS} == dict.fromkeys(FORMATS, True)
