"""Giving up a lost key in every kind of provider, killed at each of its steps: asking again ends it the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from provider_rigs import RIGS, AwsRig, Rig
from retention_killed import killed_at
from retention_world import World, report

from lethe.operations.asker import Asker
from lethe.operations.keys import give_up
from lethe.operations.keys.check import check_keys
from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.certificates import certificates
from lethe.tiers.ledger import reconcile
from lethe.tiers.retention import loss

HER, HIM = "+923001234567", "+4915112345678"
AMAL, BOB = Asker.of("amal", "case-1", "the module died"), Asker.of("bob", "case-1", "the module died")
KILLED: dict[str, tuple[str, ...]] = {
    "2024-08": (),
    "2024-09": ("give_up.audited", "certificate.signed"),
    "2024-10": ("give_up.noted", "give_up.cleared"),
    "2024-11": ("give_up.marked", "provider.create"),
    "2024-12": ("give_up.dropped.identifiers", "provider.wrap"),
    "2025-01": ("give_up.dropped.originals", "give_up.anew"),
    "2025-02": ("give_up.dropped.quarantine", "certificate.written", "give_up.certified"),
}
"""Where giving up each month is killed, one after another. What is left is done by asking again, or by a sweep."""
AT_STUBS = ("2024-08", "2024-11", "2024-12")
"""The months of `KILLED` for the stubs: killed where the provider is used."""
STAYS = "2025-03"


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    home = tmp_path / "provider"
    home.mkdir()
    rig = RIGS[request.param](home)
    yield rig
    rig.close()


@pytest.fixture
def world(rig: Rig, tmp_path: Path) -> World:
    """A warehouse whose months have their keys in the provider."""
    world = World(tmp_path / "world", keys={"provider": "mine", "providers": {"mine": rig.section()}})
    world.now = datetime(2025, 4, 10, 12, tzinfo=UTC)
    if isinstance(rig, AwsRig):
        rig.stub.clock = lambda: world.now  # no material is valid until an instant that is over
    refused = b'{"messageId":"broken","to":"923001234567","sentAt":"never"}'
    world.ingest([record(month, who) for month in (*KILLED, STAYS) for who in (HER, HIM)] + [refused])
    return world


NUMBERS = count(1)


def record(month: str, who: str) -> bytes:
    return report(next(NUMBERS), who, Month.parse(month).start() + timedelta(days=5))


def key(month: str) -> str:
    return f"{month}.w12"


def lose(rig: Rig, month: str) -> None:
    rig.delete(key(month))
    rig.purge(key(month))


def test_killed_at_each_step_it_is_asked_again_and_ends_the_same(rig: Rig, world: World) -> None:
    months = [*KILLED] if rig.name in ("local", "softhsm2", "openbao") else [*AT_STUBS]
    for month in months:
        lose(rig, month)
        if month == months[1]:
            killed_at("lost.audited", world, f"say {key(month)}", rig.environment())
            assert key(month) not in {said.key_id for said in give_up.said(world.runtime)}
        give_up.say(world.runtime, AMAL, key(month), "the module died")
    world.now += timedelta(hours=3)
    for month in months:
        for point in KILLED[month]:
            killed_at(point, world, f"give-up {key(month)}", rig.environment())
        if "give_up.anew" in KILLED[month]:
            world.sweep()
        else:
            give_up.give_up(world.runtime, BOB, key(month), "died")
    assert not list(loss.unfinished(world.runtime.objects))
    undisturbed, *others = sorted(certificates.every(world.runtime.objects), key=lambda c: c["what"]["month"])
    assert [same(one) for one in others] == [same(undisturbed)] * (len(months) - 1)
    assert [one["what"]["month"] for one in (undisturbed, *others)] == months
    assert undisturbed["counts"]["rows_by_table"] == {"identifiers": 2, "originals": 1}
    # What it had sealed is gone, what stays is found, and records of each month come in under other keys.
    assert {row["month"] for row in world.found(HER)} == {*KILLED, STAYS} - {*months}
    world.ingest([record(month, HER) for month in months])
    assert sorted(row["month"] for row in world.found(HER)) == [*KILLED, STAYS]
    assert reconcile.check(world.runtime.warehouse) == []
    assert [one.key_id for one in check_keys(world.runtime.ring, world.now) if one.trouble] == []
    held = rig.provider().list()
    assert {f"{key(month)}.g1" for month in months} <= {*held}
    # Their months end as any other: nothing of either key is left in the provider.
    world.now = datetime(2027, 1, 1, tzinfo=UTC)
    world.sweep(forced=True)
    rig.elapse()
    assert [one for one in rig.provider().list() if one.startswith(("2024", "2025"))] == []


def same(certificate: dict[str, Any]) -> dict[str, Any]:
    """What certificates of months that held the same have in common."""
    counts = {name: value for name, value in certificate["counts"].items() if name != "bytes"}
    return {
        name: certificate[name] for name in ("kind", "why", "held", "restrictions_lost", "method")
    } | counts


@pytest.mark.parametrize("rig", ["aws", "gcp", "azure"], indirect=True)
def test_a_key_whose_deletion_can_be_taken_back_is_not_lost(rig: Rig, world: World) -> None:
    month = next(iter(KILLED))
    rig.delete(key(month))
    (report,) = [one for one in check_keys(world.runtime.ring, world.now) if one.key_id == key(month)]
    assert "if that is a mistake" in report.trouble
    with pytest.raises(ConfigurationError, match=r"was deleted in .* can still be brought back"):
        give_up.say(world.runtime, AMAL, key(month), "somebody deleted it")
    assert give_up.said(world.runtime) == []
    rig.purge(key(month))
    assert (
        "destroyed" in (why := give_up.say(world.runtime, AMAL, key(month), "gone").why)
        or "no such key" in why
    )


@pytest.mark.parametrize("rig", ["local", "softhsm2", "openbao"], indirect=True)
def test_a_provider_that_is_away_or_has_none_of_the_keys_has_lost_nothing(rig: Rig, world: World) -> None:
    month = next(iter(KILLED))
    lose(rig, month)
    if rig.name != "local":  # its outage takes the whole disk away
        with rig.outage(), pytest.raises((TransientError, ConfigurationError)):
            give_up.say(world.runtime, AMAL, key(month), "gone")
    for other in rig.provider().list():
        rig.delete(other)
        rig.purge(other)
    with pytest.raises(ConfigurationError, match="nothing shows that it is the right one"):
        give_up.say(world.runtime, AMAL, key(month), "gone")
    assert give_up.said(world.runtime) == []
