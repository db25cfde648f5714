"""The archive: a year leaves at the first instant of year Y+11, or when its country's own period is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from retention_world import World, report

from streams.signer import load_signer
from tiers import certificates, reconcile

PAKISTANI = "+923001234567"
GERMAN = "+4915112345678"
AUSTRIAN = "+436641234567"
MICROSECOND = timedelta(microseconds=1)


def years(world: World) -> list[str]:
    return sorted({r["month"][:4] for r in world.rows("metadata")})


def test_twelve_years_of_traffic_leave_year_by_year(make_world: Callable[..., World]) -> None:
    world = make_world()
    for year in range(2014, 2026):
        world.now = datetime(year + 1, 1, 1, tzinfo=UTC)
        world.ingest(
            [
                report(year, PAKISTANI, datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)),
                report(year + 1, GERMAN, datetime(year, 2, 28 + (year % 4 == 0), tzinfo=UTC)),
            ]
        )
        outcomes = world.sweep()
        gone = [o.what for o in outcomes if o.what.startswith("archive-")]
        assert gone == ([f"archive-{year - 10}-02", f"archive-{year - 10}-12"] if year >= 2024 else [])
        assert years(world) == [str(y) for y in range(max(2014, year - 9), year + 1)]
    assert not [p for p in world.paths("metadata") if "month=2014" in p or "month=2015" in p]
    signer = load_signer(world.keys)
    assert signer is not None
    assert certificates.verify_all(world.runtime.objects, signer.history.keys) > 20
    assert reconcile.check(world.runtime.warehouse) == []


def test_a_year_stays_until_its_last_microsecond(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.traffic(30)
    world.now = datetime(2036, 1, 1, tzinfo=UTC) - MICROSECOND
    world.sweep(forced=True)
    assert years(world) == ["2025"]
    world.now += MICROSECOND
    world.sweep(forced=True)
    assert years(world) == []
    assert world.sweep(forced=True) == []


def test_one_countrys_rows_leave_and_the_others_stay_as_they_were(make_world: Callable[..., World]) -> None:
    policy = {"countries": [{"country": "DE", "archive_years": 2, "reason": "a shorter law"},
                            {"country": "AT", "archive_years": 12, "reason": "a longer law"}]}  # fmt: skip
    world = make_world(retention=policy)
    when = datetime(2025, 3, 9, tzinfo=UTC)
    world.ingest([report(i, n, when) for i, n in enumerate((PAKISTANI, GERMAN, AUSTRIAN))])
    before = {r["country"]: r for r in world.rows("metadata")}
    assert set(before) == {"PK", "DE", "AT"}
    world.now = datetime(2028, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    after = {r["country"]: r for r in world.rows("metadata")}
    assert after == {c: before[c] for c in ("PK", "AT")}
    files = world.paths("metadata")
    assert len([p for p in files if p.endswith(".parquet")]) == 1, "the file that held the rows is gone"
    assert world.sweep(forced=True) == [], "looked into once"
    assert world.paths("metadata") == files
    world.now = datetime(2036, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    assert [r["country"] for r in world.rows("metadata")] == ["AT"]
    world.now = datetime(2038, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    assert world.rows("metadata") == []


@pytest.mark.parametrize("value", ["+923001234567", "0092 300 1234567", "PK", "pk"])
def test_policy_explain_names_the_rule_and_the_instants(value: str) -> None:
    from console.commands.retention import explained
    from schemas.policy import RetentionPolicy

    policy = RetentionPolicy.model_validate(
        {"countries": [{"country": "PK", "window_months": 24, "reason": "clause 9"}]}
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    answer = explained(policy, value, datetime(2024, 2, 29, 23, tzinfo=UTC), now)
    assert answer["rule"] == "of PK"
    assert answer["reason"] == "clause 9"
    assert answer["identifiers_kept_until"] == datetime(2026, 3, 1, tzinfo=UTC)
    assert answer["identifiers_readable"] is True
    assert answer["metadata_kept_until"] == datetime(2035, 1, 1, tzinfo=UTC)
    assert "3001234567" not in str(answer)
