"""Cases: what every look belongs to. What a case holds of persons is sealed under the case's own key, gone with it."""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import orjson
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.operations.access import tables
from lethe.operations.access.accounts import Person
from lethe.operations.access.database import Database
from lethe.operations.access.grants import PURPOSES, RefusedError
from lethe.operations.access.roles import Permission
from lethe.operations.audit.naming import IN_ALL, may_name_somebody
from lethe.schemas.errors import InputError, LetheError

MOST_TARGETS: Final = 50
LOOK: Final = "look"
_MOST_LOOKS: Final = 100
_SEALED: Final = ("case_entries", "sealed")
"""The table and the column whose values are sealed."""
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/#-]{0,79}")


@dataclass(frozen=True, slots=True)
class Case:
    """A case as its owner sees it. `title` is None once the case is closed: it went with the case's key."""

    id: str
    reference: str
    title: str | None
    purpose: str
    owner: str
    opened: datetime
    closed: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A target or a note of a case, opened."""

    id: str
    kind: str
    text: str
    author: str
    added: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """A look-up of a case: what was asked, from and to which day (empty: all there is), and how much was found."""

    case: str
    reference: str
    values: tuple[str, ...] = field(repr=False)
    since: str
    until: str
    found: int
    at: datetime


def checked_reference(text: str) -> str:
    """Read a reference, which the audit keeps for good and which therefore names nobody; raises `InputError`."""
    reference = " ".join(text.split())
    if not _REFERENCE.fullmatch(reference) or may_name_somebody(reference, in_all=IN_ALL):
        raise InputError(
            "a reference has up to 80 letters, digits (8 at most: it must be nobody's number) and . _ / # -"
        )
    return reference


class Cases:
    """The cases in a database. Each belongs to the person who opened it; nobody else opens what it holds."""

    def __init__(self, database: Database, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock

    def open(self, person: Person, reference: str, title: str, purpose: str) -> Case:
        """Open a case; its reference is known nowhere else and names nobody."""
        if Permission.CASES not in person.may():
            raise RefusedError("your roles do not include cases")
        reference = checked_reference(reference)
        if purpose not in PURPOSES:
            raise LetheError(f"purpose: one of {', '.join(sorted(PURPOSES))}")
        case_id = str(uuid.uuid4())
        # The key first: a crash after it leaves a key that seals nothing, never a case that cannot be opened.
        keys = self._ring.named(key_name(case_id), create=True)
        row = tables.Case(
            id=case_id,
            reference=reference,
            title=seal_value(keys, "cases", "title", case_id, title.strip()[:300].encode()),
            purpose=purpose,
            owner=person.id,
            opened=self._clock(),
        )
        with self._database.begin() as session:
            if session.scalar(select(tables.Case.id).where(tables.Case.reference == reference)):
                raise LetheError("there is a case of that reference already")
            session.add(row)
        return self._opened(row)

    def mine(self, person: Person) -> list[Case]:
        """List a person's own cases, open ones first, newest first."""
        with self._database.begin() as session:
            rows = session.scalars(
                select(tables.Case)
                .where(tables.Case.owner == person.id)
                .order_by(tables.Case.closed.is_not(None), tables.Case.opened.desc())
            ).all()
        return [self._opened(row) for row in rows]

    def get(self, person: Person, case_id: str) -> Case:
        """Give one's own case; another's does not exist for them."""
        with self._database.begin() as session:
            return self._opened(owned(session, person, case_id))

    def named(self, person: Person, name: str) -> Case:
        """Give one's own case by its id or its reference."""
        reference = " ".join(name.split())
        with self._database.begin() as session:
            found = session.scalar(
                select(tables.Case).where(
                    tables.Case.owner == person.id,
                    or_(tables.Case.id == reference, tables.Case.reference == reference),
                )
            )
            if found is None:
                raise RefusedError("there is no such case of yours: open it first, by a reference of its own")
            return self._opened(found)

    def close(self, person: Person, case_id: str) -> None:
        """Close a case: its targets and notes go, then its key.

        1. Mark it closed and delete its entries: no grant of it is good any more. A crash here leaves a key that
           opens only the title.
        2. Destroy the key. Closing it again goes on from there.
        """
        with self._database.begin() as session:
            owned(session, person, case_id)
        self.end(case_id)

    def end(self, case_id: str) -> None:
        """Close a case whoever it belongs to, in the steps of `close`: what ends by itself, when its time has come."""
        with self._database.begin(ends=True) as session:
            row = session.get(tables.Case, case_id)
            if row is None:
                raise RefusedError("there is no such case")
            row.closed = row.closed or self._clock()
            session.execute(delete(tables.CaseEntry).where(tables.CaseEntry.case == case_id))
        self._ring.destroy_named(key_name(case_id))

    def add(self, person: Person, case_id: str, kind: str, text: str) -> None:
        """Add a target or a note; the same target again changes nothing."""
        text = text.strip()
        if not 0 < len(text) <= 4000:
            raise LetheError("a target or note has 1 to 4,000 characters")
        with self._database.begin() as session:
            row = owned(session, person, case_id, must_be_open=True)
            keys = self._ring.named(key_name(case_id))
            digest = value_digest(keys, text)
            mine = select(tables.CaseEntry).where(
                tables.CaseEntry.case == row.id, tables.CaseEntry.kind == kind
            )
            there = session.scalars(mine).all()
            if any(e.digest == digest for e in there):
                return
            if kind == "target" and len(there) >= MOST_TARGETS:
                raise LetheError(f"a case has at most {MOST_TARGETS} targets: open another for the rest")
            session.add(new_entry(keys, row, person, kind, text, self._clock()))

    def remove(self, person: Person, case_id: str, entry: str) -> None:
        """Take an entry out of a case."""
        with self._database.begin() as session:
            row = owned(session, person, case_id, must_be_open=True)
            session.execute(
                delete(tables.CaseEntry).where(tables.CaseEntry.id == entry, tables.CaseEntry.case == row.id)
            )

    def entries(self, person: Person, case_id: str) -> list[Entry]:
        """Open what a case holds, in the order it was added."""
        with self._database.begin() as session:
            row = owned(session, person, case_id)
            found = session.execute(
                select(tables.CaseEntry, tables.Account.name)
                .join(tables.Account, tables.Account.id == tables.CaseEntry.author)
                .where(tables.CaseEntry.case == row.id)
                .order_by(tables.CaseEntry.added)
            ).all()
        if not found:
            return []
        keys = self._ring.named(key_name(case_id))
        return [
            Entry(
                e.id,
                e.kind,
                opened_entry(keys, e).decode(),
                name,
                e.added,
            )
            for e, name in found
        ]

    def remember(self, person: Person, case_id: str, question: dict[str, Any], found: int) -> None:
        """Note what was looked up in a case and how much was found, sealed as all of it; the newest hundred stay."""
        with self._database.begin() as session:
            row = owned(session, person, case_id, must_be_open=True)
            keys = self._ring.named(key_name(case_id))
            asked = orjson.dumps(question, option=orjson.OPT_SORT_KEYS).decode()
            looks = select(tables.CaseEntry).where(
                tables.CaseEntry.case == row.id, tables.CaseEntry.kind == LOOK
            )
            known = session.scalars(looks.order_by(tables.CaseEntry.added.desc())).all()
            digest = value_digest(keys, asked)
            for entry in [e for e in known if e.digest == digest] + list(known[_MOST_LOOKS - 1 :]):
                session.delete(entry)
            session.flush()
            text = orjson.dumps({**question, "found": found}).decode()
            entry = new_entry(keys, row, person, LOOK, text, self._clock())
            entry.digest = digest
            session.add(entry)

    def looks(self, person: Person, most: int = 10) -> list[Look]:
        """List what a person looked up last, in their open cases, newest first."""
        mine = (
            select(tables.CaseEntry, tables.Case)
            .join(tables.Case, tables.Case.id == tables.CaseEntry.case)
            .where(
                tables.Case.owner == person.id,
                tables.Case.closed.is_(None),
                tables.CaseEntry.kind == LOOK,
                tables.CaseEntry.author == person.id,
            )
            .order_by(tables.CaseEntry.added.desc())
            .limit(most)
        )
        with self._database.begin() as session:
            found = session.execute(mine).all()
        return [self._look(entry, case) for entry, case in found]

    def _look(self, entry: tables.CaseEntry, case: tables.Case) -> Look:
        keys = self._ring.named(key_name(case.id))
        said = orjson.loads(opened_entry(keys, entry))
        return Look(
            case.id, case.reference, tuple(said["values"]), said["since"], said["until"], int(said["found"]),
            entry.added,
        )  # fmt: skip

    def keep(self, person: Person, case_id: str, kind: str, text: str) -> None:
        """Keep one text of a kind, in the place of the one before: such as where the nodes of a graph lie."""
        with self._database.begin() as session:
            row = owned(session, person, case_id, must_be_open=True)
            keys = self._ring.named(key_name(case_id))
            session.execute(
                delete(tables.CaseEntry).where(tables.CaseEntry.case == row.id, tables.CaseEntry.kind == kind)
            )
            session.add(new_entry(keys, row, person, kind, text, self._clock()))

    def namer(self, person: Person, case_id: str) -> Callable[[str], str]:
        """Return what names a text the same way all through a case: an HMAC in hex, gone with the case's key."""
        with self._database.begin() as session:
            owned(session, person, case_id, must_be_open=True)
        keys = self._ring.named(key_name(case_id))
        return lambda text: value_digest(keys, text)

    def _opened(self, row: tables.Case) -> Case:
        title = None
        if row.closed is None:
            keys = self._ring.named(key_name(row.id))
            title = open_value(keys, "cases", "title", row.id, row.title).decode()
        return Case(row.id, row.reference, title, row.purpose, row.owner, row.opened, row.closed)


def owned(session: Session, person: Person, case_id: str, must_be_open: bool = False) -> tables.Case:
    """Find a person's own case, in a transaction; `RefusedError` where there is none, or none that is open."""
    row = session.get(tables.Case, case_id)
    if row is None or row.owner != person.id:
        raise RefusedError("there is no such case of yours")
    if must_be_open and row.closed is not None:
        raise RefusedError("the case is closed")
    return row


def new_entry(
    keys: MonthKeys, case: tables.Case, author: Person, kind: str, text: str, added: datetime
) -> tables.CaseEntry:
    """Make an entry of a case, its text sealed under the case's key."""
    entry = str(uuid.uuid4())
    return tables.CaseEntry(
        id=entry,
        case=case.id,
        kind=kind,
        digest=value_digest(keys, text),
        sealed=seal_value(keys, *_SEALED, entry, text.encode()),
        author=author.id,
        added=added,
    )


def opened_entry(keys: MonthKeys, entry: tables.CaseEntry) -> bytes:
    """Open the text of an entry."""
    return open_value(keys, *_SEALED, entry.id, entry.sealed)


def key_name(case_id: str) -> str:
    """Name the key of a case."""
    return f"case.{case_id}"


def value_digest(keys: MonthKeys, text: str) -> str:
    """Find the same value again: an HMAC under the case's key, meaningless without it."""
    return hmac.new(keys.salt_key.reveal(), text.encode(), sha256).hexdigest()
