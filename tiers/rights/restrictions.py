"""Restrictions: people whose records stay but are not shown, because they asked for it.

A restriction names a person, so it is kept like everything that does: sealed under the keys of months, and gone with
them. There is a copy of it under every month's keys that can have a record of the person, so that it is there as long
as any such record opens, whatever has been swept:

- placing it seals a copy under the keys of every open month;
- whoever is about to write the first record of a month puts the copies there that the month lacks (`carry`, called by
  the ring before it hands out keys for writing). Keys come first and then this look, in the one; copy first and then
  the look for months, in the other: whichever of two comes second sees the other.

It ends when it is lifted, or when a sweep finds that the window holds nothing of the person any more. A mark is written
first, and never removed: a copy that a worker writes meanwhile counts for nothing.

    _restrictions/MONTH.wN.NAME.json   when it was placed, and the person, sealed under the keys of that month
    _restrictions/NAME.ended           the restriction is over; no identifier in it, and NAME is random
"""

from __future__ import annotations

import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lethe.keys.ring import UNREADABLE, KeyRing, UnknownKeyError
from lethe.keys.sealing import open_value, seal_value
from lethe.keys.tokens import subject_token
from lethe.schemas.errors import ExpiredKeyError, IntegrityError, LetheError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month, window_end
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import position_of
from lethe.tiers.window.mentions import mentions
from lethe.tiers.window.records import Part, at, open_parts, select

_FOLDER: Final = "_restrictions"
_COPY: Final = re.compile(r"_restrictions/([0-9]{4}-[0-9]{2})\.w([0-9]+)\.([0-9a-f]{16})\.json")
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


def place(
    objects: Objects, ring: KeyRing, policy: RetentionPolicy, subjects: tuple[Subject, ...], now: datetime
) -> bool:
    """Restrict the records of a person; False if they are restricted already.

    1. Seal a copy under the keys of this month. A crash from here on leaves a restriction that is in force.
    2. Seal one under the keys of every other open month, until a look finds no month without one.
    """
    if any(set(r.subjects) & set(subjects) for r in every(objects, ring)):
        return False
    restriction = Restriction(secrets.token_hex(8), now, subjects)
    # Step 1
    month = Month.of(now)
    ring.keys_for(month, policy.window_months, create=True)
    _write(objects, ring, restriction, month, policy.window_months)
    # Step 2
    there = {(month, policy.window_months)}
    while missing := {(k.month, k.window_months) for k in ring.list(now) if k.state == "live"} - there:
        for other, window in sorted(missing):
            # One that ended just now, or is not made yet: who makes it finds the copy of step 1.
            with suppress(ExpiredKeyError, UnknownKeyError):
                _write(objects, ring, restriction, other, window)
        there |= missing
    return True


def lift(objects: Objects, ring: KeyRing, subjects: tuple[Subject, ...]) -> bool:
    """Lift the restriction of a person; False if there was none."""
    found = [r for r in every(objects, ring) if set(r.subjects) & set(subjects)]
    for restriction in found:
        _end(objects, restriction.name)
    return bool(found)


def every(objects: Objects, ring: KeyRing) -> Iterator[Restriction]:
    """Yield the restrictions in force that open. `IntegrityError` for one of which every copy is damaged."""
    for name, copies in _copies(objects).items():
        if (found := _open(objects, ring, name, copies)) is not None:
            yield found


def tokens(objects: Objects, ring: KeyRing, now: datetime) -> set[tuple[str, int, bytes]]:
    """Return the tokens of every restricted person in every open month: (month, window, token)."""
    subjects = {s for r in every(objects, ring) for s in r.subjects}
    found: set[tuple[str, int, bytes]] = set()
    for info in ring.list(now) if subjects else ():
        if info.state != "live":
            continue
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
    hidden = tokens(warehouse.objects, ring, now)
    columns = ["stream", "partition", "offset", "index", "month", "window_months", "token"]
    rows = select(warehouse.window["identifiers"], at([position]), columns) if hidden else ()
    return any(
        position_of(r) == position and (r["month"], r["window_months"], r["token"]) in hidden for r in rows
    )


def named_in(objects: Objects, ring: KeyRing, value: bytes) -> bool:
    """Tell whether raw bytes, such as those of a rejected record, name a restricted person."""
    return any(mentions(value, restriction.subjects) for restriction in every(objects, ring))


def carry(objects: Objects, ring: KeyRing, month: Month, window_months: int) -> None:
    """Put the copies under a month's keys that it lacks, before anything else is sealed under them.

    One that is damaged is left to the look-ups, which say so: traffic does not stop for it.
    """
    for name, copies in _copies(objects).items():
        if any((c.month, c.window_months) == (month, window_months) for c in copies):
            continue
        try:
            restriction = _open(objects, ring, name, copies)
        except IntegrityError:
            continue
        if restriction is not None:
            _write(objects, ring, restriction, month, window_months)


def tidy(maintenance: MaintenanceContext) -> int:
    """Remove what has ended: copies whose month is over, and restrictions of people of whom nothing is left.

    The second is looked at when a month is over, and a whole window after the restriction was placed at the earliest.
    Nothing depends on when this runs, or whether it does. Returns how many restrictions ended.
    """
    now, objects = maintenance.clock(), maintenance.warehouse.objects
    ended = 0
    for name, copies in _copies(objects).items():
        over = [c for c in copies if window_end(c.month, c.window_months) <= now]
        restriction = _open(objects, maintenance.ring, name, copies) if over else None
        if restriction is not None:
            # The shortest: a country's longer window must not keep the name of another one's person.
            shortest = min(c.window_months for c in copies)
            a_window_ago = window_end(Month.of(restriction.placed), shortest) <= now
            if a_window_ago and not any(
                _names(maintenance, part, restriction.subjects)
                for part in open_parts(maintenance.ring, maintenance.clock())
            ):
                _end(objects, name)
                ended += 1
        for copy in over:
            objects.delete(copy.path)
    _remove_ended(objects)
    return ended


def _copies(objects: Objects) -> dict[str, list[_Copy]]:
    """Return the copies of every restriction that is not over, newest month first, by name."""
    paths = objects.list(_FOLDER)
    over = {match[1] for p in paths if (match := _ENDED.fullmatch(p))}
    found: dict[str, list[_Copy]] = {}
    for path in paths:
        match = _COPY.fullmatch(path)
        if match is not None and match[3] not in over:
            found.setdefault(match[3], []).append(_Copy(Month.parse(match[1]), int(match[2]), path))
    return {name: sorted(copies, reverse=True) for name, copies in found.items()}


def _open(objects: Objects, ring: KeyRing, name: str, copies: list[_Copy]) -> Restriction | None:
    """Return a restriction, from the first of its copies that opens; None when all of their months are over."""
    damaged: str | None = None
    unread: LetheError | None = None
    for copy in copies:
        data = objects.get(copy.path)
        try:
            keys = ring.keys_for(copy.month, copy.window_months)
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
            damaged = copy.path
    if damaged is not None:
        raise IntegrityError(f"the restriction {damaged} is damaged: bring it back from the backup")
    if unread is not None:
        raise unread
    return None


def _write(objects: Objects, ring: KeyRing, restriction: Restriction, month: Month, window: int) -> None:
    name, keys = restriction.name, ring.keys_for(month, window)
    body = orjson.dumps([[s.kind, s.value] for s in restriction.subjects])
    sealed = seal_value(keys, "restrictions", "subjects", name, body)
    placed = restriction.placed.astimezone(UTC).isoformat()
    document = {"placed": placed, "sealed": b64encode(sealed).decode()}
    objects.create(f"{_FOLDER}/{month}.w{window}.{name}.json", orjson.dumps(document))


def _end(objects: Objects, name: str) -> None:
    """End a restriction: mark it, from where on it counts for nothing, and remove its copies."""
    objects.create(f"{_FOLDER}/{name}.ended", b"{}")
    _remove_ended(objects)


def _remove_ended(objects: Objects) -> None:
    """Remove the copies of restrictions that are over, one that a worker wrote meanwhile too."""
    paths = objects.list(_FOLDER)
    over = {match[1] for p in paths if (match := _ENDED.fullmatch(p))}
    for path in paths:
        if (match := _COPY.fullmatch(path)) and match[3] in over:
            objects.delete(path)


def _names(maintenance: MaintenanceContext, part: Part, subjects: tuple[Subject, ...]) -> bool:
    """Tell whether a partition of the window has a row that a look-up for the person would find."""
    theirs = pa.array([subject_token(part.keys, s.kind, s.value) for s in subjects], pa.binary())
    rows = part.rows & pc.field("token").isin(theirs)
    return bool(select(maintenance.warehouse.window["identifiers"], rows, ["offset"]))
