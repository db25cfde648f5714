"""Calendar arithmetic of forgetting, in UTC.

A communication in month M leaves the window at the first instant of month M+13 (12 months after the end of M);
one in year Y leaves the archive at the first instant of year Y+11 (10 years following that year). Usage data of month M
leaves the window at the first instant of month M+36, so that nothing of it is ever older than three years.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime

WINDOW_MONTHS = 12
ARCHIVE_YEARS = 10
USAGE_MONTHS = 35
"""After the end of the month: what happened at its first instant is three years old when the month leaves."""

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_YEARS = (1900, 3000)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read `YYYY-MM`; raises `ValueError` for anything else."""
        match = _MONTH.fullmatch(text)
        if not match:
            raise ValueError("a month is written YYYY-MM")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, instant: datetime) -> Month:
        """Return the month an instant (with a time zone) falls in, in UTC."""
        utc = instant.astimezone(UTC)
        return cls(utc.year, utc.month)

    def plus(self, months: int) -> Month:
        """Return the month that many months later (or earlier, if negative)."""
        year, zero_based = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(year, zero_based + 1)

    def start(self) -> datetime:
        """Return the first instant of the month."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)


def instant(typed: datetime) -> datetime:
    """Return a time that somebody typed, in UTC unless it says otherwise.

    Raises `ValueError` for one that no record has, of which the end of a period could be no time at all.
    """
    if not _YEARS[0] <= typed.year < _YEARS[1]:
        raise ValueError(f"a time from the year {_YEARS[0]} to {_YEARS[1] - 1}")
    return typed.replace(tzinfo=UTC) if typed.tzinfo is None else typed.astimezone(UTC)


def first_instant(day: str) -> datetime:
    """Return the first instant (UTC) of a day that somebody typed; raises `ValueError` as `instant` does."""
    typed = date.fromisoformat(day)
    return instant(datetime(typed.year, typed.month, typed.day))


def window_end(month: Month, window_months: int = WINDOW_MONTHS) -> datetime:
    """Return the first instant at which the identifiers of a month's communications may no longer be readable."""
    return month.plus(window_months + 1).start()


def archive_end(year: int, archive_years: int = ARCHIVE_YEARS) -> datetime:
    """Return the first instant at which the metadata of a year's communications may no longer be kept."""
    if year + archive_years >= MAXYEAR:
        return datetime.max.replace(tzinfo=UTC)
    return datetime(year + archive_years + 1, 1, 1, tzinfo=UTC)


def first_open_month(now: datetime, window_months: int = WINDOW_MONTHS) -> Month:
    """Return the oldest month whose window has not ended at `now`: `window_end` of it is after `now`."""
    return Month.of(now).plus(-window_months)
