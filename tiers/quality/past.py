"""The past that commits are compared with: small files of profiles by day, kept in the warehouse for four weeks.

Every process that commits writes a file of its own a day, so that none waits for another; what a day's files say is
added up. Days that are over are put together into one file. What changed is kept beside them until the archive of its
year is over.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson

from lethe.schemas.retention.calendar import ARCHIVE_YEARS
from lethe.tiers.quality.profile import Column, Marks, Profile
from lethe.tiers.store.objects import Objects

DAYS: Final = 28
ACCEPTED_AFTER: Final = timedelta(days=7)
"""A change that lasts so long is how things are from then on."""
_TOGETHER: Final = "all"
_PROFILES: Final = "_quality/profiles"
_CHANGES: Final = "_quality/changes"
_SAME: Final = timedelta(days=2)
_MARKED_DAYS: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """A change: where, what, from what to what.

    `day` is that of the communications; `since` and `last` are the first and the last commit that show it.
    """

    format: str
    column: str
    day: str
    what: str
    since: datetime
    last: datetime
    before: str
    now: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same change."""
        return self.format, self.column, self.what

    def goes_on(self, earlier: Found) -> bool:
        """Tell whether this is an earlier one that goes on."""
        return self.key == earlier.key and self.since - earlier.last <= _SAME


def together(found: Iterable[Found]) -> list[Found]:
    """Put together what several processes found of the same change; in the order in which they began."""
    result: list[Found] = []
    newest: dict[tuple[str, str, str], int] = {}
    for one in sorted(found, key=lambda f: f.since):
        at = newest.get(one.key)
        if at is not None and one.goes_on(result[at]):
            result[at] = replace(result[at], last=max(one.last, result[at].last))
        else:
            newest[one.key] = len(result)
            result.append(one)
    return result


@dataclass(slots=True)
class Past:
    """What was before, of every format: columns of `DAYS` days, marks of the last hours, what changed."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)

    def add(self, name: str, profile: Profile) -> None:
        """Count a profile in."""
        self.profiles.setdefault(name, Profile()).add(profile)


def load(objects: Objects, now: datetime) -> Past:
    """Read what was before `now`; puts days that are over together and removes those that are too old.

    A file that cannot be read is left out: it is a day less to compare with.
    """
    past = Past(found=read_changes(objects))
    oldest, last_days, yesterday = (day_of(now - timedelta(days=ago)) for ago in (DAYS, _MARKED_DAYS, 1))
    accepted = {
        (f.format, f.column): day_of(f.since + ACCEPTED_AFTER)
        for f in past.found
        if f.last - f.since >= ACCEPTED_AFTER
    }
    for path in objects.list(_CHANGES):
        if int(_day_of(path)[:4]) < now.year - ARCHIVE_YEARS:
            objects.delete(path)
    days: dict[str, list[str]] = {}
    for path in objects.list(_PROFILES):
        days.setdefault(_day_of(path), []).append(path)
    for day, paths in sorted(days.items()):
        if day < oldest:
            for path in paths:
                objects.delete(path)
            continue
        over = day < yesterday and len(paths) > 1
        of_day = _read_day(objects, paths, marked=over or day >= last_days)
        for name, profile in of_day.items():
            kept = {c: v for c, v in profile.columns.items() if accepted.get((name, c), "") <= day}
            past.add(name, replace(profile, columns=kept))
        if over:
            _put_together(objects, day, paths, of_day)
    return past


def _read_day(objects: Objects, paths: list[str], marked: bool) -> dict[str, Profile]:
    bodies = {path: _parsed(objects.get(path)) for path in paths}
    held = {one for body in bodies.values() for one in body.get("of", ())}
    found: dict[str, Profile] = {}
    for path, body in bodies.items():
        if path not in held:
            for name, said in body.get("formats", {}).items():
                found.setdefault(name, Profile()).add(_profile(said, marked))
    return found


def _put_together(objects: Objects, day: str, paths: list[str], formats: Mapping[str, Profile]) -> None:
    """Write one file instead of several, then remove those: a crash leaves both, and the one names the others."""
    whole = f"{_PROFILES}/{day}/{_TOGETHER}.json"
    if whole in paths or objects.create(whole, _body(formats, paths)):
        for path in paths:
            if path != whole and path in _parsed(objects.get(whole)).get("of", ()):
                objects.delete(path)


def save(objects: Objects, day: str, writer: str, formats: Mapping[str, Profile]) -> None:
    """Write what a process saw on a day."""
    objects.put(f"{_PROFILES}/{day}/{writer}.json", _body(formats))


def save_changes(objects: Objects, day: str, writer: str, found: Iterable[Found]) -> None:
    """Write what a process found on a day."""
    objects.put(f"{_CHANGES}/{day}/{writer}.json", orjson.dumps([asdict(one) for one in found]))


def read_changes(objects: Objects) -> list[Found]:
    """Read all that was found, in the order in which it began."""
    found = []
    for path in objects.list(_CHANGES):
        try:
            for one in orjson.loads(objects.get(path) or b"[]"):
                times = {name: datetime.fromisoformat(one[name]) for name in ("since", "last")}
                found.append(Found(**{**one, **times}))
        except (ValueError, TypeError, KeyError):
            continue
    return together(found)


def day_of(at: datetime) -> str:
    """Name the day of an instant, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d}"


def _day_of(path: str) -> str:
    return path.split("/")[2]


def _parsed(body: bytes | None) -> dict[str, Any]:
    try:
        said = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _body(formats: Mapping[str, Profile], of: Iterable[str] = ()) -> bytes:
    return orjson.dumps({"of": list(of), "formats": {name: _said(p) for name, p in formats.items()}})


def _said(profile: Profile) -> dict[str, Any]:
    columns = {
        name: [c.rows, c.missing, c.zeros, c.negatives, dict(c.counts), c.windows, c.bands]
        for name, c in profile.columns.items()
    }
    hours = {
        str(hour): [marks.below, _packed(marks.marks), _packed(marks.marks.values())]
        for hour, marks in profile.hours.items()
    }
    return {"rows": profile.rows, "day": profile.day, "columns": columns, "hours": hours}


def _profile(said: Mapping[str, Any], marked: bool) -> Profile:
    columns = {}
    for name, (rows, missing, zeros, negatives, counts, windows, bands) in said["columns"].items():
        limits = {which: (low, high) for which, (low, high) in bands.items()}
        columns[name] = Column(rows, missing, zeros, negatives, Counter(counts), windows, limits)
    hours = {
        int(hour): Marks(below, dict(zip(_unpacked(marks), _unpacked(numbers), strict=True)))
        for hour, (below, marks, numbers) in (said["hours"].items() if marked else ())
    }
    return Profile(said["rows"], said["day"], columns, hours)


def _packed(numbers: Iterable[int]) -> str:
    return base64.b64encode(np.fromiter(numbers, "<u4").tobytes()).decode()


def _unpacked(text: str) -> list[int]:
    found: list[int] = np.frombuffer(base64.b64decode(text), "<u4").tolist()
    return found
