"""The day up to which the records of a file were received, for times that say no year (syslog, RFC 3164).

A message of a topic says when it came; a file says so at most by when it was last written, and a copy of it does not.
A year that is wrong is a month that is wrong, and an expiry: where the year cannot be known, nothing is taken in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from lethe.schemas.declaration.format import Declaration, Format, formats_of
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import first_instant
from lethe.streams.transform.batch import Batch
from lethe.streams.transform.decode.decode import ROW, decode
from lethe.streams.transform.decode.record_kinds import by_kind
from lethe.streams.transform.split.yearless import with_year, without_year
from lethe.tiers.store.objects import Objects

_NOTED: Final = "_ingest/received"
_HOUR: Final = r"^\s*([A-Z][a-z]{2} {1,2}[0-9]{1,2} [0-9]{2}):"
_AHEAD: Final = timedelta(days=1)
_BEHIND: Final = timedelta(days=2)
"""How long before a file was last written its last record may be for that day to be believed: a log is written to all
the time, and a copy that is made years later falls as near only by chance."""
_BACK: Final = timedelta(days=180)
"""Times of a log hardly go back. So far they do where its lines are of more than one year, the first of them taken
for the last."""
_MOST_LINE: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """Up to when records were received (UTC): `told` by who takes them in, else by when their file was last written."""

    up_to: datetime
    told: bool

    @property
    def milliseconds(self) -> int:
        """Return it since 1970."""
        return round(self.up_to.timestamp() * 1000)


def day_received(text: str, now: datetime) -> date:
    """Read the day that somebody gave with `--received`; raises `InputError` for none, or one to come."""
    try:
        day = first_instant(text).date()
    except ValueError:
        raise InputError("--received is a day, such as 2024-03-31") from None
    if day > (now + _AHEAD).date():
        raise InputError("--received is the day up to which the records were received: none that is to come")
    return day


def received(
    path: str, declared: Declaration, batches: Callable[[], Iterable[Batch]], day: date | None, now: datetime
) -> Received | None:
    """Say up to when a file's records were received; None where its times all say their year.

    `day` was given for it. Without it that counts when the file was last written (now, for standard input), if its last
    record is of the two days before. Raises `InputError` where it is not, where the times of one file are of several
    years, and for a `day` of a format whose times always say their year.
    """
    if not says_no_year(declared):
        if day is not None:
            raise InputError(
                f"--received is for times that say no year, and those of {declared.name} all say theirs"
            )
        return None
    # A day alone is its first instant: the rule allows a day more, which is to the end of it by the log's own clock.
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else min(_last_written(path) or now, now)
    end = end.replace(minute=0, second=0, microsecond=0)
    last = latest = None
    for when in filter(None, (_read(hour, end) for hour in _hours(declared, batches()))):
        if last is not None and last - when > _BACK:
            raise InputError(
                f"{path}: the times say no year and go back from {last:%d %B} to {when:%d %B} of the year before: the "
                f"lines are of more than one year up to {end:%Y-%m-%d}. Nothing was taken in: split the file, and give "
                "--received, the day up to which its records were received, for each part"
            )
        last, latest = when, max(when, latest or when)
    if latest is None:
        return None
    if day is None and latest < end.replace(tzinfo=None) - _BEHIND:
        raise InputError(
            f"{path}: the times say no year, and which it is cannot be known: the last record is of {latest:%d %B}, "
            f"the file of {end:%Y-%m-%d}. Nothing was taken in: give --received, the day up to which its records were "
            "received, such as --received 2024-03-31"
        )
    return Received(end, told=day is not None)


def remembered(
    objects: Objects, stream: str, path: str, day: date | None, find: Callable[[], Received | None]
) -> Received | None:
    """Return up to when the records of a file's stream were received, as it was said when the first of them came in.

    Raises `InputError` where another `day` is given now: what was begun goes on as it was.
    """
    name = f"{_NOTED}/{stream}"
    body = objects.get(name)
    if body is None:
        found = find()
        if found is None or objects.create(name, f"{found.up_to.isoformat()} {found.told:d}".encode()):
            return found
        body = objects.get(name) or b""
    when, _, told = body.decode().partition(" ")
    noted = Received(datetime.fromisoformat(when), told == "1")
    if day is not None and day != noted.up_to.date():
        raise InputError(
            f"{path}: it was taken in as received up to {noted.up_to:%Y-%m-%d}: go on with --received "
            f"{noted.up_to:%Y-%m-%d}, or take it out again first (lethe ingest undo)"
        )
    return noted


def says_no_year(declared: Declaration) -> bool:
    """Tell whether times of a format may say no year."""
    return any(without_year(fmt) for fmt in formats_of(declared).values())


def _last_written(path: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(Path(path).stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):  # standard input, for one
        return None


def _read(hour: str, up_to: datetime) -> datetime | None:
    written = with_year(f"{hour}:59:59", up_to)
    try:
        return datetime.fromisoformat(written)
    except ValueError:  # refused as a time, later
        return None


def _hours(declared: Declaration, batches: Iterable[Batch]) -> Iterator[str]:
    """Yield the hours of the events in the order of the lines, one that follows upon itself once."""
    for batch in batches:
        found = []
        for part in by_kind(batch, declared, [], _MOST_LINE):
            path = _of_event(part.fmt)
            if path is None or part.rejects:
                continue
            frame = decode(part.batch.values, part.fmt, _MOST_LINE).frame
            if frame.height:
                rows = pl.Series(part.rows, dtype=pl.Int64).gather(frame.get_column(ROW))
                found.append(frame.select(pl.col(path).str.extract(_HOUR).alias("hour"), rows.alias("row")))
        if found:
            hours = pl.concat(found).drop_nulls().sort("row", maintain_order=True).get_column("hour")
            yield from hours.filter(hours != hours.shift(1, fill_value="")).to_list()


def _of_event(fmt: Format) -> str | None:
    times = set(without_year(fmt))
    return next((f.path for f in fmt.fields if f.path in times and f.column == "event_time"), None)


__all__ = ["Received", "day_received", "received", "remembered", "says_no_year"]
