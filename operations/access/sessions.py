"""Sessions: a random token its holder keeps, of which the database knows the digest only."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import delete, select

from lethe.operations.access import tables
from lethe.operations.access.accounts import Demand, Person, person_of
from lethe.operations.access.database import Database

IDLE: Final = timedelta(minutes=30)
LONGEST: Final = timedelta(hours=10)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who a request is from, and the token its forms must carry."""

    person: Person
    csrf: str


@dataclass(frozen=True, slots=True)
class Open:
    """A session that is open, named as the audit names it; `this` is the one that asks."""

    name: str
    created: datetime
    seen: datetime
    this: bool


class Sessions:
    """The sessions in a database: they end when idle, after ten hours, on sign-out and with the account."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], demand: Demand = Demand.CHOICE
    ) -> None:
        self._database = database
        self._clock = clock
        self._demand = demand

    def start(self, account: str) -> str:
        """Begin a session and return its token (256 bits, URL-safe)."""
        now, token = self._clock(), secrets.token_urlsafe(32)
        with self._database.begin() as session:
            session.execute(delete(tables.Session).where(tables.Session.ends <= now))
            session.add(
                tables.Session(
                    id=_digest(token),
                    account=account,
                    csrf=secrets.token_urlsafe(32),
                    created=now,
                    seen=now,
                    ends=now + LONGEST,
                )
            )
        return token

    def who(self, token: str | None) -> SignedIn | None:
        """Find who holds the token; None when there is no such session (any more)."""
        if not token:
            return None
        now = self._clock()
        with self._database.begin() as session:
            row = session.get(tables.Session, _digest(token))
            if row is None:
                return None
            account = session.get(tables.Account, row.account)
            if account is None or account.disabled or now >= row.ends or now - row.seen >= IDLE:
                session.delete(row)
                return None
            if now - row.seen > timedelta(seconds=30):
                row.seen = now
            return SignedIn(person_of(account, self._demand), row.csrf)

    def began(self, token: str | None) -> datetime:
        """Say when the session of a token began; now, where there is none."""
        with self._database.begin() as session:
            row = session.get(tables.Session, _digest(token or ""))
            return self._clock() if row is None else row.created

    def of(self, account: str, token: str | None) -> list[Open]:
        """List the sessions of an account that are open, the newest first; `token` is that of the one that asks."""
        now = self._clock()
        mine = (
            select(tables.Session)
            .where(tables.Session.account == account, tables.Session.ends > now)
            .order_by(tables.Session.created.desc())
        )
        with self._database.begin() as session:
            found = session.scalars(mine).all()
        this = _digest(token or "")
        return [Open(_name(r.id), r.created, r.seen, r.id == this) for r in found if now - r.seen < IDLE]

    def end_others(self, account: str, token: str | None) -> None:
        """End every session of an account but the one of the token."""
        with self._database.begin(ends=True) as session:
            session.execute(
                delete(tables.Session).where(
                    tables.Session.account == account, tables.Session.id != _digest(token or "")
                )
            )

    def end(self, token: str | None) -> None:
        """End a session."""
        if token:
            with self._database.begin(ends=True) as session:
                session.execute(delete(tables.Session).where(tables.Session.id == _digest(token)))


def session_name(token: str) -> str:
    """Name a session for people: the beginning of what the database knows it by."""
    return _name(_digest(token))


def _name(digest: str) -> str:
    return digest[:8]


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
