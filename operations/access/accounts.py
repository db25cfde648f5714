"""Accounts: who works here, how they prove it, and when they are locked out.

Passwords are kept as argon2id; one-time codes (TOTP, RFC 6238) count once; ten failures lock an account for a quarter
of an hour. A wrong name costs as much time as a wrong password.
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

import pyotp
from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.operations.access import tables
from lethe.operations.access.database import Database
from lethe.operations.access.grants import LIVE, RefusedError, State
from lethe.operations.access.passwords import check_chosen, hash_password, is_password
from lethe.operations.access.roles import Permission, Role, permissions
from lethe.schemas.errors import InputError, LetheError

KEY: Final = "service"
FIRST_LASTS: Final = timedelta(hours=24)
"""How long a password that somebody else has made signs in: its holder chooses another at once."""
_MOST_FAILURES: Final = 10
_LOCKED: Final = timedelta(minutes=15)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,119}")
_LONGEST_SHOWN: Final = 60
_STEP: Final = 30
_WRONG: Final = "name, password or code is wrong, or the account is locked for a while"


class Demand(StrEnum):
    """Of whom a second factor is demanded: of all, of those whose roles weigh (`WEIGHTY`), of nobody."""

    ALL = "all"
    WEIGHT = "weight"
    CHOICE = "choice"


class Due(StrEnum):
    """What somebody has to do before anything else."""

    PASSWORD = "password"  # noqa: S105  (choose one of their own)
    SECOND_FACTOR = "second factor"


WEIGHTY: Final = frozenset({Role.INVESTIGATOR, Role.APPROVER, Role.PRIVACY_OFFICER, Role.ADMINISTRATOR})
"""Roles that read of persons, decide for others, or make accounts."""


@dataclass(frozen=True, slots=True)
class Person:
    """An account that is signed in, or is looked at."""

    id: str
    name: str
    display: str
    roles: frozenset[Role]
    disabled: bool = False
    enrolled: bool = False  # has a second factor
    due: Due | None = None

    def may(self) -> frozenset[Permission]:
        """Say what the person may do: nothing when disabled, or while something is due."""
        return frozenset() if self.disabled or self.due else permissions(self.roles)


class Standing(StrEnum):
    """Whether somebody can sign in to an account just now, and if not, what keeps them out."""

    OPEN = "open"
    CLOSED = "closed"
    LOCKED = "locked"
    FIRST = "first password"  # handed over, and not exchanged for one of their own yet
    ENDED = "first password ended"


@dataclass(frozen=True, slots=True)
class Listed:
    """An account as whoever keeps accounts sees it. `until`: the end of a lock, or of a first password.

    `local`: it signs in with a password of this service.
    """

    person: Person
    standing: Standing
    until: datetime | None
    local: bool


class Accounts:
    """The accounts in a database. `clock` gives the present instant in UTC."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        clock: Callable[[], datetime],
        breached: Path | None = None,
    ) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock
        self._breached = breached

    def add(
        self, name: str, display: str, roles: Iterable[Role], password: str | None, first: bool = False
    ) -> Person:
        """Make an account; without a password it can sign in through the identity provider only.

        `first`: the password signs in for a day, and its holder has to choose another before anything else.
        """
        name = name.strip().lower()
        if not _NAME.fullmatch(name):
            raise InputError(
                "a name has up to 120 of a-z, 0-9 and . _ @ -, and begins with a letter or digit"
            )
        display = " ".join(display.split()) or name
        if len(display) > _LONGEST_SHOWN:
            raise InputError(f"what they are shown as has up to {_LONGEST_SHOWN} characters")
        row = tables.Account(
            id=str(uuid.uuid4()),
            name=name,
            display=display,
            roles=",".join(sorted(role.value for role in set(roles))),
            password=None if password is None else hash_password(password),
            provisional=self._clock() + FIRST_LASTS if first and password is not None else None,
            created=self._clock(),
            totp_step=0,
            failures=0,
            disabled=False,
        )
        with self._database.begin() as session:
            if session.scalar(select(tables.Account.id).where(tables.Account.name == name)):
                raise InputError("there is an account of that name already")
            session.add(row)
        return person_of(row)

    def all(self) -> list[Person]:
        """List every account by name."""
        with self._database.begin() as session:
            return [
                person_of(row)
                for row in session.scalars(select(tables.Account).order_by(tables.Account.name))
            ]

    def listed(self) -> list[Listed]:
        """List every account by name, with what keeps its holder out."""
        now = self._clock()
        with self._database.begin() as session:
            rows = session.scalars(select(tables.Account).order_by(tables.Account.name))
            return [_listed(row, now) for row in rows]

    def set_roles(self, account: str, roles: Iterable[Role]) -> None:
        """Give an account these roles and no others; they count from its next request on.

        Raises `RefusedError` where nobody would be left to keep accounts.
        """
        wanted = frozenset(roles)
        with self._database.begin(ends=True) as session:
            if Role.ADMINISTRATOR not in wanted:
                _keep_an_administrator(session, account)
            _row(session, account).roles = ",".join(sorted(role.value for role in wanted))

    def disable(self, account: str, disabled: bool = True) -> None:
        """Close (or open) an account; its sessions end at once, and when it is closed its grants and requests.

        Raises `RefusedError` where nobody would be left to keep accounts.
        """
        with self._database.begin(ends=True) as session:
            if disabled:
                _keep_an_administrator(session, account)
            _row(session, account).disabled = disabled
            session.execute(delete(tables.Session).where(tables.Session.account == account))
            if disabled:  # whoever is let in again asks again
                revoke_grants(session, tables.GrantRow.person == account)

    def unlock(self, account: str) -> None:
        """Let somebody whose account was locked by wrong passwords or codes try again at once."""
        with self._database.begin() as session:
            row = _row(session, account)
            row.failures, row.locked_until = 0, None

    def set_password(self, account: str, password: str) -> None:
        """Give an account a new first password, for a day, and end its sessions; its second factor stays.

        Raises `InputError` for one that signs in through the identity provider.
        """
        hashed = hash_password(password)
        with self._database.begin(ends=True) as session:
            row = _row(session, account)
            if row.password is None:
                raise InputError("this account signs in through the identity provider: there is no password")
            give_first_password(session, row, hashed, self._clock())

    def has_password(self, account: str) -> bool:
        """Tell whether somebody signs in by a password of this service."""
        with self._database.begin() as session:
            return _row(session, account).password is not None

    def check_password(self, account: str, password: str) -> None:
        """Ask somebody who is signed in once more who they are; raises `RefusedError` for a wrong password.

        A wrong one counts like one at the sign-in. Who signs in with the identity provider has none to give.
        """
        now = self._clock()
        with self._database.begin() as session:
            row = session.scalar(select(tables.Account).where(tables.Account.id == account).with_for_update())
            if row is None or row.password is None:
                return
            locked = _is_locked(row, now)
            right = not locked and is_password(row.password, password)
            if not right and not locked:
                self._failed(row, now)
        if not right:
            raise RefusedError("the password is wrong, or the account is locked for a while")

    def change_password(self, account: str, password: str) -> None:
        """Give an account the password its holder has chosen; raises `LetheError` for one that is easily guessed."""
        with self._database.begin(ends=True) as session:
            row = _row(session, account)
            if row.password is None:
                raise LetheError("this account signs in through the identity provider: there is no password")
            check_chosen(password, row.name, self._breached)
            if is_password(row.password, password):
                raise LetheError("choose another password than the present one")
            row.password, row.provisional = hash_password(password), None

    def _failed(self, row: tables.Account, now: datetime) -> None:
        row.failures += 1
        if row.failures >= _MOST_FAILURES:
            row.locked_until, row.failures = now + _LOCKED, 0

    def new_totp(self, account: str) -> str:
        """Make a secret for one-time codes (base32); it counts once `confirm_totp` has seen a code of it."""
        secret = pyotp.random_base32()
        with self._database.begin() as session:
            row = _row(session, account)
            row.totp, row.totp_step = self._seal(account, b"?" + secret.encode()), 0
        return secret

    def confirm_totp(self, account: str, code: str) -> None:
        """Turn the second factor on after the first right code."""
        with self._database.begin(ends=True) as session:
            row = _row(session, account)
            secret = self._totp(row)
            if secret is None or (step := _step_of(secret[1:], code, row.totp_step, self._clock())) is None:
                raise RefusedError("that code is wrong; the clock of the device may be off")
            row.totp, row.totp_step = self._seal(account, b"!" + secret[1:].encode()), step

    def pending_totp(self, account: str) -> str | None:
        """Give the secret that waits for its first code; None when there is none."""
        with self._database.begin() as session:
            secret = self._totp(_row(session, account))
        return secret[1:] if secret and secret[0] == "?" else None

    def sign_in(self, name: str, password: str, code: str) -> Person:
        """Check name, password and, where enrolled, the code. One refusal for all that can be wrong."""
        now = self._clock()
        with self._database.begin() as session:
            row = session.scalar(
                select(tables.Account)
                .where(tables.Account.name == name.strip().lower()[:120])
                .with_for_update()
            )
            right = is_password(None if row is None else row.password, password)
            if row is None or row.disabled or _is_locked(row, now) or _has_ended(row, now):
                wrong = True
            elif not right or not self._code_counts(row, code, now):
                wrong = True
                self._failed(row, now)
            else:
                wrong, row.failures, row.locked_until = False, 0, None
        if wrong or row is None:
            raise RefusedError(_WRONG)
        return person_of(row)

    def by_identity(self, issuer: str, subject: str, name: str) -> Person:
        """Find the account of somebody the identity provider vouches for; bound at their first sign-in by name."""
        with self._database.begin() as session:
            row = session.scalar(
                select(tables.Account).where(
                    tables.Account.issuer == issuer, tables.Account.subject == subject
                )
            )
            if row is None:
                row = session.scalar(
                    select(tables.Account).where(
                        tables.Account.name == name.strip().lower()[:120], tables.Account.issuer.is_(None)
                    )
                )
                if row is not None and row.password is None:
                    row.issuer, row.subject = issuer, subject
                else:
                    row = None
            if row is None or row.disabled:
                raise RefusedError("there is no open account for you here; an administrator has to add one")
            return person_of(row)

    def _code_counts(self, row: tables.Account, code: str, now: datetime) -> bool:
        secret = self._totp(row)
        if secret is None or secret[0] == "?":
            return True
        step = _step_of(secret[1:], code, row.totp_step, now)
        if step is None:
            return False
        row.totp_step = step
        return True

    def _totp(self, row: tables.Account) -> str | None:
        if row.totp is None:
            return None
        keys = self._ring.named(KEY, create=True)
        return open_value(keys, "accounts", "totp", row.id, row.totp).decode()

    def _seal(self, account: str, value: bytes) -> bytes:
        return seal_value(self._ring.named(KEY, create=True), "accounts", "totp", account, value)


def person_of(row: tables.Account, demand: Demand = Demand.CHOICE) -> Person:
    """Read an account's row; `demand` says of whom a second factor is demanded."""
    roles = frozenset(Role(name) for name in row.roles.split(",") if name)
    enrolled = row.totp is not None and row.totp_step > 0  # set up, and a code of it was seen
    due = None
    if row.password is not None:  # otherwise the identity provider asks for what it demands
        demanded = demand is Demand.ALL or (demand is Demand.WEIGHT and bool(roles & WEIGHTY))
        due = (
            Due.PASSWORD
            if row.provisional is not None
            else Due.SECOND_FACTOR
            if demanded and not enrolled
            else None
        )
    return Person(row.id, row.name, row.display, roles, row.disabled, enrolled, due)


def revoke_grants(session: Session, *whose: ColumnElement[bool]) -> int:
    """Revoke the grants that may still open something, and requests that wait; return how many there were."""
    live = update(tables.GrantRow).where(tables.GrantRow.state.in_(LIVE), *whose)
    revoked = session.execute(live.values(state=State.REVOKED.value))
    return int(revoked.rowcount)  # type: ignore[attr-defined]


def give_first_password(session: Session, row: tables.Account, hashed: str, now: datetime) -> None:
    """Give an account a password (hashed) that signs in for a day, in a transaction, and end its sessions."""
    row.password, row.provisional = hashed, now + FIRST_LASTS
    row.failures, row.locked_until = 0, None
    session.execute(delete(tables.Session).where(tables.Session.account == row.id))


def _row(session: Session, account: str) -> tables.Account:
    row = session.get(tables.Account, account)
    if row is None:
        raise LetheError("there is no such account")
    return row


def _keep_an_administrator(session: Session, account: str) -> None:
    """Refuse to take the last open administrator away; two who close each other at once are one after the other."""
    keepers = session.scalars(
        select(tables.Account)
        .where(tables.Account.disabled.is_(False), tables.Account.roles.contains(Role.ADMINISTRATOR.value))
        .order_by(tables.Account.id)
        .with_for_update()
    ).all()
    if [row.id for row in keepers] == [account]:
        raise RefusedError("nobody would be left to keep accounts: make somebody else an administrator first")


def _listed(row: tables.Account, now: datetime) -> Listed:
    standing, until = Standing.OPEN, None
    if row.disabled:
        standing = Standing.CLOSED
    elif _is_locked(row, now):
        standing, until = Standing.LOCKED, row.locked_until
    elif row.provisional is not None:
        standing, until = Standing.ENDED if _has_ended(row, now) else Standing.FIRST, row.provisional
    return Listed(person_of(row), standing, until, row.password is not None)


def _is_locked(row: tables.Account, now: datetime) -> bool:
    return row.locked_until is not None and now < row.locked_until


def _has_ended(row: tables.Account, now: datetime) -> bool:
    """Tell whether the password is a first one whose day is over."""
    return row.provisional is not None and now >= row.provisional


def _step_of(secret: str, code: str, last: int, now: datetime) -> int | None:
    """Return the step (of 30 s) whose code this is: the present one, later than the last one used."""
    step = int(now.timestamp()) // _STEP
    right = hmac.compare_digest(pyotp.TOTP(secret).generate_otp(step).encode(), code.strip().encode())
    return step if right and step > last else None
