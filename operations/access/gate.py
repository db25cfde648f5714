"""The gate: what a command or a signed request has to pass before it reads, one rule for each of them.

A look-up needs the grant that came with the case. What has no weight is granted as it is asked for, and is in the audit
as a grant. What weighs is done once a second person has approved exactly it: until then it waits, asked for once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lethe.operations.access.accounts import Person
from lethe.operations.access.cases import Case, Cases
from lethe.operations.access.desk import Desk
from lethe.operations.access.grants import (
    OF_WEIGHT,
    Action,
    CapError,
    Read,
    RefusedError,
    WaitingError,
)
from lethe.operations.asker import Asker
from lethe.schemas.retention.calendar import USAGE_MONTHS, Month

_ONCE: Final = 1
"""Rows of a grant for what is done once: it is used up by it."""


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
    about, who count against the day's cap (None: the values). `reason` says why, in the person's own words.
    """

    action: Action
    values: Sequence[str]
    reason: str = ""
    people: Sequence[str] | None = None
    months: tuple[str, str] | None = None


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
        try:
            grant = self.desk.use(person, read, wish.values, wish.people)
        except CapError:
            raise
        except RefusedError:
            if wish.action not in OF_WEIGHT:
                raise
            waiting = self.desk.waiting_like(person, read, wish.values)
            raise WaitingError(waiting or self._ask(person, mine, wish, first, last)) from None
        purpose = f"{mine.purpose}: {wish.reason.strip()}" if wish.reason.strip() else mine.purpose
        return Passed(
            Asker.of(person.name, mine.reference, purpose, request=request, source=source), grant.id
        )

    def _ask(self, person: Person, case: Case, wish: Wish, first: str, last: str) -> str:
        reason = wish.reason.strip() or "no reason was given"
        return self.desk.ask(person, wish.action, case.id, (first, last), _ONCE, wish.values, reason).id
