"""What the audit says of people: enough to answer who looked at whom, nothing that links months of the window."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from audits import audit_bytes
from retention_world import World, report

from lethe.keys.tokens import message_token
from lethe.operations.asker import Asker
from lethe.operations.intake import quarantine
from lethe.operations.oversight import disclosures
from lethe.operations.proof.evidence import evidence
from lethe.operations.retention import hold
from lethe.operations.rights import erase, export, restrict
from lethe.operations.window.identify import identify
from lethe.operations.window.lookup import lookup, lookup_held
from lethe.operations.window.reveal import reveal
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month

HER, HIM = "+923001234567", "+4915112345678"
MONTHS = ("2025-02", "2025-03")
EVE = Asker.of("eve", "F-1", "fraud")


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    days = [datetime(2025, month, 9, 12, tzinfo=UTC) for month in (2, 3)]
    world.ingest([report(i, n, day) for i, (n, day) in enumerate((n, d) for n in (HER, HIM) for d in days)])
    world.ingest([b'{"messageId":"broken","to":"+923001234567","sentAt":"never"}'])
    return world


def ask_everything(world: World) -> None:
    runtime = world.runtime
    record = lookup(runtime, EVE, HER).records[0]["record"]
    lookup(runtime, EVE, "m-00000000")
    reveal(runtime, EVE, Position.parse(record))
    evidence(runtime, EVE, Position.parse(record))
    (broken,) = quarantine.listed(runtime, None, None, 10)
    quarantine.reveal(runtime, EVE, Position.parse(broken.record))
    export.export(runtime, EVE, HER)
    restrict.restrict(runtime, EVE, HER)
    restrict.lift(runtime, EVE, HER)
    order = hold.Order(
        "Court", "HC-1", datetime(2025, 12, 31, tzinfo=UTC), people=[HIM], messages=["m-00000000"]
    )
    hold.place(runtime, EVE, order)
    lookup_held(runtime, EVE, HIM, "HC-1")
    erase.preview(runtime, EVE, HER)
    erase.erase(runtime, EVE, HER)


def spellings(token: bytes) -> list[bytes]:
    return [token, token.hex().encode(), token.hex().upper().encode(), base64.b64encode(token)[:-3]]


def test_an_entry_holds_nothing_from_which_months_can_be_linked(world: World) -> None:
    tokens = [t for number in (HER, HIM) for t in world.tokens(number, MONTHS).values()]
    ring = world.runtime.ring
    tokens += [message_token(ring.keys_for(Month.parse(m)), f"m-{i:08}") for m in MONTHS for i in range(4)]
    ask_everything(world)
    data = audit_bytes(world.keys)
    assert len(list(world.runtime.audit.entries())) == 13
    for token in tokens:
        for spelling in spellings(token):
            assert spelling not in data
    for entry in world.runtime.audit.entries():
        assert "tokens" not in entry
        assert not ("record" in entry and "subjects" in entry), "whom a record is of ends with its month"


@pytest.mark.parametrize("said", ["token", "number", "both"])
def test_what_is_looked_at_after_each_test_would_be_seen(world: World, said: str) -> None:
    token = world.tokens(HER, ["2025-03"])["2025-03"].hex()
    more = {
        "token": {"subjects": [token]},
        "number": {"purpose": f"call {HER}"},
        "both": {"record": "cdr/0/1", "subjects": []},
    }
    world.check_audit()
    world.runtime.audit.append({"who": "eve", "action": "lookup", **more[said]}, world.now)
    with pytest.raises(AssertionError, match="lookup"):
        world.check_audit()
    world.watched = False  # seen already


def test_who_looked_is_known_when_the_month_of_the_record_is_gone(world: World) -> None:
    runtime = world.runtime
    lookup(runtime, EVE, HER)
    lookup(
        runtime, Asker.of("adam", "F-2", "fraud"), "m-00000000"
    )  # a message of hers: what is shown is hers
    lookup(runtime, Asker.of("bob", "F-3", "fraud"), HIM)
    world.now = datetime(2026, 4, 2, tzinfo=UTC)
    world.sweep(forced=True)
    later = world.runtime
    assert lookup(later, Asker.of("carl", "F-4", "audit"), "0092 300 1234567").records == []
    looks = [(e["who"], e["time"][:7]) for e in disclosures.about(later, identify(HER).subjects)]
    assert looks == [("eve", "2025-03"), ("adam", "2025-03"), ("carl", "2026-04")]
    assert [e["who"] for e in export.export(later, EVE, HER, names=True).content["looked_at"]] == [
        "eve",
        "adam",
        "carl",
    ]
    assert list(disclosures.about(later, identify("+923009999999").subjects)) == []


def test_a_person_has_another_token_each_month_of_the_audit(world: World) -> None:
    lookup(world.runtime, EVE, HER)
    world.now = datetime(2025, 4, 1, tzinfo=UTC)
    lookup(world.runtime, EVE, HER)
    first, second = (set(e["subjects"]) for e in world.runtime.audit.entries())
    assert first
    assert first.isdisjoint(second)


def test_entries_of_an_earlier_release_match_while_the_month_lives(world: World) -> None:
    token = world.tokens(HER, ["2025-03"])["2025-03"].hex()
    world.runtime.audit.append({"who": "old", "action": "lookup", "tokens": [token]}, world.now)
    assert [e["who"] for e in export.export(world.runtime, EVE, HER, names=True).content["looked_at"]] == [
        "old"
    ]
    assert export.export(world.runtime, EVE, HIM).content["looked_at"] == []
