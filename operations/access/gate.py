"""The gate: what a command or a signed request has to pass before it reads, one rule for each of them.

A look-up needs the grant that came with the case. What has no weight is granted as it is asked for, and is in the audit
as a grant. What weighs is done once a second person has approved exactly it: until then it waits, asked for once.
But for look-ups, which are counted as they answer, all rows of a grant are taken at once, and bound what is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from lethe.operations.access.accounts import Person
from lethe.operations.access.cases import Case, Cases
from lethe.operations.access.desk import Desk
from lethe.operations.access.grants import (
    MOST_ROWS,
    OF_WEIGHT,
    Action,
    CapError,
    Read,
    RefusedError,
    WaitingError,
)
from lethe.operations.asker import Asker
from lethe.schemas.retention.calendar import USAGE_MONTHS, Month

ROWS: Final = {Action.DETECT: 10_000, Action.EXPORT: MOST_ROWS, Action.HANDOVER: MOST_ROWS}
"""Rows that are asked for where an answer may tell of many records; of what is done to one record or person, one."""


def window_months(
    now: datetime, since: datetime | None = None, until: datetime | None = None
) -> tuple[str, str]:
    """Give the months from `since` to before `until`; by default all that may still open, the next one included.

    Usage data is kept longest. Which of these months opens for what is decided by their keys.
    """
    present = Month.of(now)
    first = present.plus(-USAGE_MONTHS) if since is None else Month.of(since)
    last = present.plus(1) if until is None else Month.of(until - timedelta(microseconds=1))
    return str(first), str(last)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to do: `values` are what a second person would approve, word for word; `people` whom it is
    about, who count against the day's cap (None: the values). `reason` says why, in the person's own words. `rows`: of
    how many records it may tell, where a grant is asked for (None: as `ROWS` says).
    """

    action: Action
    values: Sequence[str]
    reason: str = ""
    people: Sequence[str] | None = None
    months: tuple[str, str] | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """A wish that may be done: in whose name, under which grant."""

    asker: Asker
    grant: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate of an installation, over the desk that decides."""

    cases: Cases
    desk: Desk
    clock: Callable[[], datetime]

    def enter(
        self, person: Person, case: str, wish: Wish, source: str | None = None, request: str | None = None
    ) -> Passed:
        """Let a wish through under a grant of a case of one's own, named by id or reference.

        Raises `WaitingError` while a second person has to approve it, `RefusedError` where it may not be done.
        """
        mine = self.cases.named(person, case)
        first, last = wish.months or window_months(self.clock())
        if wish.action not in OF_WEIGHT and wish.action is not Action.LOOKUP:
            self._ask(person, mine, wish, first, last)
        read = Read(person.id, wish.action, mine.id, first, last)
        once = wish.action is not Action.LOOKUP
        try:
            if once:
                grant, count = self.desk.use_once(person, read, wish.values, wish.people)
            else:
                grant, count = self.desk.use(person, read, wish.values, wish.people), None
        except CapError:
            raise
        except RefusedError:
            if wish.action not in OF_WEIGHT:
                raise
            waiting = self.desk.waiting_like(person, read, wish.values)
            raise WaitingError(waiting or self._ask(person, mine, wish, first, last)) from None
        purpose = f"{mine.purpose}: {wish.reason.strip()}" if wish.reason.strip() else mine.purpose
        asker = Asker.of(person.name, mine.reference, purpose, request=request, source=source)
        return Passed(replace(asker, count=count), grant.id)

    def _ask(self, person: Person, case: Case, wish: Wish, first: str, last: str) -> str:
        reason = wish.reason.strip() or "no reason was given"
        rows = wish.rows or ROWS.get(wish.action, 1)
        return self.desk.ask(person, wish.action, case.id, (first, last), rows, wish.values, reason).id
