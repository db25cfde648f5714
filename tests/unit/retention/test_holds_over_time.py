"""Holds as time goes by: what they cover is counted at every sweep, they end by themselves, and restrictions stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from retention_world import World, person, report

from lethe.operations.asker import Asker
from lethe.operations.health.doctor import _holds
from lethe.operations.retention import hold as use_case
from lethe.operations.retention.expire import preview
from lethe.operations.retention.hold import Order
from lethe.operations.rights import restrict
from lethe.operations.window.lookup import lookup_held
from lethe.schemas.errors import InputError, LetheError
from lethe.schemas.words import counted
from lethe.streams.worker.control_topic import _sweep
from lethe.streams.worker.metrics import Metrics
from lethe.tiers.holds.holds import Holds
from lethe.tiers.rights.erasure import erase

HER = "+923001234567"
HIM = "+4915112345678"
MARCH = datetime(2025, 3, 9, 12, tzinfo=UTC)
EVE = Asker.of("eve", "F-1", "fraud")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    world.ingest([report(n, number, MARCH, account=account) for n, (number, account) in
                  enumerate([(HER, "acme"), (HER, "acme"), (HIM, "acme"), (HIM, "other")])])  # fmt: skip
    return world


def place(world: World, **order: object) -> str:
    review = world.now + timedelta(days=30)
    return use_case.place(world.runtime, EVE, Order("Court", "HC-7", review, **order)).hold  # type: ignore[arg-type]


def holds(world: World) -> Holds:
    return Holds(world.runtime.objects, world.runtime.ring)


def month_later(world: World, month: datetime) -> None:
    """Traffic of others and a sweep, so that nothing looks idle."""
    world.now = month
    world.ingest([report(1000 + int(month.timestamp()), HIM, month - timedelta(hours=1), account="third")])
    world.sweep(forced=True)


def differing(world: World) -> list[tuple[str, int, int]]:
    return [(o.what, o.said, o.rows) for o in world.sweep(forced=True) if o.state == "differs"]


@pytest.mark.parametrize("restricted_first", [True, False])
def test_a_restriction_lasts_as_long_as_a_hold_keeps_the_person(world: World, restricted_first: bool) -> None:
    steps = [lambda: restrict.restrict(world.runtime, EVE, HER), lambda: place(world, accounts=("acme",))]
    for step in steps if restricted_first else reversed(steps):
        step()
    for month in range(4, 19):
        month_later(world, datetime(2025 + (month - 1) // 12, (month - 1) % 12 + 1, 15, tzinfo=UTC))
    shown = lookup_held(world.runtime, EVE, HER, "HC-7")
    assert (shown.records, shown.restricted) == ([], True)
    assert lookup_held(world.runtime, EVE, HIM, "HC-7").records
    assert not world.holding(HER[1:].encode())
    use_case.release(world.runtime, EVE, "HC-7")
    for month in (7, 8):
        month_later(world, datetime(2026, month, 15, tzinfo=UTC))
    assert [p for p in world.paths("_restrictions") if p.endswith(".json")] == []


def test_a_restriction_outlives_an_idle_year_under_a_hold(world: World) -> None:
    """No month opens any more that could say who is restricted: the hold's own key does."""
    restrict.restrict(world.runtime, EVE, HER)
    place(world, accounts=("acme",))
    world.now = datetime(2026, 4, 2, tzinfo=UTC)
    world.sweep(forced=True)
    world.now = datetime(2026, 6, 2, tzinfo=UTC)
    world.sweep(forced=True)
    shown = lookup_held(world.runtime, EVE, HER, "HC-7")
    assert (shown.records, shown.restricted) == ([], True)
    use_case.release(world.runtime, EVE, "HC-7")
    world.sweep(forced=True)
    assert [p for p in world.paths("_restrictions") if p.endswith(".json")] == []


@pytest.mark.parametrize("scope", [{"accounts": ("acme",)}, {"people": (HER,)}])
def test_what_a_hold_covers_is_compared_at_every_sweep(world: World, scope: dict[str, object]) -> None:
    said = {"accounts": 3, "people": 2}[next(iter(scope))]
    hold = place(world, **scope)
    assert differing(world) == []
    # What erasure and expiry take away is preserved, so nothing is missing.
    erase(world.maintenance_context(), person(HER))
    assert differing(world) == []
    # Somebody else's tool takes rows away.
    if "accounts" in scope:
        DeltaTable(str(world.root / "identifiers")).delete("month = '2025-03'")
        found = said - 1  # hers are preserved
    else:
        for path in world.paths(f"_holds/{hold}/records"):
            (world.root / path).unlink()
        found = 0
    expected = [(f"hold-{hold}.2025-03.w12", said, found)]
    assert differing(world) == expected
    assert differing(world) == expected, "it stays reported"
    metrics = Metrics()
    _sweep(world.runtime, metrics)
    assert metrics.registry.get_sample_value("lethe_holds", {"state": "differing"}) == 1.0
    wrong = [c for c in _holds(world.runtime, "holds") if c.state == "wrong"]
    assert len(wrong) == 1
    assert f"it covered {counted(said, 'record')}, there are {found}" in wrong[0].found


def test_a_hold_that_gains_records_and_sees_its_months_end_differs_in_nothing(world: World) -> None:
    place(world, accounts=("acme",))
    world.ingest([report(n, HER, MARCH, account="acme") for n in range(10, 15)])
    assert differing(world) == []
    world.now = datetime(2026, 4, 2, tzinfo=UTC)
    assert {o.state for o in world.sweep(forced=True)} == {"forgotten"}
    assert differing(world) == []
    (hold,) = holds(world).active()
    assert sum(1 for _ in holds(world).records(hold)) == 8


def test_a_hold_with_an_end_is_released_by_the_sweep_audited_and_certified(world: World) -> None:
    placed = world.now
    hold = place(world, accounts=("acme",), days=60)
    assert holds(world).active()[0].ends == placed + timedelta(days=60)
    world.now = placed + timedelta(days=60, microseconds=-1)
    assert world.sweep(forced=True) == []
    with pytest.raises(InputError):
        use_case.extend(world.runtime, EVE, "HC-7", "no dates", None, None)
    with pytest.raises(InputError):
        use_case.extend(world.runtime, EVE, "HC-7", " ", 60, None)
    extended = use_case.extend(world.runtime, EVE, "HC-7", "second order", 60, None)
    assert extended.ends == placed + timedelta(days=120)
    world.now = placed + timedelta(days=100)
    assert world.sweep(forced=True) == []
    assert [c.state for c in _holds(world.runtime, "holds")] == ["warning"]  # its review is past
    review = world.now + timedelta(days=10)
    use_case.extend(world.runtime, EVE, "HC-7", "looked at", None, review)
    assert [c.state for c in _holds(world.runtime, "holds")] == ["ok"]
    world.now = placed + timedelta(days=120)
    (would,) = preview(world.runtime)
    assert (would.what, would.state) == (f"hold-{hold}", "would release")
    (outcome,) = world.sweep(forced=True)
    assert (outcome.what, outcome.state, outcome.certificate) == (f"hold-{hold}", "released", 0)
    assert holds(world).active() == []
    assert not (world.keys / f"hold.{hold}.key").exists()
    entries = [e for e in world.runtime.audit.entries() if e["action"].startswith("hold.")]
    assert [(e["action"], e["who"]) for e in entries] == [
        ("hold.place", "eve"), ("hold.extend", "eve"), ("hold.extend", "eve"), ("hold.release", "the sweep"),
    ]  # fmt: skip
    assert entries[1]["reason"] == "second order"
    assert world.sweep(forced=True) == []


def test_an_end_is_believed_only_with_a_clock_that_is(world: World) -> None:
    place(world, accounts=("acme",), days=60)
    world.now += timedelta(days=400)
    with pytest.raises(LetheError):
        world.sweep()
    assert len(holds(world).active()) == 1


def test_an_extension_that_was_changed_releases_nothing(world: World) -> None:
    hold = place(world, accounts=("acme",), days=60)
    use_case.extend(world.runtime, EVE, "HC-7", "second order", 60, None)
    path = Path(world.root / f"_holds/{hold}/extension.0000.json")
    first = (world.root / f"_holds/{hold}/hold.json").read_bytes()
    path.write_bytes(path.read_bytes().replace(b'"sealed":"', b'"sealed":"AAAA'))
    world.now += timedelta(days=70)
    with pytest.raises(LetheError):
        world.sweep(forced=True)
    assert first == (world.root / f"_holds/{hold}/hold.json").read_bytes()
    assert (world.keys / f"hold.{hold}.key").exists()
