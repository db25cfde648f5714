"""The desk: grants asked for, approved, used, revoked and reviewed. What decides is in `grants`, without a database."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any, Final

import orjson
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, seal_value
from lethe.operations.access import tables
from lethe.operations.access.accounts import KEY, Person
from lethe.operations.access.cases import key_name, owned, value_digest
from lethe.operations.access.database import Database
from lethe.operations.access.grants import (
    BREAK_GLASS,
    OF_WEIGHT,
    REVIEW_WITHIN,
    Action,
    CapError,
    Grant,
    Read,
    RefusedError,
    Scope,
    State,
    check_approval,
    check_request,
    decide,
)
from lethe.operations.access.roles import Permission
from lethe.schemas.errors import LetheError

LASTS: Final = timedelta(days=7)
DAILY_SUBJECTS: Final = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A grant as an approver or its owner sees it. `values` and `reason` are what was asked, word for word."""

    grant: Grant
    person: str
    case: str
    values: tuple[str, ...]
    reason: str
    requested: datetime
    reviewed: datetime | None
    review_by: datetime | None

    @property
    def digest(self) -> str:
        """Name what an approval would be of."""
        return self.grant.scope.digest()


class Desk:
    """The grants in a database. `audit` is durable when it returns; without it nothing is decided."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        clock: Callable[[], datetime],
        audit: Callable[[Mapping[str, Any]], None],
        daily_subjects: int = DAILY_SUBJECTS,
    ) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock
        self._audit = audit
        self._daily = daily_subjects

    def ask(
        self,
        person: Person,
        action: Action,
        case_id: str,
        months: tuple[str, str],
        rows: int,
        values: Sequence[str],
        reason: str,
        break_glass: bool = False,
    ) -> Grant:
        """Ask for a grant. One without weight is given at once; one of weight waits for a second person.

        Break-glass gives it at once for an hour, and puts it on the auditors' board until somebody has reviewed it.
        """
        now = self._clock()
        if not 0 < len(reason.strip()) <= 1000:
            raise LetheError("a reason of 1 to 1,000 characters is needed")
        with self._database.begin() as session:
            case = owned(session, person, case_id, must_be_open=True)
            keys = self._ring.named(key_name(case_id))
            texts = _texts(values)
            target = _target(keys, texts) if action in OF_WEIGHT else ""
            scope = Scope(action, case.id, case.purpose, *months, rows, target)
            ends = now + (BREAK_GLASS if break_glass else LASTS)
            check_request(scope, person.may(), now, ends)
            given = break_glass or action not in OF_WEIGHT
            row = tables.GrantRow(
                id=str(uuid.uuid4()),
                person=person.id,
                action=action.value,
                case=case.id,
                purpose=case.purpose,
                first_month=months[0],
                last_month=months[1],
                rows=rows,
                target=target,
                sealed=b"",
                begins=now,
                ends=ends,
                state=(State.APPROVED if given else State.REQUESTED).value,
                break_glass=break_glass,
                used=0,
                requested=now,
            )
            asked = orjson.dumps({"values": texts, "reason": reason.strip()})
            row.sealed = seal_value(keys, "grants", "sealed", row.id, asked)
            self._audit(
                {
                    "who": person.name,
                    "action": "grant.break-glass" if break_glass else "grant.ask",
                    "grant": row.id,
                    "what": action.value,
                    "case": case.reference,
                    "purpose": scope.purpose,
                }
            )
            session.add(row)
        return grant_of(row)

    def approve(self, approver: Person, grant_id: str, digest: str) -> None:
        """Approve exactly what the digest names. The audit entry comes first: an approval nobody knows of is none."""
        self._decide(approver, grant_id, State.APPROVED, digest)

    def refuse(self, approver: Person, grant_id: str, digest: str) -> None:
        """Refuse a request."""
        self._decide(approver, grant_id, State.REFUSED, digest)

    def _decide(self, approver: Person, grant_id: str, state: State, digest: str) -> None:
        with self._database.begin(ends=True) as session:
            row = _locked(session, grant_id)
            check_approval(grant_of(row), approver.id, approver.may(), digest)
            self._audit({"who": approver.name, "action": f"grant.{state}", "grant": grant_id})
            row.state, row.decided, row.approved_by = state.value, self._clock(), approver.id
            row.approved_digest = digest if state is State.APPROVED else None
            if state is State.APPROVED:
                row.begins = self._clock()

    def revoke(self, person: Person, grant_id: str) -> None:
        """Take a grant back: its owner's own, or anybody's for whoever approves."""
        with self._database.begin(ends=True) as session:
            row = _locked(session, grant_id)
            if row.person != person.id and Permission.APPROVE not in person.may():
                raise RefusedError("there is no such grant of yours")
            self._audit({"who": person.name, "action": "grant.revoked", "grant": grant_id})
            row.state = State.REVOKED.value

    def review(self, auditor: Person, grant_id: str) -> None:
        """Note that a use of break-glass was looked at, by somebody else."""
        if Permission.REVIEW not in auditor.may():
            raise RefusedError("reviewing needs the role auditor")
        with self._database.begin() as session:
            row = _locked(session, grant_id)
            if not row.break_glass or row.person == auditor.id:
                raise RefusedError("there is nothing of somebody else's to review here")
            self._audit({"who": auditor.name, "action": "grant.reviewed", "grant": grant_id})
            row.reviewed, row.reviewed_by = self._clock(), auditor.id

    def use(
        self, person: Person, read: Read, values: Sequence[str], people: Sequence[str] | None = None
    ) -> Grant:
        """Find a grant for a read and take its rows from it; refuse the read where there is none.

        `read.rows` are taken at once (None: one, the rest by `took` when the number is known). The subjects count
        against the day's cap: `people`, where not every value is one.
        """
        return self._use(person, read, values, people, False)[0]

    def use_once(
        self, person: Person, read: Read, values: Sequence[str], people: Sequence[str] | None = None
    ) -> tuple[Grant, Callable[[int], None]]:
        """Find a grant as `use` does and take all the rows it has left: it is good for this once.

        Returns what counts the records that the answer tells of, and raises `RefusedError` for more than that. Broken
        glass stays open for its hour: of it only what is told of is taken.
        """
        grant, taken = self._use(person, read, values, people, True)
        if grant.break_glass:
            return grant, partial(self.took_all, grant.id)
        return grant, partial(_within, taken)

    def _use(
        self, person: Person, read: Read, values: Sequence[str], people: Sequence[str] | None, once: bool
    ) -> tuple[Grant, int]:
        now = self._clock()
        with self._database.begin() as session:
            case = owned(session, person, read.case, must_be_open=True)
            if read.action in OF_WEIGHT:
                keys = self._ring.named(key_name(case.id))
                target = _target(keys, _texts(values))
                read = Read(
                    person.id, read.action, case.id, read.first_month, read.last_month, read.rows, target
                )
            rows = session.scalars(
                select(tables.GrantRow)
                .where(
                    tables.GrantRow.person == person.id,
                    tables.GrantRow.case == case.id,
                    tables.GrantRow.action == read.action.value,
                )
                .order_by(tables.GrantRow.requested.desc())
                .with_for_update()
            ).all()
            refusal = RefusedError(f"there is no grant for {read.action} in this case: ask for one")
            for row in rows:
                try:
                    decide(grant_of(row), read, person.may(), True, now)
                except RefusedError as error:
                    refusal = error
                    continue
                self._count(session, person, values if people is None else people, now)
                taken = 1 if read.rows is None else read.rows
                if once and not row.break_glass:
                    taken = row.rows - row.used
                row.used += taken
                return grant_of(row), taken
            raise refusal

    def waiting_like(self, person: Person, read: Read, values: Sequence[str]) -> str | None:
        """Find the request of a person that waits for a second one and would cover a read of weight."""
        with self._database.begin() as session:
            case = owned(session, person, read.case, must_be_open=True)
            target = _target(self._ring.named(key_name(case.id)), _texts(values))
            return session.scalar(
                select(tables.GrantRow.id).where(
                    tables.GrantRow.person == person.id,
                    tables.GrantRow.case == case.id,
                    tables.GrantRow.action == read.action.value,
                    tables.GrantRow.target == target,
                    tables.GrantRow.state == State.REQUESTED.value,
                    tables.GrantRow.ends > self._clock(),
                    tables.GrantRow.first_month <= read.first_month,
                    tables.GrantRow.last_month >= read.last_month,
                )
            )

    def took(self, grant_id: str, rows: int) -> int:
        """Count rows of a read beyond the first, which `use` has counted; return how many of them may be shown."""
        if rows <= 1:
            return rows
        with self._database.begin() as session:
            row = _locked(session, grant_id)
            given = min(rows, 1 + max(0, row.rows - row.used))
            row.used += given - 1
            return given

    def took_all(self, grant_id: str, rows: int, how: str = "ask for more rows") -> None:
        """Count rows of a read as `took` does; raises `RefusedError` unless all of them may be shown."""
        if self.took(grant_id, rows) < rows:
            raise RefusedError(
                f"these are {rows:,} records, more than the grant has rows for: {how}, or choose a shorter period"
            )

    def still(self, person: Person, read: Read, grant_id: str) -> None:
        """Return if what was read under a grant may be shown once more; raise `RefusedError` otherwise.

        Its rows are counted already, so that they may be used up; all else has to hold as for a read.
        """
        with self._database.begin() as session:
            owned(session, person, read.case, must_be_open=True)
            row = session.get(tables.GrantRow, grant_id)
            if row is None:
                raise RefusedError("there is no such grant")
            decide(replace(grant_of(row), used=0), read, person.may(), True, self._clock())

    def waiting(self, person: Person) -> list[Asked]:
        """List what waits for approval by this person: requests of others, oldest first, as they were asked."""
        if Permission.APPROVE not in person.may():
            return []
        return self._list(tables.GrantRow.state == State.REQUESTED.value, tables.GrantRow.person != person.id)

    def of(self, person: Person, case: str | None = None, grant: str | None = None) -> list[Asked]:
        """List a person's own grants, newest first: all of them, those of a case, or one."""
        mine = [tables.GrantRow.person == person.id]
        mine += [] if case is None else [tables.GrantRow.case == case]
        mine += [] if grant is None else [tables.GrantRow.id == grant]
        return self._list(*mine)[::-1]

    def decided(self, person: Person) -> list[Asked]:
        """List what this person has decided, newest first."""
        if Permission.APPROVE not in person.may():
            return []
        return self._list(tables.GrantRow.approved_by == person.id)[::-1]

    def newest(self, person: Person, case: str, action: Action) -> Grant | None:
        """Return the newest grant of a person in a case for an action, whatever became of it."""
        mine = (
            select(tables.GrantRow)
            .where(
                tables.GrantRow.person == person.id,
                tables.GrantRow.case == case,
                tables.GrantRow.action == action.value,
            )
            .order_by(tables.GrantRow.requested.desc())
            .limit(1)
        )
        with self._database.begin() as session:
            row = session.scalar(mine)
            return None if row is None else grant_of(row)

    def history(self, person: Person, most: int) -> list[Asked]:
        """List the newest grants that needed a second person, or broke the glass, for whoever reviews: no values."""
        if Permission.REVIEW not in person.may():
            return []
        weighty = [action.value for action in OF_WEIGHT]
        found = self._rows(tables.GrantRow.action.in_(weighty) | tables.GrantRow.break_glass.is_(True))
        return [_told(row, name, case, (), "") for row, name, case in found[::-1][:most]]

    def unreviewed(self) -> list[Asked]:
        """List uses of break-glass that nobody has reviewed yet, oldest first."""
        return self._list(tables.GrantRow.break_glass.is_(True), tables.GrantRow.reviewed.is_(None))

    def _list(self, *conditions: Any) -> list[Asked]:
        return [self._asked(row, name, case) for row, name, case in self._rows(*conditions)]

    def _rows(self, *conditions: Any) -> Sequence[Any]:
        with self._database.begin() as session:
            return session.execute(
                select(tables.GrantRow, tables.Account.name, tables.Case)
                .join(tables.Account, tables.Account.id == tables.GrantRow.person)
                .join(tables.Case, tables.Case.id == tables.GrantRow.case)
                .where(*conditions)
                .order_by(tables.GrantRow.requested)
            ).all()

    def _asked(self, row: tables.GrantRow, name: str, case: tables.Case) -> Asked:
        values: tuple[str, ...] = ()
        reason = "(gone with the case)"
        if case.closed is None:
            keys = self._ring.named(key_name(case.id))
            asked = orjson.loads(open_value(keys, "grants", "sealed", row.id, row.sealed))
            values, reason = tuple(asked["values"]), asked["reason"]
        return _told(row, name, case, values, reason)

    def _count(self, session: Session, person: Person, values: Sequence[str], now: datetime) -> None:
        """Count different subjects of the day; refuse those beyond the cap. Nothing is kept of earlier days."""
        day = now.date().isoformat()
        # One at a time for each person: two looks in different cases, or instances, share a cap.
        session.execute(select(tables.Account.id).where(tables.Account.id == person.id).with_for_update())
        session.execute(delete(tables.DailyCount).where(tables.DailyCount.day < day))
        key = self._ring.named(KEY, create=True).salt_key.reveal()
        digests = {hmac.new(key, f"{day}\0{v.strip()}".encode(), sha256).hexdigest() for v in values}
        mine = select(tables.DailyCount.digest).where(
            tables.DailyCount.account == person.id, tables.DailyCount.day == day
        )
        known = set(session.scalars(mine))
        count = session.scalar(select(func.count()).select_from(mine.subquery())) or 0
        new = digests - known
        if count + len(new) > self._daily:
            raise CapError(
                f"at most {self._daily} different subjects a day (UTC); go on tomorrow, or have a colleague look"
            )
        session.add_all(tables.DailyCount(account=person.id, day=day, digest=d) for d in new)


def _within(most: int, rows: int) -> None:
    if rows > most:
        raise RefusedError(
            f"these are {rows:,} records, and the grant has rows for {most:,} and is used up by this: ask for one with "
            "more rows, or of a shorter period"
        )


def _texts(values: Sequence[str]) -> list[str]:
    """Give what is asked of, each once and in order: however it is listed, it is the same request."""
    return sorted({v.strip() for v in values if v.strip()})


def _target(keys: MonthKeys, texts: Sequence[str]) -> str:
    """Name the subjects a grant of weight is for by a keyed digest; nothing for none."""
    return value_digest(keys, "\0".join(texts)) if texts else ""


def grant_of(row: tables.GrantRow) -> Grant:
    """Read a grant's row."""
    scope = Scope(
        Action(row.action), row.case, row.purpose, row.first_month, row.last_month, row.rows, row.target
    )
    return Grant(
        row.id, row.person, scope, row.begins, row.ends, State(row.state), row.approved_by, row.approved_digest,
        row.break_glass, row.used,
    )  # fmt: skip


def _locked(session: Session, grant_id: str) -> tables.GrantRow:
    row = session.get(tables.GrantRow, grant_id, with_for_update=True)
    if row is None:
        raise RefusedError("there is no such request")
    return row


def _told(row: tables.GrantRow, name: str, case: tables.Case, values: tuple[str, ...], reason: str) -> Asked:
    review_by = row.requested + REVIEW_WITHIN if row.break_glass else None
    return Asked(grant_of(row), name, case.reference, values, reason, row.requested, row.reviewed, review_by)
