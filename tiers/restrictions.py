"""Restrictions: people whose records stay but are not shown, because they asked for it.

A restriction names a person, so it is kept like everything that does: sealed under the keys of the month it was asked
for in, and gone with them. While the window still holds something of the person, the sweep renews it in good time.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import orjson

from keys.ring import KeyRing, UnknownKeyError
from keys.sealing import open_value, seal_value
from keys.tokens import subject_token
from schemas.errors import ExpiredKeyError
from schemas.policy import RetentionPolicy
from schemas.retention import Month, first_open_month
from schemas.subjects import Subject
from tiers.erasure import open_parts, search
from tiers.expiry import Forgetting
from tiers.objects import Objects

_FOLDER: Final = "_restrictions"
_NAME: Final = re.compile(r"_restrictions/([0-9]{4}-[0-9]{2})\.w([0-9]+)\.([0-9a-f]{16})\.json")


@dataclass(frozen=True, slots=True)
class Restriction:
    """One restriction in force. `repr` does not show whom it is for."""

    path: str
    month: Month
    window_months: int
    placed: datetime
    subjects: tuple[Subject, ...] = field(repr=False)


def place(
    objects: Objects, ring: KeyRing, policy: RetentionPolicy, subjects: tuple[Subject, ...], now: datetime
) -> bool:
    """Restrict the records of a person; False if they are restricted already."""
    if any(set(r.subjects) & set(subjects) for r in every(objects, ring)):
        return False
    _write(objects, ring, policy.window_months, subjects, now, now)
    return True


def lift(objects: Objects, ring: KeyRing, subjects: tuple[Subject, ...]) -> bool:
    """Lift the restriction of a person; False if there was none."""
    found = [r for r in every(objects, ring) if set(r.subjects) & set(subjects)]
    for restriction in found:
        objects.delete(restriction.path)
    return bool(found)


def every(objects: Objects, ring: KeyRing) -> Iterator[Restriction]:
    """The restrictions in force. One whose month has ended is over: it opens no more."""
    for path in objects.list(_FOLDER):
        match = _NAME.fullmatch(path)
        data = objects.get(path) if match else None
        if match is None or data is None:
            continue
        month, window = Month.parse(match[1]), int(match[2])
        try:
            keys = ring.keys_for(month, window)
        except (ExpiredKeyError, UnknownKeyError):
            continue
        document = orjson.loads(data)
        body = orjson.loads(
            open_value(keys, "restrictions", "subjects", match[3], b64decode(document["sealed"]))
        )
        subjects = tuple(Subject(kind, value) for kind, value in body)
        yield Restriction(path, month, window, datetime.fromisoformat(document["placed"]), subjects)


def tokens(objects: Objects, ring: KeyRing, now: datetime) -> set[tuple[str, int, bytes]]:
    """The tokens of every restricted person in every open month: (month, window, token)."""
    subjects = {s for r in every(objects, ring) for s in r.subjects}
    found: set[tuple[str, int, bytes]] = set()
    for info in ring.list(now) if subjects else ():
        if info.state == "live":
            keys = ring.keys_for(info.month, info.window_months)
            found |= {
                (str(info.month), info.window_months, subject_token(keys, s.kind, s.value)) for s in subjects
            }
    return found


def renew(do: Forgetting, policy: RetentionPolicy) -> int:
    """Carry restrictions that end with the oldest open month over to this one, if newer months hold the person.

    The new one is written before the old one is removed: a crash in between leaves both. Those that ended are removed.
    """
    now, objects = do.clock(), do.warehouse.objects
    renewed = 0
    for restriction in every(objects, do.ring):
        if restriction.month > first_open_month(now, restriction.window_months):
            continue
        newer = (p for p in open_parts(do) if p.month > restriction.month)
        if any(search(do, part, restriction.subjects) for part in newer):
            _write(objects, do.ring, policy.window_months, restriction.subjects, restriction.placed, now)
            objects.delete(restriction.path)
            renewed += 1
    for path in objects.list(_FOLDER):
        match = _NAME.fullmatch(path)
        if match and Month.parse(match[1]) < first_open_month(now, int(match[2])):
            objects.delete(path)
    return renewed


def _write(
    objects: Objects,
    ring: KeyRing,
    window: int,
    subjects: tuple[Subject, ...],
    placed: datetime,
    now: datetime,
) -> None:
    month, name = Month.of(now), secrets.token_hex(8)
    keys = ring.keys_for(month, window, create=True)
    body = orjson.dumps([[s.kind, s.value] for s in subjects])
    sealed = seal_value(keys, "restrictions", "subjects", name, body)
    document = {"placed": placed.astimezone(UTC).isoformat(), "sealed": b64encode(sealed).decode()}
    objects.create(f"{_FOLDER}/{month}.w{window}.{name}.json", orjson.dumps(document))
