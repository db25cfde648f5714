"""A service's state in a folder: real keys, a real database, a clock and an audit that can be made to fail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.operations.access.accounts import Accounts, Demand, Person
from lethe.operations.access.cases import Case, Cases
from lethe.operations.access.database import Database
from lethe.operations.access.desk import Desk
from lethe.operations.access.roles import Role
from lethe.operations.access.sessions import Sessions
from lethe.schemas.errors import ConfigurationError
from lethe.tiers.store.objects import open_objects

PASSWORD = "correct horse battery"


class World:
    def __init__(self, folder: Path, url: str | None = None, database: Database | None = None) -> None:
        """Begin in a folder: `database`, one that is up to date and empty, or a new one at `url`."""
        self.now = datetime(2026, 3, 14, 15, 0, tzinfo=UTC)
        self.entries: list[dict[str, Any]] = []
        self.audit_fails = False
        self.ring = KeyRing(
            LocalProvider.initialise(folder / "keys"), open_objects(str(folder / "warehouse"), {}), self.clock
        )
        if database is None:
            database = Database(url or f"sqlite:///{folder / 'service.db'}")
            database.upgrade()
        self.database = database
        self.accounts = Accounts(self.database, self.ring, self.clock)
        self.sessions = Sessions(self.database, self.clock)
        self.cases = Cases(self.database, self.ring, self.clock)
        self.desk = Desk(self.database, self.ring, self.clock, self.audit, daily_subjects=5)

    def clock(self) -> datetime:
        return self.now

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def audit(self, entry: Mapping[str, Any]) -> None:
        if self.audit_fails:
            raise ConfigurationError("the audit log cannot be written")
        self.entries.append(dict(entry))

    def demanding(self, demand: Demand) -> Sessions:
        """Give sessions that demand a second factor."""
        return Sessions(self.database, self.clock, demand)

    def person(self, name: str, *roles: Role, password: str | None = PASSWORD) -> Person:
        return self.accounts.add(name, name.title(), roles, password)

    def case(self, owner: Person, reference: str = "F-1", purpose: str = "fraud") -> Case:
        return self.cases.open(owner, reference, "SIM swap", purpose)
