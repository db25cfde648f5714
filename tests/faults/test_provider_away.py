"""A key provider that is away for half an hour: who has its months open goes on, and nothing that ends is forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from plant import Plant, Writer, source_of
from workers import traffic

from lethe.keys.providers.local import LocalProvider
from lethe.operations.health.doctor import checks
from lethe.operations.keys.check import check_keys
from lethe.operations.retention.sweep import maintenance_context
from lethe.schemas.errors import ExpiredKeyError, TransientError
from lethe.schemas.retention.calendar import window_end
from lethe.tiers.retention.sweep import sweep

SOURCE = source_of("cdr")
AWAY = ("create", "wrap", "unwrap", "destroy", "destroyed_for_good_at", "list")


def take_away(patch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise TransientError("the provider does not answer")

    for name in AWAY:
        patch.setattr(LocalProvider, name, away)


def test_a_worker_goes_on_for_half_an_hour_and_loses_nothing(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = plant.records(SOURCE, traffic(900, seed=4, malformed=0.02))
    worker = Writer(plant)
    worker.commit(SOURCE, values, 0, 99)
    plant.ahead = timedelta(minutes=19)
    worker.commit(SOURCE, values, 100, 199)
    with monkeypatch.context() as patch:
        take_away(patch)
        for number, minutes in enumerate((21, 30, 40, 49, 59)):  # renewed at 20 minutes, in force for 60
            plant.ahead = timedelta(minutes=minutes)
            worker.commit(SOURCE, values, 200 + 100 * number, 299 + 100 * number)
        plant.ahead = timedelta(minutes=61)
        with pytest.raises(TransientError):
            worker.commit(SOURCE, values, 700, 799)
    worker.go_on(SOURCE, values)
    plant.judge()


def test_a_month_that_ends_meanwhile_is_refused_at_once_and_destroyed_when_the_provider_is_back(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused by the calendar, said by sweep and doctor, destroyed by the next sweep: late, but never unnoticed."""
    values = plant.records(SOURCE, traffic(200, seed=5))
    worker = Writer(plant)
    worker.go_on(SOURCE, values)
    first = worker.ring.list(plant.now())[0]
    ends = window_end(first.month, first.window_months)
    with monkeypatch.context() as patch:
        plant.ahead = ends + timedelta(minutes=5) - plant.now()
        take_away(patch)
        with pytest.raises(ExpiredKeyError):
            worker.ring.keys_for(first.month, first.window_months)
        with pytest.raises(TransientError, match="the provider does not answer"):
            sweep(maintenance_context(plant.runtime(), True), plant.runtime().settings.retention)
        plant.ahead += timedelta(days=3)
        reports = {r.key_id: r for r in check_keys(plant.runtime().ring, plant.now())}
        assert reports[first.key_id].trouble
    plant.ahead += timedelta(minutes=1)
    reports = {r.key_id: r for r in check_keys(plant.runtime().ring, plant.now())}
    assert "3 days ago and it is still held" in reports[first.key_id].trouble
    found = [c for c in checks(plant.runtime(), {}) if c.what == f"keys {first.key_id}"]
    assert [c.state for c in found] == ["wrong"]
    sweep(maintenance_context(plant.runtime(), True), plant.runtime().settings.retention)
    reports = {r.key_id: r for r in check_keys(plant.runtime().ring, plant.now())}
    assert (reports[first.key_id].state, reports[first.key_id].trouble) == ("destroyed", "")
