"""Several instances over one PostgreSQL: what one does counts for the others, and nothing is counted twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pyotp
import pytest
import test_accounts
import test_grants
from access_world import PASSWORD, World

from lethe.operations.access.accounts import Accounts
from lethe.operations.access.database import Database
from lethe.operations.access.desk import Desk
from lethe.operations.access.grants import Action, Read, RefusedError
from lethe.operations.access.roles import Role
from lethe.operations.access.sessions import Sessions
from lethe.schemas.errors import LetheError, TransientError

AT_ONCE = 8


def together(*work: Callable[[], Any]) -> list[Any]:
    """Do all at once; what each returned or raised."""
    found: list[Any] = [None] * len(work)
    gate = threading.Barrier(len(work))

    def one(number: int) -> None:
        gate.wait()
        try:
            found[number] = work[number]()
        except Exception as error:  # noqa: BLE001
            found[number] = error

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize(
    "law",
    [
        test_accounts.test_the_migrations_make_what_the_tables_say,
        test_accounts.test_a_password_signs_in_and_a_wrong_one_does_not,
        test_accounts.test_ten_failures_lock_an_account_for_a_quarter_of_an_hour,
        test_accounts.test_a_code_is_needed_once_enrolled_and_counts_once,
        test_accounts.test_a_session_ends_when_idle_after_ten_hours_and_with_its_account,
        test_accounts.test_roles_count_from_the_next_request_on,
        test_grants.test_nobody_approves_their_own_request_whatever_their_roles,
    ],
)
def test_the_same_laws_hold(on_postgresql: World, law: Callable[[World], None]) -> None:
    law(on_postgresql)


def test_grants_and_cases_are_as_on_sqlite(on_postgresql: World) -> None:
    world = on_postgresql
    amal, bela = world.person("amal", Role.INVESTIGATOR), world.person("bela", Role.APPROVER)
    test_grants.test_what_weighs_needs_a_second_person_who_sees_exactly_it(world, amal, bela)


def test_instances_that_start_at_once_bring_the_schema_up_once(new_database: Callable[[], str]) -> None:
    url = new_database()
    databases = [Database(url) for _ in range(4)]
    assert together(*(d.upgrade for d in databases)) == [None] * 4
    assert all(d.is_current() for d in databases)
    for database in databases:
        database.engine.dispose()


def test_a_session_of_one_instance_is_one_of_the_other(on_postgresql: World) -> None:
    world = on_postgresql
    amal = world.person("amal", Role.INVESTIGATOR)
    other = Database(world.database.engine.url.render_as_string(hide_password=False))
    there = Sessions(other, world.clock)
    token = world.sessions.start(amal.id)
    found = there.who(token)
    assert found is not None
    assert found.person == amal
    Accounts(other, world.ring, world.clock).disable(amal.id)
    assert world.sessions.who(token) is None
    other.engine.dispose()


def test_a_code_signs_in_once_however_many_try_it_at_once(on_postgresql: World) -> None:
    world = on_postgresql
    amal = world.person("amal", Role.INVESTIGATOR)
    secret = world.accounts.new_totp(amal.id)
    code = pyotp.TOTP(secret)
    world.accounts.confirm_totp(amal.id, code.at(world.now))
    world.wait(seconds=60)
    tries = together(*[lambda: world.accounts.sign_in("amal", PASSWORD, code.at(world.now))] * 4)
    assert sum(t == world.accounts.all()[0] for t in tries) == 1
    assert sum(isinstance(t, RefusedError) for t in tries) == 3


def test_the_cap_of_a_day_holds_over_all_cases_and_instances(on_postgresql: World) -> None:
    world = on_postgresql  # five subjects a day
    amal = world.person("amal", Role.INVESTIGATOR)
    url = world.database.engine.url.render_as_string(hide_password=False)
    databases = [Database(url) for _ in range(AT_ONCE)]
    work = []
    for number, database in enumerate(databases):
        case = world.case(amal, f"F-{number}")
        world.desk.ask(amal, Action.LOOKUP, case.id, ("2026-01", "2026-03"), 100, [], "because")
        desk = Desk(database, world.ring, world.clock, world.audit, daily_subjects=5)
        read = Read(amal.id, Action.LOOKUP, case.id, "2026-01", "2026-03")
        work.append(partial(desk.use, amal, read, ["+923001234567", f"+49151123456{number:02d}"]))
    found = together(*work)
    assert sum(isinstance(f, RefusedError) for f in found) == AT_ONCE - 4, found
    assert sum(not isinstance(f, Exception) for f in found) == 4, found
    for database in databases:
        database.engine.dispose()


def test_the_rows_of_a_grant_are_given_once(on_postgresql: World) -> None:
    world = on_postgresql
    amal = world.person("amal", Role.INVESTIGATOR)
    case = world.case(amal)
    world.desk.ask(amal, Action.REVEAL, case.id, ("2026-01", "2026-03"), 3, [], "because")
    read = Read(amal.id, Action.REVEAL, case.id, "2026-01", "2026-03", 1)
    found = together(*[lambda: world.desk.use(amal, read, [])] * AT_ONCE)
    assert sum(not isinstance(f, Exception) for f in found) == 3, found


def test_two_who_make_the_same_account_at_once(on_postgresql: World) -> None:
    world = on_postgresql
    found = together(*[lambda: world.person("amal", Role.INVESTIGATOR)] * 4)
    assert sum(not isinstance(f, Exception) for f in found) == 1
    assert all(isinstance(f, LetheError) for f in found if isinstance(f, Exception)), found


def test_a_server_that_does_not_answer(on_postgresql: World) -> None:
    world = on_postgresql
    gone = Database("postgresql+psycopg://lethe@/nothing?host=/nowhere/at/all")
    with pytest.raises(TransientError, match="does not answer"):
        Accounts(gone, world.ring, world.clock).all()


def test_two_administrators_who_close_each_other_at_once_leave_one(on_postgresql: World) -> None:
    world = on_postgresql
    both = [world.person(f"admin{n}", Role.ADMINISTRATOR) for n in range(2)]
    for _ in range(5):
        found = together(*[partial(world.accounts.disable, one.id) for one in both])
        assert sum(isinstance(f, RefusedError) for f in found) == 1, found
        [closed] = [p for p in world.accounts.all() if p.disabled]
        world.accounts.disable(closed.id, False)
