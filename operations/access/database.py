"""The database of the service's own state: opened in one way, brought to the newest schema by Alembic."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event, update
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from lethe.operations.access import tables
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Database:
    """Accounts, sessions, cases and grants: `sqlite:///FILE`, or `postgresql+psycopg://...` for several instances."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self.ended: Callable[[], None] = lambda: None
        """Called after each transaction that ended something."""

    @contextmanager
    def begin(self, ends: bool = False) -> Iterator[Session]:
        """Give a transaction: committed at the end, rolled back on any exception.

        `ends`: it ends something that an older copy would bring back; that is counted in it, and told after it
        (`lethe.operations.health.watermark`). A crash between the two leaves it to the next end, or the next start.

        Raises `TransientError` when the database does not answer, `LetheError` when somebody was quicker; the
        database's own text may quote values and is not passed on.
        """
        try:
            with self._sessions.begin() as session:
                yield session
                if ends:
                    session.execute(update(tables.Mark).values(number=tables.Mark.number + 1))
        except OperationalError:
            raise TransientError("the service's database does not answer; try again") from None
        except (IntegrityError, StaleDataError):
            raise LetheError(
                "somebody else has just changed the same: look again, and repeat what is left"
            ) from None
        if ends:
            self.ended()

    def upgrade(self) -> None:
        """Bring the schema to the newest version. Safe to call from every instance at its start.

        Raises `ConfigurationError` for a database that cannot be, or is of a later release.
        """
        try:
            with self.engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7301947)")
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError:  # it names a migration that this release has not got
            raise ConfigurationError(
                "the service's database is of a later release of Lethe: run that, or restore the backup from before it"
            ) from None
        except SQLAlchemyError as error:
            raise ConfigurationError(
                f"the service's database cannot be brought up to date: {type(error).__name__}; see serve.database"
            ) from None

    def is_current(self) -> bool:
        """Tell whether the schema is the newest one."""
        with self.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        return found == ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _share(file: str | None) -> None:
    """Make a new file of SQLite for the group too where its folder is made for one: worker and service share it then.

    SQLite gives the group no right to write, and its side files have the rights of the file.
    """
    if not file or file == ":memory:":
        return
    with suppress(OSError):  # SQLite says what is wrong with the place
        folder = Path(file).parent.stat().st_mode
        if folder & stat.S_ISGID and folder & stat.S_IWGRP:
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660))


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except (SQLAlchemyError, ImportError, ValueError):
        raise ConfigurationError(
            "serve.database: a URL such as sqlite:////srv/lethe/service.db or postgresql+psycopg://host/name is needed"
        ) from None
    if engine.dialect.name == "sqlite":
        _share(engine.url.database)

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # SQLAlchemy's own BEGIN below, not the driver's late one
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA busy_timeout = 10000")

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            # Two requests that both read and then write would otherwise meet in the middle, and one be refused.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
