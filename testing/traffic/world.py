"""What the record builders of one run share: the uniform source, the people, the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lethe.testing.traffic.clock import Calendar, styles
from lethe.testing.traffic.population import crowd
from lethe.testing.traffic.wheels import Draw, source


@dataclass(frozen=True, slots=True)
class World:
    """One run of one format.

    `anybody()` is a person's (country, rank); `moment(late, delay)` start and end of a communication, `until`
    the end of all, in milliseconds since 1970.
    """

    seed: int
    draw: Draw
    anybody: Callable[[], tuple[int, int]]
    moment: Callable[[bool, int], tuple[int, int]]
    styles: tuple[Callable[[int], str], ...]
    until: int


def world(format_name: str, seed: int, *, until: datetime, pakistan: float, months: int) -> World:
    """Set up a run: the same arguments give the same sequence of people and times."""
    draw = source("lethe traffic 1", format_name, seed)
    calendar = Calendar(draw, until, months)
    end = calendar.until

    def moment(late: bool, delay: int) -> tuple[int, int]:
        if late:
            start, limit = calendar.late()
        else:
            start, limit = calendar.instant(), end
        # Around the typical delay: a tail to four times of it. Nothing is over after `until`.
        u = draw()
        return start, min(start + int(delay * (0.3 + u * u * u * 3.7)), limit - 1)

    return World(seed, draw, crowd(draw, pakistan), moment, styles(), end)
