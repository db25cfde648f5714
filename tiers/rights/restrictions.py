"""Restrictions: people whose records stay but are not shown, because they asked for it.

A restriction names a person, so it is kept like everything that does: sealed under the keys of months, and gone with
them. There is a copy of it under every month's keys that can have a record of the person, so that it is there as long
as any such record opens, whatever has been swept:

- placing it seals a copy under the keys of every open month;
- whoever is about to write the first record of a month puts the copies there that the month lacks (`carry`, called by
  the ring before it hands out keys for writing). Keys come first and then this look, in the one; copy first and then
  the look for months, in the other: whichever of two comes second sees the other.

A hold keeps records beyond their month, so there is a copy under the key of every hold in force too: placing a
restriction looks for holds, placing a hold for restrictions (`carry_to_hold`), the sweep for what a crash left out.

It ends when it is lifted, or when a sweep finds that neither the window nor a hold has anything of the person any more.
A mark is written first, and never removed: a copy that a worker writes meanwhile counts for nothing.

Its name is kept with the keys from when it is placed until just before that mark (`lethe.keys.kept`), so that whoever
can only write the warehouse ends none: a mark of one whose name is kept is not believed, and one of which no copy is
left is missed. Then nothing is shown to anybody without a reason of law, for nobody knows whom it was for.

    _restrictions/MONTH.wN.NAME.json   when it was placed, and the person, sealed under the keys of that month
    _restrictions/hold.ID.NAME.json    the same, sealed under the key of that hold
    _restrictions/NAME.ended           the restriction is over; no identifier in it, and NAME is random
"""

from __future__ import annotations

import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson
import pyarrow as pa

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import UNREADABLE, KeyRing, UnknownKeyError, month_key_id
from lethe.keys.sealing import open_value, seal_value
from lethe.keys.tokens import subject_token
from lethe.schemas.compute import pc
from lethe.schemas.errors import ExpiredKeyError, IntegrityError, LetheError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month, window_end
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.subjects.addresses import Subject
from lethe.schemas.words import counted
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import Query, position_of

if TYPE_CHECKING:  # every look-up asks which restrictions are in force, and for nothing else of this module
    from lethe.tiers.holds.definition import Hold
    from lethe.tiers.maintenance import MaintenanceContext
    from lethe.tiers.window.records import Part

_FOLDER: Final = "_restrictions"
_COPY: Final = re.compile(r"_restrictions/([0-9]{4}-[0-9]{2})\.w([0-9]+)\.([0-9a-f]{16})\.json")
_UNDER_HOLD: Final = re.compile(r"_restrictions/hold\.(h[0-9a-f]{12})\.([0-9a-f]{16})\.json")
_ENDED: Final = re.compile(r"_restrictions/([0-9a-f]{16})\.ended")


@dataclass(frozen=True, slots=True)
class Restriction:
    """One restriction in force. `repr` does not show whom it is for."""

    name: str
    placed: datetime
    subjects: tuple[Subject, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, order=True)
class _Copy:
    month: Month
    window_months: int
    path: str


@dataclass(slots=True)
class _Copies:
    """The copies of one restriction: those of months, newest first, and those under holds, by the holds' ids."""

    months: list[_Copy] = field(default_factory=list)
    holds: dict[str, str] = field(default_factory=dict)


def place(
    objects: Objects, ring: KeyRing, policy: RetentionPolicy, subjects: tuple[Subject, ...], now: datetime
) -> bool:
    """Restrict the records of a person; False if they are restricted already.

    1. Seal a copy under the keys of this month. A crash from here on leaves a restriction that is in force.
    2. Keep its name with the keys. After a crash before this the next sweep does.
    3. Seal one under the keys of every other open month, until a look finds no month without one.
    4. Seal one under the key of every hold in force.
    """
    if any(set(r.subjects) & set(subjects) for r in _in_force(objects, ring)):
        return False
    restriction = Restriction(secrets.token_hex(8), now, subjects)
    # Step 1
    month = Month.of(now)
    ring.keys_for(month, policy.window_months, create=True)
    _write(objects, ring, restriction, month, policy.window_months)
    # Step 2
    _keep(objects, ring, restriction.name)
    # Step 3
    there = {(month, policy.window_months)}
    while missing := {(k.month, k.window_months) for k in ring.live(now)} - there:
        for other, window in sorted(missing):
            # One that ended just now, or is not made yet: who makes it finds the copy of step 1.
            with suppress(ExpiredKeyError, UnknownKeyError):
                _write(objects, ring, restriction, other, window)
        there |= missing
    # Step 4
    from lethe.tiers.holds.holds import Holds

    for hold in Holds(objects, ring).active():
        _write_under_hold(objects, ring, restriction, hold)
    return True


def lift(objects: Objects, ring: KeyRing, subjects: tuple[Subject, ...]) -> bool:
    """Lift the restriction of a person; False if there was none."""
    found = [r for r in _in_force(objects, ring) if set(r.subjects) & set(subjects)]
    for restriction in found:
        _end(objects, ring, restriction.name)
    return bool(found)


def every(objects: Objects, ring: KeyRing) -> Iterator[Restriction]:
    """Yield the restrictions in force that open.

    `IntegrityError` for one of which every copy is damaged, and for one that was taken out of the warehouse.
    """
    if lost := missing(objects, ring):
        raise IntegrityError(
            f"{counted(len(lost), 'restriction')} in force cannot be found: bring {_FOLDER} back from the backup; "
            "until then look-ups need a reason of law. Without a backup, restrict those people again (the audit "
            f"knows whom), then remove {', '.join(sorted(lost))} from restrictions.kept in the key directory"
        )
    yield from _in_force(objects, ring)


def missing(objects: Objects, ring: KeyRing) -> frozenset[str]:
    """Return the names of restrictions that are kept with the keys and have no copy in the warehouse."""
    lost = ring.restrictions.names()
    for _ in range(
        2
    ):  # one that was placed between two looks is there at the second, one that was lifted is not kept
        if lost:
            lost -= _copies(objects, ring).keys()
            lost &= ring.restrictions.names()
    return lost


def _in_force(objects: Objects, ring: KeyRing) -> Iterator[Restriction]:
    for name, copies in _copies(objects, ring).items():
        if (found := _open(objects, ring, name, copies)) is not None:
            yield found


def tokens(objects: Objects, ring: KeyRing, now: datetime) -> set[tuple[str, int, bytes]]:
    """Return the tokens of every restricted person in every open month: (month, window, token)."""
    subjects = {s for r in every(objects, ring) for s in r.subjects}
    found: set[tuple[str, int, bytes]] = set()
    for info in ring.live(now) if subjects else ():
        try:
            keys = ring.keys_for(info.month, info.window_months)
        except (ExpiredKeyError, UnknownKeyError, *UNREADABLE):
            continue  # no record of that month opens either
        found |= {
            (str(info.month), info.window_months, subject_token(keys, s.kind, s.value)) for s in subjects
        }
    return found


def concern(warehouse: Warehouse, ring: KeyRing, position: Position, now: datetime) -> bool:
    """Tell whether a record names a restricted person, as far as its month still opens."""
    from lethe.tiers.window.records import at, select

    hidden = tokens(warehouse.objects, ring, now)
    columns = ["stream", "partition", "offset", "index", "month", "window_months", "token"]
    rows = select(warehouse.window["identifiers"], at([position]), columns) if hidden else ()
    return any(
        position_of(r) == position and (r["month"], r["window_months"], r["token"]) in hidden for r in rows
    )


def named_in(objects: Objects, ring: KeyRing, value: bytes) -> bool:
    """Tell whether raw bytes, such as those of a rejected record, name a restricted person."""
    from lethe.tiers.window.mentions import mentions

    return any(mentions(value, restriction.subjects) for restriction in every(objects, ring))


def carry(objects: Objects, ring: KeyRing, month: Month, window_months: int) -> None:
    """Put the copies under a month's keys that it lacks, before anything else is sealed under them.

    One that is damaged is left to the look-ups, which say so: traffic does not stop for it.
    """
    for name, copies in _copies(objects, ring).items():
        if any((c.month, c.window_months) == (month, window_months) for c in copies.months):
            continue
        try:
            restriction = _open(objects, ring, name, copies)
        except IntegrityError:
            continue
        if restriction is not None:
            _write(objects, ring, restriction, month, window_months)


def only_under(objects: Objects, ring: KeyRing, month: Month, window_months: int) -> int:
    """Count the restrictions of which the only copy is one under the keys of that month."""
    return sum(
        not copies.holds and {(c.month, c.window_months) for c in copies.months} == {(month, window_months)}
        for copies in _copies(objects, ring).values()
    )


def drop_copies(objects: Objects, ring: KeyRing, month: Month, window_months: int) -> None:
    """Remove the copies under the keys of a month, which are lost: `carry` puts new ones under its next keys.

    A restriction that has no other is over: its loss is certified.
    """
    for name, copies in _copies(objects, ring).items():
        if not copies.holds and {(c.month, c.window_months) for c in copies.months} == {
            (month, window_months)
        }:
            ring.restrictions.forget(name)
        for copy in copies.months:
            if (copy.month, copy.window_months) == (month, window_months):
                objects.delete(copy.path)


def carry_to_hold(objects: Objects, ring: KeyRing, hold: Hold) -> None:
    """Put the copies under a hold's key that it lacks; one that is damaged is left to the look-ups, which say so."""
    for name, copies in _copies(objects, ring).items():
        if hold.id not in copies.holds:
            with suppress(IntegrityError):
                if (restriction := _open(objects, ring, name, copies)) is not None:
                    _write_under_hold(objects, ring, restriction, hold)


def tidy(maintenance: MaintenanceContext) -> int:
    """Remove what has ended: copies whose month or hold is over, and restrictions of people of whom nothing is left.

    The second is looked at when a month or a hold is over, and a whole window after the restriction was placed at the
    earliest. Only what a hold preserves after a crash while it was placed depends on this. Returns how many ended.
    """
    now, objects, ring = maintenance.clock(), maintenance.warehouse.objects, maintenance.ring
    holds = {hold.id: hold for hold in maintenance.holds.active()}
    for hold in holds.values():
        carry_to_hold(objects, ring, hold)
    ended, kept = 0, ring.restrictions.names()
    for name, copies in _copies(objects, ring).items():
        over = [c.path for c in copies.months if window_end(c.month, c.window_months) <= now]
        over += [path for hold_id, path in copies.holds.items() if hold_id not in holds]
        idle = len(copies.months) == 0  # its last month went while holds kept it
        restriction = _open(objects, ring, name, copies) if over or idle else None
        if restriction is not None and _is_idle(maintenance, restriction, copies, holds.values()):
            _end(objects, ring, name)
            ended += 1
        elif len(over) == len(copies.months) + len(copies.holds):
            ring.restrictions.forget(
                name
            )  # before its last copy goes: one that is kept and has none is missed
        elif name not in kept:
            _keep(objects, ring, name)  # placed by an earlier release, or by a process that died
        for path in over:
            objects.delete(path)
    _remove_ended(objects, ring)
    return ended


def _keep(objects: Objects, ring: KeyRing, name: str) -> None:
    """Keep the name of a restriction, unless it was lifted meanwhile."""
    ring.restrictions.keep(name)
    if objects.get(f"{_FOLDER}/{name}.ended") is not None:
        ring.restrictions.forget(name)


def _over(paths: Sequence[str], ring: KeyRing) -> set[str]:
    """Return the names of restrictions that are over: marked as such, and kept with the keys no more."""
    ended = {match[1] for p in paths if (match := _ENDED.fullmatch(p))}
    return ended - ring.restrictions.names() if ended else ended


def _copies(objects: Objects, ring: KeyRing) -> dict[str, _Copies]:
    """Return the copies of every restriction that is not over, by name."""
    paths = objects.list(_FOLDER)
    over = _over(paths, ring)
    found: dict[str, _Copies] = {}
    for path in paths:
        if (match := _COPY.fullmatch(path)) and match[3] not in over:
            copy = _Copy(Month.parse(match[1]), int(match[2]), path)
            found.setdefault(match[3], _Copies()).months.append(copy)
        elif (match := _UNDER_HOLD.fullmatch(path)) and match[2] not in over:
            found.setdefault(match[2], _Copies()).holds[match[1]] = path
    for copies in found.values():
        copies.months.sort(reverse=True)
    return found


def _open(objects: Objects, ring: KeyRing, name: str, copies: _Copies) -> Restriction | None:
    """Return a restriction, from the first of its copies that opens; None when all months and holds are over."""
    damaged: str | None = None
    unread: LetheError | None = None
    opening = [(c.path, partial(ring.keys_for, c.month, c.window_months)) for c in copies.months]
    opening += [(path, partial(ring.named, f"hold.{hold_id}")) for hold_id, path in copies.holds.items()]
    for path, keys_of in opening:
        data = objects.get(path)
        try:
            keys = keys_of()
        except (ExpiredKeyError, UnknownKeyError):
            continue
        except UNREADABLE as error:
            unread = error
            continue
        if data is None:
            continue
        try:
            document = orjson.loads(data)
            sealed = b64decode(document["sealed"])
            body = orjson.loads(open_value(keys, "restrictions", "subjects", name, sealed))
            subjects = tuple(Subject(kind, value) for kind, value in body)
            return Restriction(name, datetime.fromisoformat(document["placed"]), subjects)
        except (IntegrityError, ValueError, KeyError, TypeError):
            damaged = path
    if damaged is not None:
        raise IntegrityError(f"the restriction {damaged} is damaged: bring it back from the backup")
    if unread is not None:
        raise unread
    return None


def _write(objects: Objects, ring: KeyRing, restriction: Restriction, month: Month, window: int) -> None:
    path = f"{_FOLDER}/{month_key_id(month, window)}.{restriction.name}.json"
    objects.create(path, _sealed(restriction, ring.keys_for(month, window)))


def _write_under_hold(objects: Objects, ring: KeyRing, restriction: Restriction, hold: Hold) -> None:
    with suppress(ExpiredKeyError, UnknownKeyError):  # released just now: it shows nothing any more
        path = f"{_FOLDER}/hold.{hold.id}.{restriction.name}.json"
        objects.create(path, _sealed(restriction, ring.named(hold.key)))


def _sealed(restriction: Restriction, keys: MonthKeys) -> bytes:
    body = orjson.dumps([[s.kind, s.value] for s in restriction.subjects])
    sealed = seal_value(keys, "restrictions", "subjects", restriction.name, body)
    placed = restriction.placed.astimezone(UTC).isoformat()
    document = {"placed": placed, "sealed": b64encode(sealed).decode()}
    return orjson.dumps(document)


def _end(objects: Objects, ring: KeyRing, name: str) -> None:
    """End a restriction.

    1. Keep its name no longer. After a crash it is in force, and the next sweep keeps it again.
    2. Mark it: from here on it counts for nothing.
    3. Remove its copies. After a crash the next sweep does.
    """
    ring.restrictions.forget(name)
    fail_point("restriction.unkept")
    objects.create(f"{_FOLDER}/{name}.ended", b"{}")
    fail_point("restriction.marked")
    _remove_ended(objects, ring)


def _remove_ended(objects: Objects, ring: KeyRing) -> None:
    """Remove the copies of restrictions that are over, one that a worker wrote meanwhile too."""
    paths = objects.list(_FOLDER)
    over = _over(paths, ring)
    for path in paths:
        match = _COPY.fullmatch(path) or _UNDER_HOLD.fullmatch(path)
        if match and match[match.lastindex or 0] in over:
            objects.delete(path)


def _is_idle(
    maintenance: MaintenanceContext, restriction: Restriction, copies: _Copies, holds: Iterable[Hold]
) -> bool:
    """Tell whether a restriction was placed a window ago and nothing of the person is left."""
    # The shortest: a country's longer window must not keep the name of another one's person.
    shortest = min((c.window_months for c in copies.months), default=0)
    a_window_ago = window_end(Month.of(restriction.placed), shortest) <= maintenance.clock()
    return a_window_ago and not _is_anywhere(maintenance, restriction.subjects, holds)


def _is_anywhere(
    maintenance: MaintenanceContext, subjects: tuple[Subject, ...], holds: Iterable[Hold]
) -> bool:
    """Tell whether the window, or what a hold has preserved, has anything that a look-up for the person would find."""
    from lethe.tiers.holds.scope import held_roles
    from lethe.tiers.window.records import open_parts

    query, holds = Query(subjects, None), list(holds)
    if holds and any(info.state == "ended" for info in maintenance.ring.list(maintenance.clock())):
        return True  # a month that could not be forgotten yet: holds may have to preserve something of it
    return any(
        _names(maintenance, part, subjects) for part in open_parts(maintenance.ring, maintenance.clock())
    ) or any(held_roles(record, query) for hold in holds for record in maintenance.holds.records(hold))


def _names(maintenance: MaintenanceContext, part: Part, subjects: tuple[Subject, ...]) -> bool:
    """Tell whether a partition of the window has a row that a look-up for the person would find."""
    from lethe.tiers.window.records import select

    theirs = pa.array(part.tokens(subjects), pa.binary())
    rows = part.rows & pc.field("token").isin(theirs)
    return bool(select(maintenance.warehouse.window["identifiers"], rows, ["offset"]))
