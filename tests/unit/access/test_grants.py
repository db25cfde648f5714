"""Grants: who reads what, for how long, and who had to agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from access_world import World

from lethe.operations.access.accounts import Person
from lethe.operations.access.grants import Action, Read, RefusedError, State
from lethe.operations.access.roles import Role
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, LetheError

MONTHS = ("2026-01", "2026-03")
HER = "+923001234567"


def read(person: Person, case: str, action: Action = Action.LOOKUP, rows: int | None = None) -> Read:
    return Read(person.id, action, case, *MONTHS, rows=rows)


@pytest.fixture
def amal(world: World) -> Person:
    return world.person("amal", Role.INVESTIGATOR)


@pytest.fixture
def bela(world: World) -> Person:
    return world.person("bela", Role.APPROVER)


def test_without_a_grant_nothing_is_read(world: World, amal: Person) -> None:
    case = world.case(amal)
    with pytest.raises(RefusedError, match="there is no grant"):
        world.desk.use(amal, read(amal, case.id), [HER])


def test_a_grant_without_weight_is_given_at_once_and_ends(world: World, amal: Person) -> None:
    case = world.case(amal)
    world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 100, [], "to see")
    assert world.desk.use(amal, read(amal, case.id), [HER]).used == 1
    world.wait(days=7)
    with pytest.raises(RefusedError, match="ended"):
        world.desk.use(amal, read(amal, case.id), [HER])


def test_rows_run_out_over_all_reads(world: World, amal: Person) -> None:
    case = world.case(amal)
    world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 3, [], "to see")
    grant = world.desk.use(amal, read(amal, case.id), [HER])
    world.desk.took(grant.id, 2)
    world.desk.use(amal, read(amal, case.id), [HER])
    with pytest.raises(RefusedError, match="used up"):
        world.desk.use(amal, read(amal, case.id), [HER])


def test_what_weighs_needs_a_second_person_who_sees_exactly_it(
    world: World, amal: Person, bela: Person
) -> None:
    case = world.case(amal)
    world.desk.ask(amal, Action.BULK_REVEAL, case.id, MONTHS, 10, [HER, "x@example.com"], "a ring")
    wanted = read(amal, case.id, Action.BULK_REVEAL, 2)
    with pytest.raises(RefusedError, match="requested"):
        world.desk.use(amal, wanted, [HER, "x@example.com"])
    (asked,) = world.desk.waiting(bela)
    assert asked.values == (HER, "x@example.com")
    assert asked.reason == "a ring"
    with pytest.raises(RefusedError, match="not what was asked"):
        world.desk.approve(bela, asked.grant.id, "0" * 64)
    world.desk.approve(bela, asked.grant.id, asked.digest)
    with pytest.raises(RefusedError, match="another subject"):
        world.desk.use(amal, wanted, [HER])
    assert world.desk.use(amal, wanted, ["x@example.com", HER]).approved_by == bela.id


def test_nobody_approves_their_own_request_whatever_their_roles(world: World) -> None:
    both = world.person("both", Role.INVESTIGATOR, Role.APPROVER)
    case = world.case(both)
    grant = world.desk.ask(both, Action.HOLD, case.id, MONTHS, 10, [HER], "an order")
    assert world.desk.waiting(both) == []
    with pytest.raises(RefusedError, match="second person"):
        world.desk.approve(both, grant.id, grant.scope.digest())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda w, a, b, c, g: w.desk.revoke(a, g.id),
        lambda w, a, b, c, g: w.desk.revoke(b, g.id),
        lambda w, a, b, c, g: w.cases.close(a, c.id),
        lambda w, a, b, c, g: w.accounts.set_roles(a.id, [Role.OPERATOR]),
        lambda w, a, b, c, g: w.accounts.disable(a.id),
    ],
    ids=["taken back", "taken back by an approver", "case closed", "role gone", "account closed"],
)
def test_what_ends_a_grant(world: World, amal: Person, bela: Person, spoil: Callable[..., None]) -> None:
    case = world.case(amal)
    grant = world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 10, [], "to see")
    world.desk.use(amal, read(amal, case.id), [HER])
    spoil(world, amal, bela, case, grant)
    now = {p.id: p for p in world.accounts.all()}[amal.id]
    with pytest.raises(RefusedError):
        world.desk.use(now, read(amal, case.id), [HER])


def test_a_closed_account_that_is_opened_again_has_nothing_open(
    world: World, amal: Person, bela: Person
) -> None:
    """Neither what was granted nor what waits for somebody's approval comes back with it."""
    case = world.case(amal)
    world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 10, [], "to see")
    waits = world.desk.ask(amal, Action.HOLD, case.id, MONTHS, 10, [HER], "an order")
    eve = world.person("eve", Role.INVESTIGATOR)
    another = world.desk.ask(eve, Action.LOOKUP, world.case(eve, "F-2").id, MONTHS, 10, [], "to see")
    world.accounts.disable(amal.id)
    assert world.desk.waiting(bela) == []
    with pytest.raises(RefusedError):
        world.desk.approve(bela, waits.id, waits.scope.digest())
    world.accounts.disable(amal.id, False)
    with pytest.raises(RefusedError, match="revoked"):
        world.desk.use(amal, read(amal, case.id), [HER])
    assert world.desk.of(eve, grant=another.id)[0].grant.state is State.APPROVED
    world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 10, [], "again")
    world.desk.use(amal, read(amal, case.id), [HER])


def test_another_persons_case_and_grant_do_not_exist(world: World, amal: Person) -> None:
    case = world.case(amal)
    world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 10, [], "to see")
    eve = world.person("eve", Role.INVESTIGATOR)
    for attempt in (
        lambda: world.desk.use(eve, read(eve, case.id), [HER]),
        lambda: world.desk.ask(eve, Action.LOOKUP, case.id, MONTHS, 10, [], "me too"),
        lambda: world.cases.entries(eve, case.id),
        lambda: world.cases.add(eve, case.id, "note", "hello"),
        lambda: world.cases.close(eve, case.id),
    ):
        with pytest.raises(RefusedError):
            attempt()


def test_break_glass_opens_for_an_hour_and_stays_on_the_board_until_reviewed(
    world: World, amal: Person
) -> None:
    case = world.case(amal)
    grant = world.desk.ask(amal, Action.BULK_REVEAL, case.id, MONTHS, 5, [HER], "a child", break_glass=True)
    world.desk.use(amal, read(amal, case.id, Action.BULK_REVEAL, 1), [HER])
    assert world.entries[-1]["action"] == "grant.break-glass"
    world.wait(hours=1)
    with pytest.raises(RefusedError, match="ended"):
        world.desk.use(amal, read(amal, case.id, Action.BULK_REVEAL, 1), [HER])
    world.wait(days=3)
    (open_,) = world.desk.unreviewed()
    assert open_.review_by is not None
    assert open_.review_by < world.now
    with pytest.raises(RefusedError):
        world.desk.review(amal, grant.id)
    carl = world.person("carl", Role.AUDITOR)
    world.desk.review(carl, grant.id)
    assert world.desk.unreviewed() == []


def test_a_purpose_allows_what_it_was_declared_for(world: World, amal: Person) -> None:
    case = world.case(amal, "D-1", "dispute")
    with pytest.raises(RefusedError, match="no part of the purpose"):
        world.desk.ask(amal, Action.REVEAL, case.id, MONTHS, 10, [], "curious")


def test_without_an_audit_entry_nothing_is_granted_or_approved(
    world: World, amal: Person, bela: Person
) -> None:
    case = world.case(amal)
    held = world.desk.ask(amal, Action.HOLD, case.id, MONTHS, 10, [HER], "an order")
    world.audit_fails = True
    with pytest.raises(ConfigurationError):
        world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 10, [], "to see")
    with pytest.raises(ConfigurationError):
        world.desk.approve(bela, held.id, held.scope.digest())
    with pytest.raises(ConfigurationError):
        world.desk.ask(amal, Action.REVEAL, case.id, MONTHS, 10, [], "now!", break_glass=True)
    world.audit_fails = False
    assert [a.grant.state.value for a in world.desk.of(amal)] == ["requested"]


def test_different_subjects_of_a_day_are_capped(world: World, amal: Person) -> None:
    case = world.case(amal)
    world.desk.ask(amal, Action.LOOKUP, case.id, MONTHS, 100, [], "to see")
    for number in range(5):
        for _ in range(2):
            world.desk.use(amal, read(amal, case.id), [f"+9230012345{number:02}"])
    with pytest.raises(RefusedError, match="subjects a day"):
        world.desk.use(amal, read(amal, case.id), ["+923001234599"])
    world.wait(hours=10)
    world.desk.use(amal, read(amal, case.id), ["+923001234599"])


def test_what_a_case_holds_of_persons_is_sealed_and_goes_with_it(
    world: World, amal: Person, tmp_path: Path
) -> None:
    case = world.case(amal)
    world.cases.add(amal, case.id, "target", HER)
    world.cases.add(amal, case.id, "target", f" {HER} ")
    world.cases.add(amal, case.id, "note", "her brother's SIM")
    world.desk.ask(amal, Action.HOLD, case.id, MONTHS, 10, [HER], "order of 3 March, +923001234567")
    assert [(e.kind, e.text, e.author) for e in world.cases.entries(amal, case.id)] == [
        ("target", HER, "amal"),
        ("note", "her brother's SIM", "amal"),
    ]
    data = b"".join(f.read_bytes() for f in tmp_path.glob("service.db*"))
    for secret in (HER, HER[1:], "brother", "SIM swap", "order of"):
        assert secret.encode() not in data
    world.cases.close(amal, case.id)
    world.cases.close(amal, case.id)
    assert world.cases.get(amal, case.id).title is None
    assert world.cases.entries(amal, case.id) == []
    assert world.desk.of(amal)[0].values == ()
    with pytest.raises(ExpiredKeyError):
        world.ring.named(f"case.{case.id}")


def test_a_reference_is_nobodys_number(world: World, amal: Person) -> None:
    with pytest.raises(LetheError, match="nobody's number"):
        world.cases.open(amal, "923001234567", "", "fraud")
