"""What comes before anything else opens: a password of one's own, a second factor; and what if that was lost."""

from __future__ import annotations

import itertools
from hashlib import sha1
from pathlib import Path

import pyotp
import pytest
from access_world import PASSWORD, World

from lethe.operations.access.accounts import Accounts, Demand, Due, Person
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.passwords import check_chosen
from lethe.operations.access.recovery import Recoveries
from lethe.operations.access.roles import Role
from lethe.schemas.errors import ConfigurationError, InputError, LetheError

OWN = "three lanterns of the harbour"


def common(count: int) -> list[str]:
    """Give common passwords of breaches that are long enough: as they are, said twice, or with a year."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    words = FREQUENCY_LISTS["passwords"]
    made = ([w, w + w, w + "2024", w + "123456789"] for w in words if len(set(w)) > 5)
    fitting = (p for p in itertools.chain.from_iterable(made) if len(p) >= 12)
    return list(itertools.islice(fitting, count))


def test_three_thousand_common_passwords_are_refused() -> None:
    taken = []
    for password in common(3_000):
        try:
            check_chosen(password, "amal")
        except LetheError:
            continue
        taken.append(password)
    assert taken == []
    for good in (OWN, PASSWORD, "パスワードはとても長いです"):
        check_chosen(good, "amal")


def test_a_sites_file_of_stolen_passwords_is_compared(tmp_path: Path) -> None:
    stolen = [
        "a quite unusual phrase",
        "another quite unusual one",
        *(f"filler {n} of the file" for n in range(500)),
    ]
    lines = sorted(sha1(p.encode()).hexdigest().upper() for p in stolen)
    for end in ("\n", ":17\r\n"):
        path = tmp_path / "stolen.txt"
        path.write_bytes("".join(line + end for line in lines).encode())
        for password in stolen:
            with pytest.raises(LetheError, match="stolen elsewhere"):
                check_chosen(password, "amal", path)
        check_chosen(OWN, "amal", path)
    path.write_bytes(b"")
    check_chosen(OWN, "amal", path)
    with pytest.raises(ConfigurationError, match="breached_passwords cannot be read"):
        check_chosen(OWN, "amal", tmp_path / "none")


def test_a_first_password_lasts_a_day_and_opens_nothing(world: World) -> None:
    made = world.accounts.add("amal", "", [Role.INVESTIGATOR], PASSWORD, first=True)
    who = world.sessions.who(world.sessions.start(made.id))
    assert who is not None
    assert (who.person.due, who.person.may()) == (Due.PASSWORD, frozenset())
    with pytest.raises(LetheError, match="than the present one"):
        world.accounts.change_password(made.id, PASSWORD)
    world.wait(hours=24)
    with pytest.raises(RefusedError):
        world.accounts.sign_in("amal", PASSWORD, "")
    world.accounts.set_password(made.id, PASSWORD)  # a new first one
    world.accounts.sign_in("amal", PASSWORD, "")
    world.accounts.change_password(made.id, OWN)
    world.wait(days=400)
    assert world.accounts.sign_in("amal", OWN, "").due is None
    who = world.sessions.who(world.sessions.start(made.id))
    assert who is not None
    assert who.person.may()


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("demand", list(Demand))
def test_of_whom_a_second_factor_is_demanded(world: World, demand: Demand, role: Role) -> None:
    weighs = role in (Role.INVESTIGATOR, Role.APPROVER, Role.PRIVACY_OFFICER, Role.ADMINISTRATOR)
    demanded = demand is Demand.ALL or (demand is Demand.WEIGHT and weighs)
    amal = world.person("amal", role)
    elsewhere = world.person("elsa", role, password=None)  # signs in at the identity provider
    sessions = world.demanding(demand)
    token, other = sessions.start(amal.id), sessions.start(elsewhere.id)

    def due(token: str) -> Due | None:
        who = sessions.who(token)
        assert who is not None
        assert bool(who.person.may()) == (who.person.due is None)
        return who.person.due

    assert due(token) is (Due.SECOND_FACTOR if demanded else None)
    secret = world.accounts.new_totp(amal.id)
    assert due(token) is (Due.SECOND_FACTOR if demanded else None), "set up, but no code of it was seen"
    world.accounts.confirm_totp(amal.id, pyotp.TOTP(secret).at(world.now))
    assert due(token) is None
    assert due(other) is None


@pytest.mark.parametrize(
    ("seconds", "counts"), [(-1, False), (0, True), (29, True), (30, False), (60, False)]
)
def test_a_code_lives_thirty_seconds(world: World, seconds: int, counts: bool) -> None:
    amal = world.person("amal", Role.AUDITOR)
    totp = pyotp.TOTP(world.accounts.new_totp(amal.id))
    world.accounts.confirm_totp(amal.id, totp.at(world.now))
    world.wait(minutes=10)
    assert world.now.second % 30 == 0
    code = totp.at(world.now)
    world.wait(seconds=seconds)
    try:
        world.accounts.sign_in("amal", PASSWORD, code)
    except RefusedError:
        assert not counts
    else:
        assert counts
        with pytest.raises(RefusedError):
            world.accounts.sign_in("amal", PASSWORD, code)


def enrolled(world: World, name: str, *roles: Role) -> Person:
    person = world.person(name, *roles)
    world.accounts.confirm_totp(person.id, pyotp.TOTP(world.accounts.new_totp(person.id)).at(world.now))
    return person


def test_a_lost_second_factor_is_taken_off_by_two(world: World) -> None:
    amal = enrolled(world, "amal", Role.INVESTIGATOR)
    gus, gia = world.person("gus", Role.ADMINISTRATOR), world.person("gia", Role.ADMINISTRATOR)
    bela, carl = world.person("bela", Role.APPROVER), world.person("carl", Role.AUDITOR)
    recoveries = Recoveries(world.database, world.clock, world.audit)
    with pytest.raises(RefusedError, match="asks first"):
        recoveries.perform(gia, amal.id, "gia")
    for asker in (bela, carl, amal):
        with pytest.raises(RefusedError):
            recoveries.ask(asker, amal.id, "seen face to face, with her badge")
    with pytest.raises(InputError):
        recoveries.ask(gus, amal.id, "short")
    with pytest.raises(InputError):
        recoveries.ask(gus, carl.id, "seen face to face, with his badge")  # has none
    recoveries.ask(gus, amal.id, "seen face to face, with her badge")
    for nobody in (gus, carl, amal):
        with pytest.raises(RefusedError):
            recoveries.perform(nobody, amal.id, nobody.name)
    token = world.sessions.start(amal.id)
    password = recoveries.perform(bela, amal.id, "bela")
    assert world.sessions.who(token) is None
    for old in (PASSWORD, ""):
        with pytest.raises(RefusedError):
            world.accounts.sign_in("amal", old, "")
    assert not world.accounts.sign_in("amal", password, "").enrolled
    who = world.sessions.who(world.sessions.start(amal.id))
    assert who is not None
    assert who.person.due is Due.PASSWORD
    assert [e["action"] for e in world.entries] == ["second-factor.recovery", "second-factor.off"]
    with pytest.raises(RefusedError):
        recoveries.perform(gia, amal.id, "gia")


def test_a_recovery_ends_after_a_day_and_needs_its_entry(world: World) -> None:
    amal = enrolled(world, "amal", Role.INVESTIGATOR)
    gus, gia = world.person("gus", Role.ADMINISTRATOR), world.person("gia", Role.ADMINISTRATOR)
    recoveries = Recoveries(world.database, world.clock, world.audit)
    recoveries.ask(gus, amal.id, "seen face to face, with her badge")
    world.wait(days=1)
    with pytest.raises(RefusedError):
        recoveries.perform(gia, amal.id, "gia")
    recoveries.ask(gus, amal.id, "seen face to face, with her badge")
    world.audit_fails = True
    with pytest.raises(ConfigurationError):
        recoveries.perform(None, amal.id, "root")
    world.audit_fails = False
    assert next(p for p in world.accounts.all() if p.name == "amal").enrolled
    recoveries.refuse(gia, amal.id)
    assert recoveries.waiting(gia) == []


def test_accounts_of_an_earlier_release_need_no_first_password(world: World) -> None:
    accounts = Accounts(world.database, world.ring, world.clock)
    amal = accounts.add("amal", "", [Role.AUDITOR], PASSWORD)
    world.wait(days=1000)
    assert accounts.sign_in("amal", PASSWORD, "").due is None
    assert amal.due is None
