"""Hold what must be kept although its time has come: place, list, look at and release legal holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from lethe.operations.asker import Asker, record
from lethe.operations.audit.naming import BEHIND_A_PLUS, may_name_somebody
from lethe.operations.retention.sweep import registrar
from lethe.operations.runtime import Runtime
from lethe.operations.window.identify import identify
from lethe.schemas.errors import InputError, LetheError
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.holds import coverage
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.release import finish_release
from lethe.tiers.holds.scope import Scope
from lethe.tiers.rights import restrictions

_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Order:
    """What an authority orders to keep: whom (any usual spelling), which accounts, which messages, and from when on.

    A record is covered when it matches one of these and `since` <= its time < `until`.
    """

    authority: str
    reference: str
    review: datetime
    people: Sequence[str] = ()
    accounts: Sequence[str] = ()
    messages: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    days: int | None = None  # after which it ends by itself, unless it is extended
    claims: bool = False  # it keeps them for legal claims, not by an order
    tell: bool = False  # an export may tell the person by whose order


@dataclass(frozen=True, slots=True)
class Placed:
    """A hold that is in force from now on."""

    hold: str
    reference: str
    review: datetime
    records: int  # that it covers now
    months: list[str]  # those they lie in
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class Extended:
    """The dates a hold has from now on."""

    hold: str
    reference: str
    review: datetime
    ends: datetime | None


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list of holds; a released hold's reference and authority open no more."""

    hold: str
    state: str
    reference: str | None
    authority: str | None
    placed: datetime
    review: datetime
    ends: datetime | None
    released: datetime | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A hold in force: whom and what it covers as counts, what it has preserved and how many deletions wait for it."""

    hold: str
    reference: str
    authority: str
    placed: datetime
    review: datetime
    ends: datetime | None
    overdue: bool
    covers: dict[str, int]
    since: datetime | None
    until: datetime | None
    set_aside: int
    waiting_deletions: int


@dataclass(frozen=True, slots=True)
class Released:
    """A hold whose key is destroyed: the number of the certificate, and how many deletions are complete by it."""

    hold: str
    certificate: int
    completed: int
    reference: str


def place(runtime: Runtime, asker: Asker, order: Order) -> Placed:
    """Place a hold: it is in force when this returns. Raises `InputError` for an order that cannot be carried out."""
    authority, reference, now = order.authority.strip(), order.reference.strip(), runtime.clock()
    if not (order.people or order.accounts or order.messages):
        raise InputError("name what it covers: --subject, --account or --message")
    if not 1 <= len(reference) <= _LONGEST or not 1 <= len(authority) <= _LONGEST:
        raise InputError("authority and reference have 1 to 200 characters")
    if order.review <= now:
        raise InputError("--review lies in the future")
    countries = runtime.settings.line_countries
    subjects = tuple(s for text in order.people for s in identify(text, countries).candidates)
    if any(_names_somebody(text, subjects) for text in (authority, reference)):
        raise InputError(
            "the audit keeps authority and reference for good: write them without anybody's number or address"
        )
    scope = Scope(subjects, tuple(order.accounts), tuple(order.messages), order.since, order.until)
    ends = None if order.days is None else now + timedelta(days=order.days)
    basis: Literal["order", "claims"] = "claims" if order.claims else "order"
    hold = _holds(runtime).place(authority, reference, order.review, scope, now, ends, basis, order.tell)
    restrictions.carry_to_hold(runtime.objects, runtime.ring, hold)
    record(
        runtime, asker, "hold.place", about=subjects, messages=order.messages, hold=hold.id, reference=hold.reference,
        authority=hold.authority,
    )  # fmt: skip
    months = coverage.count(runtime.warehouse, _holds(runtime), runtime.ring, hold, now)
    return Placed(hold.id, hold.reference, hold.review, sum(months.values()), sorted(months), hold.ends)


def extend(
    runtime: Runtime, asker: Asker, reference: str, reason: str, days: int | None, review: datetime | None
) -> Extended:
    """Give a hold more days before it ends by itself, another review date, or both. Raises `InputError` if neither.

    The days count from its end, or from now where it has none. What it covers never changes.
    """
    now, holds = runtime.clock(), _holds(runtime)
    if days is None and review is None:
        raise InputError("say for how many --days, until which --review, or both")
    if not reason.strip():
        raise InputError("--reason says why it is extended; a blank is none")
    if review is not None and review <= now:
        raise InputError("--review lies in the future")
    hold = holds.find(reference)
    ends = hold.ends if days is None else max(hold.ends or now, now) + timedelta(days=days)
    record(
        runtime, asker, "hold.extend", hold=hold.id, reference=hold.reference, reason=reason.strip()[:500],
        ends=None if ends is None else ends.isoformat(),
    )  # fmt: skip
    extended = holds.extend(hold, review or hold.review, ends)
    return Extended(hold.id, hold.reference, extended.review, extended.ends)


def every(runtime: Runtime) -> list[Listed]:
    """List every hold there ever was, oldest first: in force, overdue for review, or released."""
    holds, now = _holds(runtime), runtime.clock()
    active = {h.id: h for h in holds.active()}
    listed = []
    for known in holds.known():
        hold = active.get(known.id)
        state = "released" if known.released else "overdue" if known.review <= now else "in force"
        reference, authority = (hold.reference, hold.authority) if hold else (None, None)
        listed.append(
            Listed(
                known.id, state, reference, authority, known.placed, known.review, known.ends, known.released
            )
        )
    return listed


def show(runtime: Runtime, asker: Asker, reference: str) -> Shown:
    """Say what one hold in force covers (counted, not named); raises `LetheError` when there is no such hold."""
    holds = _holds(runtime)
    hold = holds.find(reference)
    scope = hold.scope
    shown = Shown(
        hold=hold.id,
        reference=hold.reference,
        authority=hold.authority,
        placed=hold.placed,
        review=hold.review,
        ends=hold.ends,
        overdue=hold.overdue(runtime.clock()),
        covers={
            "subjects": len({s.value for s in scope.subjects if s.kind == "opaque"}),
            "accounts": len(scope.accounts),
            "messages": len(scope.messages),
        },
        since=scope.since,
        until=scope.until,
        set_aside=sum(1 for _ in holds.records(hold)),
        waiting_deletions=holds.waiting(hold),
    )
    record(runtime, asker, "hold.show", hold=hold.id, reference=hold.reference)
    return shown


@dataclass(frozen=True, slots=True)
class Releasing:
    """What a release would destroy: the hold by the name it is known by, and the records it alone keeps."""

    hold: str
    name: str
    records: int


def before_release(runtime: Runtime, reference: str) -> Releasing:
    """Say what a release would destroy; raises `LetheError` when there is no such hold. Changes nothing."""
    holds = _holds(runtime)
    hold_id, name = _to_release(holds, reference)
    records = 0 if name == hold_id else sum(1 for _ in holds.records(holds.find(hold_id)))
    return Releasing(hold_id, name, records)


def release(runtime: Runtime, asker: Asker, reference: str) -> Released:
    """Release a hold, by its reference or id: its key is destroyed, and what had waited for it is forgotten.

    1. Find it. A hold whose release a crash interrupted is found by its id, as its reference opens no more.
    2. Write the audit entry. A crash from here on is mended by asking again with the id.
    3. Release it and issue the certificate.
    """
    # Step 1
    holds = _holds(runtime)
    hold_id, name = _to_release(holds, reference)
    # Step 2
    record(runtime, asker, "hold.release", hold=hold_id, reference=name)
    # Step 3
    certificate = finish_release(holds, registrar(runtime), hold_id, runtime.clock())
    return Released(hold_id, certificate["number"], len(certificate["completed"]), name)


def _to_release(holds: Holds, reference: str) -> tuple[str, str]:
    if reference in holds.unfinished():  # a crash came in between: its reference opens no more
        return reference, reference
    if any(k.id == reference and k.released for k in holds.known()):
        raise LetheError("this hold has been released already")
    hold = holds.find(reference)
    return hold.id, hold.reference


def _names_somebody(text: str, subjects: Sequence[Subject]) -> bool:
    """Tell whether a text has an address, a number with its plus, or whom the order is about, in it.

    References of courts have many digits of their own, so a count of them says nothing.
    """
    in_all = BEHIND_A_PLUS if "+" in text else None
    return may_name_somebody(text, in_all=in_all, subjects=subjects)


def _holds(runtime: Runtime) -> Holds:
    return Holds(runtime.objects, runtime.ring)
