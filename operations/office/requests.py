"""The requests of people: received, due, what was done, answered, ended. Whose they are lies sealed in a case each.

A request is a case of the purpose `person`, so that grants, second persons and the audit are those of every case. What
the office knows of the person (addresses, what was found, what was done, words of the answer) are entries of that case,
sealed under its key, and gone with it: thirty days after the answer, or when the officer ends it.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import select

from lethe.operations.access import tables
from lethe.operations.access.accounts import Person
from lethe.operations.access.cases import Case, Cases, owned
from lethe.operations.access.database import Database
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.roles import Permission
from lethe.operations.office._texts import language_of
from lethe.operations.office.answer import KINDS
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month

OUTCOMES: Final = ("done", "done in part", "nothing held", "refused", "withdrawn")
KEPT: Final = timedelta(days=30)
"""How long a request that was answered is kept: to send the answer again."""
MOST_ADDRESSES: Final = 10
_LONGER: Final = 2
"""Months by which the time for an answer can be extended once (GDPR, article 12(3))."""
_SOON: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the whole office sees it: nothing of it says whose it is."""

    case: str
    reference: str
    owner: str  # name of the officer
    kind: str
    language: str
    received: date
    due: date
    extended: bool
    outcome: str | None
    answered: datetime | None
    ended: datetime | None

    def state(self, today: date) -> str:
        """Say where it is: `ended`, `answered`, `overdue`, `due soon` (a week), or `open`."""
        if self.ended is not None:
            return "ended"
        if self.answered is not None:
            return "answered"
        if today > self.due:
            return "overdue"
        return "due soon" if self.due - today <= _SOON else "open"


@dataclass(frozen=True, slots=True)
class Dossier:
    """A request as its officer sees it: addresses, what was found and done. `repr` shows nothing of the person."""

    request: Request
    case: Case = field(repr=False)
    about: tuple[str, ...] = field(repr=False)
    found: dict[str, Any] | None = field(repr=False)
    erased: dict[str, Any] | None = field(repr=False)
    restricted: dict[str, Any] | None = field(repr=False)
    words: str = field(repr=False)


class Requests:
    """The requests in a database. Each belongs to the officer who opened it; the office sees its dates."""

    def __init__(self, database: Database, cases: Cases, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._cases = cases
        self._clock = clock

    def open(
        self,
        person: Person,
        reference: str,
        kind: str,
        about: Sequence[str],
        received: date,
        language: str,
        due: date | None = None,
    ) -> Case:
        """Open a request; `due` of None is a month after it was received, as GDPR article 12(3) asks.

        1. Open its case with the addresses. A crash here leaves a case of the purpose `person`, to be closed.
        2. Write down the request.
        """
        addresses = list(dict.fromkeys(a.strip() for a in about if a.strip()))
        today = self._clock().date()
        if kind not in KINDS:
            raise InputError(f"kind: one of {', '.join(KINDS)}")
        if not 0 < len(addresses) <= MOST_ADDRESSES:
            raise InputError(f"give 1 to {MOST_ADDRESSES} numbers or addresses of one person, one a line")
        if received > today or (due is not None and due < received):
            raise InputError("a request is received today or before, and due after that")
        language_of(language)
        # Step 1
        case = self._cases.open(person, reference, f"{kind} request", "person")
        for address in addresses:
            self._cases.add(person, case.id, "target", address)
        # Step 2
        with self._database.begin() as session:
            session.add(
                tables.PersonRequest(
                    case=case.id,
                    kind=kind,
                    language=language,
                    received=received.isoformat(),
                    due=(due or months_after(received, 1)).isoformat(),
                    extended=False,
                )
            )
        return case

    def every(self, person: Person) -> list[Request]:
        """List the requests of the whole office, those to be answered first, by the day they are due."""
        if Permission.EXPORT not in person.may():
            raise RefusedError("requests of people are the privacy office's")
        found = self._list()
        return sorted(found, key=lambda r: (r.answered is not None, r.due, r.reference))

    def get(self, person: Person, case_id: str) -> Dossier:
        """Open one's own request; another's does not exist for them."""
        case, request = self._cases.get(person, case_id), self.request(person, case_id)
        entries = self._cases.entries(person, case_id)
        kept = {e.kind: orjson.loads(e.text) for e in entries if e.kind in ("found", "erased", "restricted")}
        return Dossier(
            request,
            case,
            tuple(e.text for e in entries if e.kind == "target"),
            kept.get("found"),
            kept.get("erased"),
            kept.get("restricted"),
            next((e.text for e in entries if e.kind == "words"), ""),
        )

    def request(self, person: Person, case_id: str) -> Request:
        """Return one's own request without what is known of the person; another's does not exist for them."""
        with self._database.begin() as session:
            owned(session, person, case_id)
        found = next(iter(self._list(case_id)), None)
        if found is None:
            raise RefusedError("there is no such request of yours")
        return found

    def keep(self, person: Person, case_id: str, kind: str, value: Any) -> None:
        """Keep what was found or done in the case, in place of what was kept of that kind before."""
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        self._cases.keep(person, case_id, kind, text)

    def extend(self, person: Person, case_id: str) -> date:
        """Extend the time for an answer by two months, once; return the day it is due then."""
        with self._database.begin() as session:
            owned(session, person, case_id, must_be_open=True)
            row = _row(session, case_id)
            if row.extended or row.answered is not None:
                raise InputError("the time can be extended once, before the answer")
            row.due, row.extended = months_after(date.fromisoformat(row.due), _LONGER).isoformat(), True
            return date.fromisoformat(row.due)

    def answered(self, person: Person, case_id: str, outcome: str) -> None:
        """Note that the person has the answer: it ends by itself thirty days later."""
        if outcome not in OUTCOMES:
            raise InputError(f"outcome: one of {', '.join(OUTCOMES)}")
        with self._database.begin() as session:
            owned(session, person, case_id, must_be_open=True)
            row = _row(session, case_id)
            row.outcome, row.answered = outcome, row.answered or self._clock()

    def end_due(self) -> list[str]:
        """End what was answered thirty days ago: what lies sealed of it is gone. Returns the references."""
        before = self._clock() - KEPT
        with self._database.begin() as session:
            due = session.execute(
                select(tables.Case.id, tables.Case.reference)
                .join(tables.PersonRequest, tables.PersonRequest.case == tables.Case.id)
                .where(tables.PersonRequest.answered <= before, tables.Case.closed.is_(None))
            ).all()
        for case_id, _ in due:
            self._cases.end(case_id)
        return [reference for _, reference in due]

    def _list(self, case_id: str | None = None) -> list[Request]:
        query = (
            select(tables.PersonRequest, tables.Case, tables.Account.name)
            .join(tables.Case, tables.Case.id == tables.PersonRequest.case)
            .join(tables.Account, tables.Account.id == tables.Case.owner)
        )
        if case_id is not None:
            query = query.where(tables.PersonRequest.case == case_id)
        with self._database.begin() as session:
            return [_read(row, case, name) for row, case, name in session.execute(query).all()]


def months_after(day: date, months: int) -> date:
    """Return the same day some months later, or the month's last where it has no such day (Regulation 1182/71)."""
    month = Month(day.year, day.month).plus(months)
    return date(month.year, month.number, min(day.day, calendar.monthrange(month.year, month.number)[1]))


def _row(session: Any, case_id: str) -> tables.PersonRequest:
    row: tables.PersonRequest | None = session.get(tables.PersonRequest, case_id, with_for_update=True)
    if row is None:
        raise RefusedError("there is no such request of yours")
    return row


def _read(row: tables.PersonRequest, case: tables.Case, owner: str) -> Request:
    return Request(
        row.case, case.reference, owner, row.kind, row.language, date.fromisoformat(row.received),
        date.fromisoformat(row.due), row.extended, row.outcome, row.answered, case.closed,
    )  # fmt: skip
