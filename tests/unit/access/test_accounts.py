"""Accounts and sessions: what signs in, what does not, and when a session ends."""

from __future__ import annotations

from pathlib import Path

import pyotp
import pytest
from access_world import PASSWORD, World
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select

from lethe.operations.access import tables
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.roles import Permission, Role, permissions
from lethe.schemas.errors import LetheError


def test_the_migrations_make_what_the_tables_say(world: World) -> None:
    assert world.database.is_current()
    with world.database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, tables.Base.metadata) == []
    world.database.upgrade()  # from every instance, at every start


def test_a_password_signs_in_and_a_wrong_one_does_not(world: World) -> None:
    amal = world.person("amal", Role.INVESTIGATOR)
    assert world.accounts.sign_in(" Amal ", PASSWORD, "") == amal
    for name, password in (("amal", PASSWORD + "x"), ("nobody", PASSWORD), ("amal", "")):
        with pytest.raises(RefusedError) as refused:
            world.accounts.sign_in(name, password, "")
        assert "amal" not in str(refused.value)


def test_ten_failures_lock_an_account_for_a_quarter_of_an_hour(world: World) -> None:
    world.person("amal", Role.INVESTIGATOR)
    for _ in range(10):
        with pytest.raises(RefusedError):
            world.accounts.sign_in("amal", "wrong", "")
    with pytest.raises(RefusedError):
        world.accounts.sign_in("amal", PASSWORD, "")
    world.wait(minutes=15)
    assert world.accounts.sign_in("amal", PASSWORD, "").name == "amal"


def test_a_code_is_needed_once_enrolled_and_counts_once(world: World) -> None:
    amal = world.person("amal", Role.INVESTIGATOR)
    secret = world.accounts.new_totp(amal.id)
    assert world.accounts.sign_in("amal", PASSWORD, "").name == "amal"  # not confirmed yet
    with pytest.raises(RefusedError):
        world.accounts.confirm_totp(amal.id, "000000")
    world.accounts.confirm_totp(amal.id, pyotp.TOTP(secret).at(world.now))
    world.wait(seconds=30)
    code = pyotp.TOTP(secret).at(world.now)
    with pytest.raises(RefusedError):
        world.accounts.sign_in("amal", PASSWORD, "")
    assert world.accounts.sign_in("amal", PASSWORD, code).name == "amal"
    with pytest.raises(RefusedError):
        world.accounts.sign_in("amal", PASSWORD, code)


def test_nothing_that_signs_in_is_in_the_database_in_the_clear(world: World, tmp_path: Path) -> None:
    amal = world.person("amal", Role.INVESTIGATOR)
    secret = world.accounts.new_totp(amal.id)
    token = world.sessions.start(amal.id)
    data = b"".join(f.read_bytes() for f in tmp_path.glob("service.db*"))
    assert b"amal" in data
    for value in (PASSWORD, secret, token):
        assert value.encode() not in data


def test_a_session_ends_when_idle_after_ten_hours_and_with_its_account(world: World) -> None:
    amal = world.person("amal", Role.INVESTIGATOR)
    token = world.sessions.start(amal.id)
    found = world.sessions.who(token)
    assert found is not None
    assert found.person == amal
    assert world.sessions.who("x" + token) is None
    world.wait(minutes=30)
    assert world.sessions.who(token) is None

    token = world.sessions.start(amal.id)
    for _ in range(29):
        world.wait(minutes=20)
        assert world.sessions.who(token) is not None
    world.wait(minutes=20)
    assert world.sessions.who(token) is None

    token = world.sessions.start(amal.id)
    world.accounts.disable(amal.id)
    assert world.sessions.who(token) is None
    world.accounts.disable(amal.id, False)
    assert world.sessions.who(token) is None


def test_roles_count_from_the_next_request_on(world: World) -> None:
    amal = world.person("amal", Role.INVESTIGATOR)
    token = world.sessions.start(amal.id)
    world.accounts.set_roles(amal.id, [Role.OPERATOR])
    found = world.sessions.who(token)
    assert found is not None
    assert found.person.roles == {Role.OPERATOR}


def test_no_role_mixes_data_with_what_watches_over_it() -> None:
    window = {Permission.LOOKUP, Permission.REVEAL, Permission.EXPORT, Permission.ERASE}
    for role in (Role.APPROVER, Role.BILLING_ANALYST, Role.AUDITOR, Role.OPERATOR, Role.ADMINISTRATOR):
        assert not permissions([role]) & window, role
    assert permissions([Role.ADMINISTRATOR]) == {Permission.ACCOUNTS}
    assert permissions([]) == set()


@pytest.mark.parametrize("name", ["", "A B", "-a", "x" * 121, "a/b"])
def test_names_that_cannot_be(world: World, name: str) -> None:
    with pytest.raises(LetheError):
        world.accounts.add(name, "", [], PASSWORD)
    with world.database.begin() as session:
        assert session.scalars(select(tables.Account)).all() == []


def test_short_passwords_are_refused(world: World) -> None:
    with pytest.raises(LetheError, match="12 to 200"):
        world.accounts.add("amal", "", [], "short")


def test_the_last_open_administrator_is_neither_closed_nor_lowered(world: World) -> None:
    ada, gus = world.person("ada", Role.ADMINISTRATOR), world.person("gus", Role.ADMINISTRATOR, Role.OPERATOR)
    world.accounts.disable(world.person("amal", Role.INVESTIGATOR).id)
    world.accounts.set_roles(ada.id, [Role.AUDITOR])
    for take_away in (
        lambda: world.accounts.disable(gus.id),
        lambda: world.accounts.set_roles(gus.id, [Role.OPERATOR]),
    ):
        with pytest.raises(RefusedError, match="make somebody else an administrator first"):
            take_away()
    world.accounts.set_roles(gus.id, [Role.ADMINISTRATOR])
    world.accounts.set_roles(ada.id, [Role.ADMINISTRATOR])
    world.accounts.disable(gus.id)
    with pytest.raises(RefusedError):  # one that is closed keeps nothing
        world.accounts.disable(ada.id)
    assert [p.name for p in world.accounts.all() if not p.disabled] == ["ada"]
