"""Sign-in of a terminal: it shows a short code, and whoever is signed in at a browser types the code there (RFC 8628).

The terminal sees no password, and it works with whatever signs people in, an identity provider or a second factor too,
also where the terminal is a shell on another machine. Of both codes the database knows the digest only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from lethe.operations.access import tables
from lethe.operations.access.accounts import Person, person_of
from lethe.operations.access.database import Database
from lethe.operations.access.grants import RefusedError
from lethe.schemas.errors import TransientError

LASTS: Final = timedelta(minutes=10)
_LETTERS: Final = (
    "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628, section 6.1: none that make words or are mistaken for another
)
_LENGTH: Final = 8
_MOST_WAITING: Final = 1_000
_NONE: Final = "no terminal waits with that code, or not any more: look at the terminal again"


class Answer(StrEnum):
    """What became of a terminal that asked."""

    PENDING = "pending"
    DENIED = "denied"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A terminal that asks to be signed in: `code` is its own secret, `shown` what it shows to a person."""

    code: str
    shown: str
    ends: datetime


class Devices:
    """The terminals that wait, in a database."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def begin(self, source: str | None) -> Waiting:
        """Let a terminal wait. `source` is where it asks from, told to whoever types its code."""
        now, code = self._clock(), secrets.token_urlsafe(32)
        letters = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        with self._database.begin() as session:
            session.execute(delete(tables.Device).where(tables.Device.ends <= now))
            if (session.scalar(select(func.count()).select_from(tables.Device)) or 0) >= _MOST_WAITING:
                raise TransientError("too many terminals wait to be signed in: try again in ten minutes")
            session.add(
                tables.Device(
                    id=_digest(code), shown=_digest(letters), source=source, ends=now + LASTS, denied=False
                )
            )
        return Waiting(code, f"{letters[:4]}-{letters[4:]}", now + LASTS)

    def source(self, shown: str) -> str | None:
        """Say where the terminal that shows a code asked from; raises `RefusedError` when there is none."""
        with self._database.begin() as session:
            return self._row(session, shown).source

    def answer(self, person: Person, shown: str, allowed: bool) -> None:
        """Let the terminal that shows a code act as a person, or refuse it. It is answered once."""
        with self._database.begin() as session:
            row = self._row(session, shown)
            row.denied, row.account = not allowed, person.id if allowed else None

    def take(self, code: str) -> tuple[Answer, Person | None]:
        """Say what became of the terminal that holds a code. Who allowed it is given once: the code is spent."""
        with self._database.begin() as session:
            row = session.get(tables.Device, _digest(code), with_for_update=True)
            if row is None or self._clock() >= row.ends:
                raise RefusedError("the code has ended or was used: begin again with lethe login")
            if row.account is None:
                return (Answer.DENIED if row.denied else Answer.PENDING), None
            account = session.get(tables.Account, row.account)
            session.delete(row)
            if account is None or account.disabled:
                return Answer.DENIED, None
            return Answer.ALLOWED, person_of(account)

    def _row(self, session: Session, shown: str) -> tables.Device:
        letters = "".join(c for c in shown.upper() if c.isalpha())
        row = session.scalar(
            select(tables.Device)
            .where(
                tables.Device.shown == _digest(letters),
                tables.Device.ends > self._clock(),
                tables.Device.account.is_(None),
                tables.Device.denied.is_(False),
            )
            .with_for_update()
        )
        if row is None:
            raise RefusedError(_NONE)
        return row


def _digest(code: str) -> str:
    return sha256(code.encode()).hexdigest()
