"""A second factor that was lost is taken off an account by two people, neither of whom is its holder.

1. An administrator asks, and says how they made sure who it is: as at the first enrolment, face to face or as the
   office does it. The request lasts a day.
2. Another administrator, an approver, or whoever works on the machine itself takes it off. The sessions end, and a
   first password is shown to this second person, who hands it over: the old one is worth nothing.
3. The holder signs in with it, chooses a password, and sets a second factor up anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import aliased

from lethe.operations.access import tables
from lethe.operations.access.accounts import Person, give_first_password
from lethe.operations.access.database import Database
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.passwords import hash_password
from lethe.operations.access.roles import Permission
from lethe.schemas.errors import InputError

LASTS: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to take a second factor off: of whose account, who asked, how they know who it is."""

    account: str
    name: str
    by: str
    reason: str
    asked: datetime
    ends: datetime


class Recoveries:
    """The requests in a database. `audit` is durable when it returns; without it nothing is done."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], audit: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._audit = audit

    def ask(self, admin: Person, account: str, reason: str) -> None:
        """Ask for an account's second factor to be taken off; asked again, it is the newer request that counts."""
        if Permission.ACCOUNTS not in admin.may() or account == admin.id:
            raise RefusedError("an administrator asks for it, never for their own account")
        if not 10 <= len(reason.strip()) <= 500:
            raise InputError("say in 10 to 500 characters how you made sure who it is")
        now = self._clock()
        with self._database.begin() as session:
            row = session.get(tables.Account, account)
            if row is None or row.password is None or row.totp is None:
                raise InputError("this account has no second factor here")
            self._audit({"who": admin.name, "action": "second-factor.recovery", "account": row.name})
            session.execute(delete(tables.Recovery).where(tables.Recovery.account == account))
            session.add(
                tables.Recovery(
                    account=account,
                    asked_by=admin.id,
                    reason=reason.strip(),
                    asked=now,
                    ends=now + LASTS,
                )
            )

    def waiting(self, person: Person | None) -> list[Asked]:
        """List what waits for this person: requests of others about others; None: whoever works on the machine."""
        if person is not None and not person.may() & {Permission.ACCOUNTS, Permission.APPROVE}:
            return []
        theirs, asker = aliased(tables.Account), aliased(tables.Account)
        found = (
            select(tables.Recovery, theirs.name, asker.name)
            .join(theirs, theirs.id == tables.Recovery.account)
            .join(asker, asker.id == tables.Recovery.asked_by)
            .where(tables.Recovery.ends > self._clock())
            .order_by(tables.Recovery.asked)
        )
        if person is not None:
            found = found.where(tables.Recovery.asked_by != person.id, tables.Recovery.account != person.id)
        with self._database.begin() as session:
            return [
                Asked(row.account, name, by, row.reason, row.asked, row.ends)
                for row, name, by in session.execute(found).all()
            ]

    def perform(self, second: Person | None, account: str, who: str) -> str:
        """Take the second factor off, as somebody called `who`; return the first password to hand over, shown once."""
        if account not in {asked.account for asked in self.waiting(second)}:
            raise RefusedError(
                "nobody else has asked for it, or not within a day: an administrator asks first"
            )
        password = secrets.token_urlsafe(12)
        with self._database.begin(ends=True) as session:
            row = session.get(tables.Account, account, with_for_update=True)
            asked = session.get(tables.Recovery, account, with_for_update=True)
            if row is None or asked is None:
                raise RefusedError("somebody else was quicker")
            self._audit({"who": who, "action": "second-factor.off", "account": row.name})
            row.totp, row.totp_step = None, 0
            give_first_password(session, row, hash_password(password), self._clock())
            session.delete(asked)
        return password

    def refuse(self, second: Person, account: str) -> None:
        """Refuse a request; the second factor stays."""
        found = [asked for asked in self.waiting(second) if asked.account == account]
        if not found:
            raise RefusedError("there is no such request")
        self._audit({"who": second.name, "action": "second-factor.kept", "account": found[0].name})
        with self._database.begin() as session:
            session.execute(delete(tables.Recovery).where(tables.Recovery.account == account))
