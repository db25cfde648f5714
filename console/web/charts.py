"""Charts as plain numbers for inline SVG: no script draws them, and a table or text says the same beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lethe.operations.analysis.overview import shades
from lethe.schemas import words

WIDTH: Final = 960
HEIGHT: Final = 96


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: where it stands, how high it is (of `HEIGHT`), and what it says."""

    x: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart over time: its bars, the labels under it (x, text), and what it shows in words."""

    bars: list[Bar]
    labels: list[tuple[float, str]]
    said: str
    width: int = WIDTH
    height: int = HEIGHT


def days(times: Sequence[datetime], since: datetime, until: datetime) -> Bars:
    """Count instants by day, or by week where there are more than 120 days, between the first and the last of them."""
    first = max(since, min(times)).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = min(until, max(times) + timedelta(days=1)).astimezone(UTC)
    step = timedelta(days=7 if (last - first).days > 120 else 1)
    count = max(1, -(-(last - first) // step))
    counted = Counter(int((t - first) / step) for t in times)
    most = max(counted.values())
    width = WIDTH / count
    bars = [
        Bar(
            round(at * width, 1),
            round(max(width - 1, 0.8), 1),
            round(max(2.0, HEIGHT * n / most), 1),
            f"{(first + at * step).date()}: {n:,}",
        )
        for at, n in sorted(counted.items())
    ]
    labels = [
        (round(at * width, 1), (first + at * step).strftime("%d %b %Y"))
        for at in sorted({0, count // 2, count - 1})
    ]
    busiest, n = max(counted.items(), key=lambda item: item[1])
    unit = "week of" if step.days == 7 else "day"
    said = f"{words.counted(len(times), 'communication')} between {min(times).date()} and {max(times).date()}; most on the {unit} {(first + busiest * step).date()}: {n:,}"  # noqa: E501
    return Bars(bars, labels, said)


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of a heat map: where it stands, how dark it is (0 to 5), and what it says."""

    x: int
    y: int
    shade: int
    title: str


@dataclass(frozen=True, slots=True)
class Heat:
    """A heat map of weekday and hour: its fields, its counts (7 rows of 24), and what it shows in words."""

    cells: list[Cell]
    counts: list[list[int]]
    said: str


WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CELL: Final = (36, 24)


def week(counts: list[list[int]]) -> Heat:
    """Draw counts by weekday and hour (UTC)."""
    most = max(max(row) for row in counts)
    total = sum(map(sum, counts))
    cells = [
        Cell(hour * CELL[0], day * CELL[1], shade, f"{WEEKDAYS[day]} {hour:02d}:00: {counts[day][hour]:,}")
        for day in range(7)
        for hour, shade in enumerate(shades(counts[day], max(most, 1)))
    ]
    day, hour = max(
        ((d, h) for d in range(7) for h in range(24)), key=lambda at: (counts[at[0]][at[1]], -at[0], -at[1])
    )
    most_on = f"most on {WEEKDAYS[day]} from {hour:02d}:00: {most:,}"
    said = f"{words.counted(total, 'communication')} by weekday and hour (UTC); {most_on}"
    return Heat(cells, counts, said)
