"""Instants of made-up traffic, as whole milliseconds since 1970 (UTC), and the ways they are written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Final

from lethe.schemas.retention.calendar import WINDOW_MONTHS, Month
from lethe.testing.traffic.wheels import SLOTS, Draw, wheel

DAY: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)
# Traffic by hour (UTC) and weekday (Monday first), in percent of the average: the days of Asia and Europe.
_HOURS: Final = (
    *(38, 35, 42, 60, 88, 110, 128, 142, 158, 165, 160, 150),
    *(146, 144, 140, 136, 130, 124, 112, 96, 78, 62, 50, 42),
)
_WEEKDAYS: Final = (108, 112, 114, 112, 106, 78, 70)
_HOUR_WHEEL: Final = wheel(list(enumerate(_HOURS)))
LATE_MONTHS: Final = range(WINDOW_MONTHS + 1, WINDOW_MONTHS + 9)
"""How many months before that of `until` a late record's month is: its window has ended, 13 to 20."""


def millis(instant: datetime) -> int:
    """Return the milliseconds since 1970 of an instant; refuse one without a time zone."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return (instant.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _days(first: Month, after: Month) -> list[tuple[int, int]]:
    start, end = millis(first.start()) // DAY, millis(after.start()) // DAY
    return [(day * DAY, _WEEKDAYS[(day + 3) % 7]) for day in range(start, end)]  # 1970-01-01 was a Thursday


class Calendar:
    """When things happen: in the last `months` calendar months before `until`, or late."""

    def __init__(self, draw: Draw, until: datetime, months: int) -> None:
        if not 1 <= months <= WINDOW_MONTHS:
            raise ValueError(f"traffic spreads over 1 to {WINDOW_MONTHS} calendar months")
        self.until = millis(until)
        self._draw = draw
        last = Month.of(datetime.fromtimestamp((self.until - 1) / 1000, UTC))
        self._start = millis(last.plus(1 - months).start())
        self._days = wheel([d for d in _days(last.plus(1 - months), last.plus(1)) if d[0] < self.until], 4096)
        now = Month.of(until)
        self._late = tuple(
            (wheel(_days(now.plus(-n), now.plus(1 - n)), 4096), millis(now.plus(1 - n).start()))
            for n in LATE_MONTHS
        )

    def instant(self) -> int:
        """Draw an instant of the recent months, before `until`."""
        draw = self._draw
        moment = self._days[int(draw() * 4096)] + _HOUR_WHEEL[int(draw() * SLOTS)] * 3_600_000
        moment += int(draw() * 3_600_000)
        if moment >= self.until:  # the last day is cut off: anywhere in the time there is
            moment = self._start + int(draw() * (self.until - self._start))
        return moment

    def late(self) -> tuple[int, int]:
        """Draw an instant whose window has ended at `until`, and the end of its month."""
        draw = self._draw
        days, end = self._late[int(draw() * len(self._late))]
        moment = (
            days[int(draw() * 4096)] + _HOUR_WHEEL[int(draw() * SLOTS)] * 3_600_000 + int(draw() * 3_600_000)
        )
        return moment, end


@cache
def _seconds() -> tuple[str, ...]:
    return tuple(f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(86_400))


@cache
def _fractions(suffix: str) -> tuple[str, ...]:
    return tuple(f".{ms:03d}{suffix}" for ms in range(1000))


def _style(offset_minutes: int, zone: str, fraction: bool) -> Callable[[int], str]:
    seconds = _seconds()
    fractions = _fractions(zone) if fraction else (zone,) * 1000
    shift = offset_minutes * 60_000
    days: dict[int, str] = {}

    def write(instant: int) -> str:
        day, rest = divmod(instant + shift, DAY)
        text = days.get(day)
        if text is None:
            text = days[day] = f"{_EPOCH + timedelta(days=day)}T"
        second, ms = divmod(rest, 1000)
        return text + seconds[second] + fractions[ms]

    return write


def styles() -> tuple[Callable[[int], str], ...]:
    """Return a wheel (of 1,024) of the ways a time is written: mostly milliseconds and `+0000`, seldom another."""
    return wheel(
        [
            (_style(0, "+0000", True), 940),
            (_style(60, "+0100", True), 28),
            (_style(0, "Z", True), 18),
            (_style(0, "+0000", False), 18),
            (_style(0, "Z", False), 8),
            (_style(-180, "-0300", True), 8),
            (_style(300, "+0500", False), 4),
        ]
    )
