"""What a site says of the lines its records come from: their country, dialling prefixes, and its own numbers."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from lethe.schemas.errors import ConfigurationError

Days = npt.NDArray[np.int64]
_LINE: Final = re.compile(
    r"\+?(?P<first>[0-9]{2,15})(?:\s*-\s*\+?(?P<last>[0-9]{2,15}))?"
    r"(?:[\s,;]+(?P<since>[0-9]{4}-[0-9]{2}-[0-9]{2}))?(?:[\s,;]+(?P<until>[0-9]{4}-[0-9]{2}-[0-9]{2}))?"
)
_MOST_LINES: Final = 1_000_000
_EVER: Final = (-(2**62), 2**62)


@dataclass(frozen=True, slots=True)
class OwnNumbers:
    """Numbers of the site itself, with the days on which they were. `repr` shows none of them."""

    starts: npt.NDArray[np.int64] = field(
        repr=False
    )  # ascending: numbers at which something begins or has ended
    periods: tuple[tuple[tuple[int, int], ...], ...] = field(
        repr=False
    )  # of each start: days, both ends included

    @property
    def count(self) -> int:
        """How many stretches of numbers there are."""
        return sum(map(len, self.periods))

    def has(self, digits: str, day: int) -> bool:
        """Tell whether a number was the site's own on a day (days since 1970)."""
        if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
            return False
        at = int(np.searchsorted(self.starts, _key(digits), "right")) - 1
        return at >= 0 and any(first <= day <= last for first, last in self.periods[at])


@dataclass(frozen=True, slots=True)
class Line:
    """`country`: ISO 3166 alpha-2, under which national numbers are read. `dial_prefixes`: dialled before a number."""

    country: str | None = None
    dial_prefixes: tuple[str, ...] = ()
    own: OwnNumbers | None = None
    charge_basis: str | None = None  # other than the declaration's: lethe.schemas.declaration.charge
    zone: str | None = None  # IANA name: of times that say none, instead of the declaration's
    currency: str | None = None  # of prices that name none, instead of the declaration's


ANY_LINE: Final = Line()


def parse_own_numbers(text: str, origin: str) -> OwnNumbers:
    """Read a file of own numbers: one number or range (`first-last`) a line, from and to which day if not always.

    `#` begins a comment. Raises `ConfigurationError` with the line and what is wrong there, never with what it says.
    """
    found: list[tuple[int, int, int, int, int]] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip().removeprefix("\ufeff")
        if not line:
            continue
        if number > _MOST_LINES:
            raise ConfigurationError(f"{origin}: more than {_MOST_LINES} lines; write ranges as first-last")
        found.append((*_stretch(line, f"{origin}, line {number}"), number))
    return _sorted_out(found, origin)


def _stretch(line: str, where: str) -> tuple[int, int, int, int]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ConfigurationError(
            f"{where}: write a number or first-last, in digits, and if you like two dates as YYYY-MM-DD"
        )
    first, last = match["first"], match["last"] or match["first"]
    if len(first) != len(last) or first > last:
        raise ConfigurationError(f"{where}: a range goes from a number to a higher one with as many digits")
    since, until = (
        _day(match[name], where, ever) for name, ever in zip(("since", "until"), _EVER, strict=True)
    )
    if since > until:
        raise ConfigurationError(f"{where}: the first day is after the last one")
    return _key(first), _key(last), since, until


def _day(text: str | None, where: str, ever: int) -> int:
    if text is None:
        return ever
    try:
        return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        raise ConfigurationError(f"{where}: there is no such day") from None


def _key(digits: str) -> int:
    """Return a number that keeps leading zeros: numbers of different length never meet."""
    return int(f"1{digits}")


def _sorted_out(found: Sequence[tuple[int, int, int, int, int]], origin: str) -> OwnNumbers:
    starts = sorted({bound for first, last, *_ in found for bound in (first, last + 1)})
    periods: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for first, last, since, until, number in sorted(found):
        for at in range(bisect_left(starts, first), bisect_left(starts, last + 1)):
            for other_since, other_until, other in periods[at]:
                if since <= other_until and other_since <= until:
                    lines = sorted((number, other))
                    raise ConfigurationError(f"{origin}, line {lines[1]}: overlaps line {lines[0]}")
            periods[at].append((since, until, number))
    return OwnNumbers(
        np.array(starts, np.int64),
        tuple(tuple((since, until) for since, until, _ in periods[at]) for at in range(len(starts))),
    )
