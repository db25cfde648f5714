"""What was ended stays ended, also in an older copy of the service's database.

A backup brings back what the database was: accounts that were closed since, roles and passwords that were taken away,
sessions that were signed out, grants that were revoked. So each such end counts up a number in the database, in the
transaction that makes it, and the key directory is told the number and how accounts stand. A database whose number is
lower than the one the key directory knows is an older copy of itself, and is settled before it is served from.

The key directory learns ids of accounts, names of roles and digests of salted hashes: nothing that signs anybody in.
Who writes the database and the key directory at once is not kept from anything (docs/threats.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from lethe.keys.anchors import Anchors
from lethe.keys.ring import KeyRing
from lethe.operations.access import tables
from lethe.operations.access.accounts import revoke_grants
from lethe.operations.access.cases import key_name
from lethe.operations.access.database import Database
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError

FOLDER: Final = "service.marks"
Audit = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Settled:
    """What was ended in an older copy: how many of each."""

    sessions: int
    grants: int
    accounts: int
    cases: int
    keys: int


class Watermark:
    """How far a database had come, as the key directory knows it."""

    def __init__(
        self, database: Database, key_directory: Path, ring: KeyRing, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._anchors = Anchors(key_directory, signed_in=FOLDER)
        self._ring = ring
        self._clock = clock
        database.ended = self.note

    def note(self) -> None:
        """Tell the key directory how far the database is; one that is behind changes nothing there."""
        with self._database.begin() as session:
            name = _mark(session).id
        with self._anchors.alone(name) as put:
            with self._database.begin() as session:
                mine = _standing(session)
            known = self._known(name)
            if known is None or known["number"] <= mine["number"]:
                put(orjson.dumps(mine, option=orjson.OPT_SORT_KEYS))

    def check(self) -> None:
        """Raise `ConfigurationError` where the database is an older copy that was not settled yet."""
        with self._database.begin() as session:
            older = self._newer_than(_mark(session)) is not None
        if older:
            raise ConfigurationError(
                "the service's database is an older copy of itself: lethe users list, or the service's start, ends in "
                "it what has ended since"
            )

    def settle(self, audit: Audit) -> Settled | None:
        """End in an older copy what may have ended since; None where the database is as new as is known.

        1. End every session, terminal and request to take off a second factor, revoke every grant that is open.
           Close accounts that were closed since, or whose password or second factor was another; take away roles that
           were taken away. Close cases whose key is gone, revoke keys of requests that are not known to be good.
        2. Write it down in the audit: without an entry nothing of it is done.
        3. Count on from where the database had been. A crash before leaves the copy as it was, to be settled again.
        4. Tell the key directory.
        """
        with self._database.begin() as session:
            mark = _mark(session, lock=True)
            known = self._newer_than(mark)
            done = None
            if known is not None:
                # Step 1
                done = self._end(session, known)
                # Step 2
                audit(
                    {
                        "who": "-",
                        "action": "service.restored",
                        **{n: getattr(done, n) for n in Settled.__slots__},
                    }
                )
                # Step 3
                mark.number = known["number"] + 1
        # Step 4
        self.note()
        return done

    def _end(self, session: Session, known: Mapping[str, Any]) -> Settled:
        sessions = session.execute(delete(tables.Session)).rowcount  # type: ignore[attr-defined]
        session.execute(delete(tables.Device))
        session.execute(delete(tables.Recovery))
        grants = revoke_grants(session)
        accounts = [
            row
            for row in session.scalars(select(tables.Account))
            if _lowered(row, known["accounts"].get(row.id))
        ]
        cases = [
            row
            for row in session.scalars(select(tables.Case).where(tables.Case.closed.is_(None)))
            if self._has_ended(row)
        ]
        for case in cases:
            case.closed = self._clock()
            session.execute(delete(tables.CaseEntry).where(tables.CaseEntry.case == case.id))
        keys = [
            row
            for row in session.scalars(select(tables.RequestKey).where(tables.RequestKey.revoked.is_(None)))
            if row.id not in known["keys"]
        ]
        for key in keys:
            key.revoked = self._clock()
        return Settled(sessions, grants, len(accounts), len(cases), len(keys))

    def _has_ended(self, case: tables.Case) -> bool:
        try:
            self._ring.named(key_name(case.id))
        except ExpiredKeyError:
            return True
        return False

    def _newer_than(self, mark: tables.Mark) -> dict[str, Any] | None:
        """Return what is known of a database that is an older copy of itself; None where it is as new as is known."""
        known = self._known(mark.id)
        return known if known is not None and mark.number < known["number"] else None

    def _known(self, name: str) -> dict[str, Any] | None:
        found = self._anchors.signed(name)
        if found is None:
            return None
        try:
            known = orjson.loads(found)
            kinds = type(known["number"]), type(known["accounts"]), type(known["keys"])
            if kinds == (int, dict, list):
                return dict(known)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass
        raise ConfigurationError(
            f"what {FOLDER} of the key directory says of the service's database is damaged; bring it back from the "
            "backup"
        )


def _mark(session: Session, lock: bool = False) -> tables.Mark:
    rows = select(tables.Mark)
    return session.scalars(rows.with_for_update() if lock else rows).one()


def _standing(session: Session) -> dict[str, Any]:
    live = select(tables.RequestKey.id).where(tables.RequestKey.revoked.is_(None))
    return {
        "number": _mark(session).number,
        "accounts": {
            row.id: {"roles": row.roles, "closed": row.disabled, "secrets": _secrets(row)}
            for row in session.scalars(select(tables.Account))
        },
        "keys": sorted(session.scalars(live)),
    }


def _secrets(row: tables.Account) -> str:
    """Name the password and the second factor of an account: another name, another of them."""
    return sha256((row.password or "").encode() + b"\x00" + (row.totp or b"")).hexdigest()


def _lowered(row: tables.Account, known: Mapping[str, Any] | None) -> bool:
    """Take from an account what it no longer had; tell whether there was anything."""
    before = row.roles, row.disabled
    kept = set(known["roles"].split(",")) if known else set()
    row.roles = ",".join(role for role in row.roles.split(",") if role in kept)
    row.disabled = row.disabled or known is None or known["closed"] or known["secrets"] != _secrets(row)
    return before != (row.roles, row.disabled)
