"""What the pages stand on: the runtime, and the service's own state beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lethe.console.web.tries import Tries
from lethe.operations.access.accounts import Accounts, Demand, Person
from lethe.operations.access.cases import Case, Cases
from lethe.operations.access.database import Database
from lethe.operations.access.desk import Desk
from lethe.operations.access.devices import Devices
from lethe.operations.access.gate import Gate, Passed, Wish, window_months
from lethe.operations.access.identity import IdentityProvider
from lethe.operations.access.recovery import Recoveries
from lethe.operations.access.sessions import Sessions
from lethe.operations.access.signed_requests import RequestKeys
from lethe.operations.asker import Asker
from lethe.operations.health.verified import Verifications
from lethe.operations.health.watermark import Watermark
from lethe.operations.office.office import Office
from lethe.operations.office.requests import Requests
from lethe.operations.oversight.shared import SharedDisclosures
from lethe.operations.runtime import Runtime
from lethe.operations.window.answers import Answers
from lethe.operations.window.visibility import standing
from lethe.schemas.words import counted

logger = logging.getLogger("lethe.web")
SOURCE: Final[ContextVar[str | None]] = ContextVar("lethe_source", default=None)
"""Where the request that is being answered comes from: an address, and the session if there is one."""


@dataclass(slots=True)
class Service:
    """The parts of one instance. Several instances share the database, the warehouse and the keys."""

    runtime: Runtime
    database: Database
    accounts: Accounts = field(init=False)
    sessions: Sessions = field(init=False)
    recoveries: Recoveries = field(init=False)
    shared: SharedDisclosures = field(init=False)
    cases: Cases = field(init=False)
    desk: Desk = field(init=False)
    requests: Requests = field(init=False)
    office: Office = field(init=False)
    answers: Answers = field(init=False)
    """Those that were just given: of this instance alone."""
    gate: Gate = field(init=False)
    devices: Devices = field(init=False)
    request_keys: RequestKeys = field(init=False)
    verifications: Verifications = field(init=False)
    watermark: Watermark = field(init=False)
    identity: IdentityProvider | None = field(init=False, default=None)
    tries: Tries = field(default_factory=lambda: Tries(20, 60.0))
    """Sign-ins by address: of this instance alone; accounts are locked in the database, for all of them."""

    def __post_init__(self) -> None:
        """Make the parts over one ring, one clock and one audit log."""
        ring, clock = self.runtime.ring, self.runtime.clock
        serve = self.runtime.settings.serve
        self.accounts = Accounts(self.database, ring, clock, serve.breached_passwords)
        self.sessions = Sessions(self.database, clock, Demand(serve.second_factor))
        self.recoveries = Recoveries(self.database, clock, self.audit)
        self.cases = Cases(self.database, ring, clock)
        if serve.identity is not None:
            callback = f"{serve.public_url}/sign-in/callback"
            self.identity = IdentityProvider(serve.identity, callback, ring, clock)
        self.shared = SharedDisclosures(self.database, ring, clock)
        self.desk = Desk(self.database, ring, clock, self.audit, serve.daily_subjects)
        self.answers = Answers(ring, self.desk, clock, self.standing)
        self.requests = Requests(self.database, self.cases, clock)
        self.verifications = Verifications(self.database, self.runtime)
        self.office = Office(self.runtime, self.requests, self.desk, self.asker)
        self.gate = Gate(self.cases, self.desk, clock)
        self.devices = Devices(self.database, clock)
        self.request_keys = RequestKeys(self.database, ring, clock)
        self.watermark = Watermark(self.database, self.runtime.settings.keys_dir, ring, clock)

    @classmethod
    def open(cls, runtime: Runtime) -> Service:
        """Open the service's database and bring it up to date."""
        database = Database(runtime.settings.serve.url(runtime.settings.keys_dir))
        database.upgrade()
        service = cls(runtime, database)
        service.settle()
        return service

    def settle(self) -> None:
        """End what has ended since, where the database is an older copy of itself; audited, and logged."""
        done = self.watermark.settle(self.audit)
        if done is not None:
            logger.warning(
                "the service's database is an older copy: %s, %s, %s, %s and %s were ended in it; lethe users "
                "open opens an account",
                counted(done.sessions, "session"), counted(done.grants, "grant"), counted(done.accounts, "account"),
                counted(done.cases, "case"), counted(done.keys, "key of requests", "keys of requests"),
            )  # fmt: skip

    def window(self, since: datetime | None = None, until: datetime | None = None) -> tuple[str, str]:
        """Give the months a look is into: those asked for, or the whole window."""
        return window_months(self.runtime.clock(), since, until)

    def tidy(self) -> list[str]:
        """End what is over by itself: requests thirty days after their answer. Return their references; audited."""
        self.settle()
        ended = self.requests.end_due()
        for reference in ended:
            self.audit({"who": "-", "action": "request.end", "case": reference})
        return ended

    def standing(self) -> str:
        """Name what decides now what may be shown of the window."""
        return standing(self.runtime)

    def enter(self, person: Person, case: str, wish: Wish) -> Passed:
        """Let a wish through the gate, saying where the request that is being answered came from."""
        return self.gate.enter(person, case, wish, SOURCE.get())

    def asker(self, person: Person, case: Case) -> Asker:
        """Say who asks, for which case of theirs, and where the request that is being answered came from."""
        return Asker.of(person.name, case.reference, case.purpose, source=SOURCE.get())

    def audit(self, entry: Mapping[str, Any]) -> None:
        """Write an audit entry; it is durable when this returns. It says where the request came from."""
        source = SOURCE.get()
        said = {} if source is None else {"source": source}
        self.runtime.audit.append({**said, **entry}, self.runtime.clock())
