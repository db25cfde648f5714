"""A database of the first release is brought up to date with what people had in it: SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from access_world import PASSWORD, World
from alembic import command
from alembic.config import Config

from lethe.operations.access import database as opened
from lethe.operations.access.database import Database
from lethe.operations.access.grants import Action, Read
from lethe.operations.access.roles import Role
from lethe.schemas.errors import ConfigurationError

HER = "+923001111111"
FIRST = {"accounts", "sessions", "cases", "case_entries", "grants", "daily_counts", "alembic_version"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'service.db'}"
    new_database: Callable[[], str] = request.getfixturevalue("new_database")
    return new_database()


def back_to_the_first_release(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(opened.__file__).parent / "migrations"))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    told = sa.inspect(database.engine)
    assert set(told.get_table_names()) == FIRST
    assert "provisional" not in {c["name"] for c in told.get_columns("accounts")}


def test_what_people_had_is_there_after_every_migration(url: str, tmp_path: Path) -> None:
    world = World(tmp_path, url)
    amal = world.person("amal", Role.INVESTIGATOR)
    case = world.case(amal, "F-1")
    for kind, text in (("target", HER), ("note", "五つの電話、ひとりの人 'DROP'")):
        world.cases.add(amal, case.id, kind, text)
    world.desk.ask(amal, Action.LOOKUP, case.id, ("2026-01", "2026-03"), 5, [], "to see")
    read = Read(amal.id, Action.LOOKUP, case.id, "2026-02", "2026-02")
    world.desk.use(amal, read, [HER])
    token = world.sessions.start(amal.id)
    back_to_the_first_release(world.database)
    assert not world.database.is_current()
    world.database.upgrade()
    world.database.upgrade()  # another instance starts
    assert world.database.is_current()
    assert world.accounts.sign_in("amal", PASSWORD, "") == amal
    assert world.sessions.who(token) is not None
    [found] = world.cases.mine(amal)
    assert (found.reference, found.title, found.closed) == ("F-1", "SIM swap", None)
    assert {(e.kind, e.text) for e in world.cases.entries(amal, case.id)} == {
        ("target", HER), ("note", "五つの電話、ひとりの人 'DROP'"),
    }  # fmt: skip
    assert world.desk.use(amal, read, [HER]).used == 2, "the rows it had used count"
    world.person("bela", Role.APPROVER)
    world.database.engine.dispose()


def test_a_database_of_a_later_release_is_told(url: str) -> None:
    database = Database(url)
    database.upgrade()
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="later release"):
        database.upgrade()
    database.engine.dispose()
