"""Grants: no read of the window without one. Pure: values in, a decision or a refusal out.

A grant says who may do what, for which case and purpose, over which months, how many rows, and until when. One of
weight (what cannot be taken back, or shows many people at once) needs a second person, who approves a digest of exactly
what was asked. Break-glass opens at once, for a short time, and demands a review.

Invariants, held by `decide` and tried by random sequences in the tests:
1. nobody reads under somebody else's grant, a closed case, or with a role they no longer have;
2. nothing of weight is read before another person has approved exactly it, unless the glass was broken;
3. nothing is read before a grant begins, at or after its end, or once it is revoked;
4. no more rows are read than the grant says, all reads under it together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import orjson

from lethe.operations.access.roles import Permission
from lethe.schemas.errors import LetheError


class RefusedError(LetheError):
    """Somebody may not do this; the text says why and what to do, and names nobody."""


class CapError(RefusedError):
    """A grant covers it, but the day's cap of subjects is reached."""


class WaitingError(LetheError):
    """Nothing was done: a second person has to approve it first. `grant` is the request they will see."""

    def __init__(self, grant: str) -> None:
        super().__init__(
            f"a second person is needed: request {grant} waits for an approver; once it is approved, ask the same again"
        )
        self.grant = grant


class Action(StrEnum):
    """What a grant allows."""

    LOOKUP = "lookup"
    REVEAL = "reveal"
    BULK_REVEAL = "bulk reveal"
    EXPORT = "export"
    ERASE = "erase"
    RESTRICT = "restrict"
    HOLD = "hold"
    HANDOVER = "handover"
    CASE_FILE = "case file"
    DETECT = "detect"


class State(StrEnum):
    """Where a grant is in its life."""

    REQUESTED = "requested"
    APPROVED = "approved"
    REFUSED = "refused"
    REVOKED = "revoked"


LIVE: Final = (State.REQUESTED.value, State.APPROVED.value)
"""States in which a grant may still open something; when its owner's account is closed it is revoked."""

NEEDS: Final = {
    Action.LOOKUP: Permission.LOOKUP,
    Action.REVEAL: Permission.REVEAL,
    Action.BULK_REVEAL: Permission.REVEAL,
    Action.EXPORT: Permission.EXPORT,
    Action.ERASE: Permission.ERASE,
    Action.RESTRICT: Permission.RESTRICT,
    Action.HOLD: Permission.HOLD,
    Action.HANDOVER: Permission.HANDOVER,
    Action.CASE_FILE: Permission.HANDOVER,
    Action.DETECT: Permission.REVEAL,
}
OF_WEIGHT: Final = frozenset(
    {Action.BULK_REVEAL, Action.EXPORT, Action.ERASE, Action.HOLD, Action.HANDOVER, Action.CASE_FILE}
)
LONGEST: Final = timedelta(days=30)
BREAK_GLASS: Final = timedelta(hours=1)
REVIEW_WITHIN: Final = timedelta(hours=24)
MOST_ROWS: Final = 1_000_000
"""Of a grant."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """A reason to look, declared beforehand: which actions it allows."""

    name: str
    title: str
    actions: frozenset[Action]


PURPOSES: Final = {
    p.name: p
    for p in (
        Purpose(
            "fraud",
            "Fraud investigation",
            frozenset(
                {
                    Action.LOOKUP,
                    Action.REVEAL,
                    Action.BULK_REVEAL,
                    Action.HOLD,
                    Action.CASE_FILE,
                    Action.DETECT,
                }
            ),
        ),
        Purpose("dispute", "Disputed message or call", frozenset({Action.LOOKUP})),
        Purpose(
            "person",
            "Request of the person concerned",
            frozenset({Action.LOOKUP, Action.EXPORT, Action.ERASE, Action.RESTRICT}),
        ),
        Purpose(
            "authority",
            "Order of an authority",
            frozenset(
                {
                    Action.LOOKUP,
                    Action.REVEAL,
                    Action.BULK_REVEAL,
                    Action.HOLD,
                    Action.HANDOVER,
                    Action.CASE_FILE,
                }
            ),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked for: `target` is the digest of the values meant (keyed; never a value), empty for any."""

    action: Action
    case: str
    purpose: str
    first_month: str
    last_month: str
    rows: int
    target: str = ""

    def digest(self) -> str:
        """Name exactly this scope: what an approval is of (SHA-256 of its canonical JSON, in hex)."""
        return hashlib.sha256(
            orjson.dumps(
                {
                    "action": self.action.value,
                    "case": self.case,
                    "purpose": self.purpose,
                    "first_month": self.first_month,
                    "last_month": self.last_month,
                    "rows": self.rows,
                    "target": self.target,
                },
                option=orjson.OPT_SORT_KEYS,
            )
        ).hexdigest()


@dataclass(frozen=True, slots=True)
class Grant:
    """A scope given (or not yet given) to a person, from `begins` until before `ends`."""

    id: str
    person: str
    scope: Scope
    begins: datetime
    ends: datetime
    state: State
    approved_by: str | None = None
    approved_digest: str | None = None
    break_glass: bool = False
    used: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """What somebody is about to do: of `rows` None where the number is not known beforehand."""

    person: str
    action: Action
    case: str
    first_month: str
    last_month: str
    rows: int | None = None
    target: str = ""


def check_request(scope: Scope, may: Collection[Permission], begins: datetime, ends: datetime) -> None:
    """Refuse what nobody could be granted: an unknown purpose, an action outside of it, a role that lacks it."""
    purpose = PURPOSES.get(scope.purpose)
    if purpose is None:
        raise RefusedError(f"purpose: one of {', '.join(sorted(PURPOSES))}")
    if scope.action not in purpose.actions:
        raise RefusedError(f"{scope.action} is no part of the purpose {scope.purpose}")
    if NEEDS[scope.action] not in may:
        raise RefusedError(f"your roles do not include {scope.action}")
    if not begins < ends <= begins + LONGEST:
        raise RefusedError(f"a grant lasts at most {LONGEST.days} days")
    if scope.first_month > scope.last_month:
        raise RefusedError("the first month lies after the last")
    if not 0 < scope.rows <= MOST_ROWS:
        raise RefusedError(f"rows: 1 to {MOST_ROWS:,}")


def check_approval(grant: Grant, approver: str, may: Collection[Permission], digest: str) -> None:
    """Refuse an approval by the same person, without the role, or of anything but what was asked."""
    if Permission.APPROVE not in may:
        raise RefusedError("approving needs the role approver")
    if approver == grant.person:
        raise RefusedError("a second person is needed: nobody approves their own request")
    if grant.state is not State.REQUESTED:
        raise RefusedError(f"this request is {grant.state} already")
    if digest != grant.scope.digest():
        raise RefusedError("this is not what was asked for: look at the request again")


def decide(grant: Grant, read: Read, may: Collection[Permission], case_open: bool, now: datetime) -> None:
    """Return if the read may happen under the grant; raise `RefusedError` otherwise."""
    scope = grant.scope
    if grant.person != read.person:
        raise RefusedError("this grant is another person's")
    if NEEDS[read.action] not in may:
        raise RefusedError(f"your roles do not include {read.action}")
    if read.action is not scope.action or read.case != scope.case:
        raise RefusedError("the grant is for something else; ask for what is needed")
    if not case_open:
        raise RefusedError("the case is closed")
    if grant.state is not State.APPROVED:
        raise RefusedError(f"the grant is {grant.state}")
    if not grant.begins <= now < grant.ends:
        raise RefusedError("the grant has ended; ask again")
    if scope.action in OF_WEIGHT and not grant.break_glass:
        if grant.approved_by is None or grant.approved_by == grant.person:
            raise RefusedError("a second person has to approve this first")
        if grant.approved_digest != scope.digest():
            raise RefusedError("what was approved is not what the grant says")
    if not scope.first_month <= read.first_month <= read.last_month <= scope.last_month:
        raise RefusedError(f"the grant covers {scope.first_month} to {scope.last_month}")
    if scope.target and scope.target != read.target:
        raise RefusedError("the grant is for another subject")
    if grant.used + (read.rows or 0) > scope.rows or grant.used >= scope.rows:
        raise RefusedError("the grant's rows are used up; ask again")
