"""What is different in a window of records from what its format was before, named as what a vendor does.

Each column is compared by shares (of missing values, zeros, what lies behind), by codes and magnitudes never seen
before, and by the middle of its numbers or times. How far a measure may go is what it did in any window of the past,
and something more: less, the more windows there were, and never less than chance gives windows of that size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import log2, sqrt
from typing import Final

from lethe.tiers.quality.profile import (
    AGE,
    DONE,
    FEW,
    MANY,
    NEWEST,
    NUMBERS,
    REFUSED,
    REPEATED,
    Column,
    Profile,
)

LEAST_WINDOW: Final = 100
"""Records that are looked at together at least."""
_LEAST_PAST: Final = 1_000
_LEAST_WINDOWS: Final = 3
_SIGMAS: Final = 5.0
_LEAST_REPEATED: Final = 8
_REPEATED_SHARE: Final = 0.2
_HALVES: Final = 3.0  # half powers of two by which the middle of numbers may move: 2.8 times as much
_BEYOND: Final = 4  # half powers of two beyond all that was seen
_QUARTER_HOUR: Final = 900_000.0
_NEAR: Final = 180_000.0
_STEADY: Final = 600_000.0
_LEAST_STEADY: Final = 8
_MOSTLY: Final = 0.8
_LEAST_NUMBERS: Final = 30
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Change:
    """What changed in a column: a word of `KINDS`, and what it was before and is now.

    No value of a record is in it but codes that the archive shows.
    """

    column: str
    what: str
    before: str
    now: str


KINDS: Final[Mapping[str, str]] = {
    "missing": "values that were there are missing",
    "filled": "values stand where there were none",
    "zeros": "another share of values is zero",
    "negative": "another share of values is negative",
    "codes": "codes that were never seen before",
    "unit": "numbers are larger or smaller by a factor, as in another unit",
    "range": "numbers lie far outside of all that was seen before",
    "swapped": "two columns carry what the other one carried",
    "repeated": "records that were sent before were sent again",
    "zone": "times have moved against the clock by quarters of an hour",
    "future": "things happen before their time: in the future, or end before they begin",
    "refused": "another share of records is refused",
    "reasons": "records are refused for reasons never seen before",
}
"""The kinds of changes, and what each means."""


def changes(
    window: Profile, past: Mapping[str, Column], seen: Profile, replayed: bool = False
) -> list[Change]:
    """Name what is different in a window. `past`: the columns as they were; `seen`: marks of what came before.

    Nothing is said of a column with too little of a past. Of records that were rejected before (`replayed`) only what
    cannot be because they are a choice of all that came: what never was, not what was seldom.
    """
    if replayed:
        for column in (REFUSED, NEWEST):
            window.columns.pop(column, None)
        if window.rows < LEAST_WINDOW:
            window.columns.clear()
    window.columns[REPEATED] = _repeated(window, seen)
    found: list[Change] = []
    for name, now in window.columns.items():
        before = past.get(name)
        if before is None or before.windows < _LEAST_WINDOWS or before.rows < _LEAST_PAST:
            continue
        found += _changed(name, now, before, window, replayed)
    if not any(one.column == AGE and one.what in ("zone", "future") for one in found):
        found += _moved_unsteadily(window, past)
    return _with_swaps(found, window, past)


def measured(window: Profile) -> dict[str, Column]:
    """Return the columns of a window as they go into the past: with the bands of what was measured in it."""
    return {name: _measured(column, name) for name, column in window.columns.items()}


def _measured(column: Column, name: str) -> Column:
    bands = {which: (share, share) for which, share in _shares(column).items()}
    bands |= {which: column.bands[which] for which in ("spread", "arrivals") if which in column.bands}
    if (middle := _middle(column, name)) is not None:
        bands["middle"] = middle, middle
    return replace(column, counts=Counter(column.counts), windows=1, bands=bands)


def _changed(name: str, now: Column, before: Column, window: Profile, replayed: bool) -> list[Change]:
    if name == NEWEST:
        return []
    if name == REPEATED:
        return _again(now, before, window)
    found = []
    for which, share in _shares(now).items():
        low, high = before.bands.get(which, (0.0, 0.0))
        count = now.rows if which == "missing" else now.rows - now.missing
        if (low - _margin(low, count, before.windows) <= share) and (
            share <= high + _margin(high, count, before.windows)
        ):
            continue
        if replayed and (high > 0.0 if share > high else low < 1.0):
            continue
        was, is_now = _band(low, high), f"{share:.1%}"
        if name == REFUSED:  # its missing values are the records that were not refused
            was, is_now = _band(1 - high, 1 - low), f"{1 - share:.1%}"
            is_now += f": {_most(now.counts)}" if now.counts else ""
        found.append(Change(name, _kind_of_share(name, which, share > high), was, is_now))
    if name in (AGE, DONE):
        return [*found, *_moved(name, now, before)]
    if name in NUMBERS:
        return found + _numbers(name, now, before, replayed)
    if name in FEW or name in MANY or name in ("method", REFUSED):
        found += _codes(name, now, before)
    return found


def _shares(column: Column) -> dict[str, float]:
    if not column.rows:
        return {}
    there = column.rows - column.missing
    shares = {"missing": column.missing / column.rows}
    if there >= _LEAST_NUMBERS:
        shares |= {"zeros": column.zeros / there, "negative": column.negatives / there}
    return shares


def _kind_of_share(name: str, which: str, more: bool) -> str:
    if name == REFUSED:
        return "refused"
    if name in (AGE, DONE) and which == "negative":
        return "future"
    if which == "missing":
        return "missing" if more else "filled"
    return which


def _margin(share: float, count: int, windows: int) -> float:
    """Say how far a share may go beyond what it was: what never or always was may change less."""
    usual = min(max(share, 0.002), 0.998)
    chance = _SIGMAS * sqrt(usual * (1 - usual) / max(1, count))
    return max(0.01 if share in (0.0, 1.0) else 0.1, chance) + 0.4 / sqrt(windows)


def _band(low: float, high: float) -> str:
    return f"{low:.1%}" if high - low < 0.001 else f"{low:.1%} to {high:.1%}"


def _codes(name: str, now: Column, before: Column) -> list[Change]:
    """Find codes never seen before. How many of them chance gives is estimated from those seen only once."""
    if before.full:
        return []
    new = {code: count for code, count in now.counts.items() if code not in before.counts}
    seen, total = before.counts.total(), now.counts.total()
    once = sum(count == 1 for count in before.counts.values())
    expected = 10 * total * (once + 1) / max(1, seen)
    count = sum(new.values())
    if count <= 3 + expected or (name in MANY and count < total / 2) or seen < _LEAST_PAST / 4:
        return []
    kind = "reasons" if name == REFUSED else "codes"
    return [Change(name, kind, _most(before.counts), _most(new))]


def _most(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts, key=lambda code: (-counts[code], code))
    more = len(ranked) - _SHOWN
    return ", ".join(ranked[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _numbers(name: str, now: Column, before: Column, replayed: bool) -> list[Change]:
    """Find numbers in another unit, by their middle, or some far outside of what was seen."""
    middle, usual, band = _middle(now, name), _middle(before, name), before.bands.get("middle")
    if middle is not None and usual is not None and band is not None and not replayed:
        room = _HALVES + 4 / sqrt(before.windows)
        if not band[0] - room <= middle <= band[1] + room:
            larger = f"about {_size(middle)}, {_factor(2 ** ((middle - usual) / 2))}"
            return [Change(name, "unit", f"about {_size(usual)}", larger)]
    known = [*map(int, before.counts)]
    if not known:
        return []
    low, high = min(known), max(known)
    outside = {h: n for h, n in _halves(now).items() if not low - _BEYOND <= h <= high + _BEYOND}
    count = sum(outside.values())
    if count <= 3 + 10 * now.counts.total() / before.counts.total():
        return []
    far = f"{_size(min(outside))} to {_size(max(outside) + 1)} in {count} of {now.rows}"
    return [Change(name, "range", f"{_size(low)} to {_size(high + 1)}", far)]


def _halves(column: Column) -> dict[int, int]:
    return {int(half): count for half, count in column.counts.items()}


def _middle(column: Column, name: str) -> float | None:
    """Return the middle of a column: of numbers the half power of two, of times the milliseconds."""
    if name in (AGE, DONE, NEWEST):
        there = column.rows - column.missing
        return column.bands["middle"][0] if there >= _LEAST_NUMBERS and "middle" in column.bands else None
    total = column.counts.total()
    if name not in NUMBERS or total < _LEAST_NUMBERS:
        return None
    reached = 0
    for half, count in sorted(_halves(column).items()):
        reached += count
        if reached * 2 >= total:
            return float(half)
    return None


def _moved(name: str, now: Column, before: Column) -> list[Change]:
    """Find a zone that moved: the middle of what has passed, steady until now, lies quarters of an hour elsewhere.

    What comes late, after somebody's outage, lies more apart than it did.
    """
    middle, band = _middle(now, name), before.bands.get("middle")
    if middle is None or band is None or band[1] - band[0] > _STEADY or before.windows < _LEAST_STEADY:
        return []
    if now.bands["spread"][1] > max(2 * before.bands.get("spread", (0.0, 0.0))[1], _NEAR):
        return []
    shift = middle - (band[0] + band[1]) / 2
    quarters = round(shift / _QUARTER_HOUR)
    near = max(_NEAR, (band[1] - band[0]) / 2)
    if not quarters or abs(shift - quarters * _QUARTER_HOUR) > near or band[0] <= middle <= band[1]:
        return []
    minutes = abs(quarters) * 15
    direction = (
        ("earlier" if shift > 0 else "later") if name == AGE else ("later" if shift > 0 else "earlier")
    )
    usual = (band[0] + band[1]) / 2
    return [
        Change(
            name,
            "zone",
            f"{_lasting(usual)} {_PASSED[name]}",
            f"{_lasting(middle)}: {minutes // 60} h {minutes % 60:02d} min {direction}",
        )
    ]


def _moved_unsteadily(window: Profile, past: Mapping[str, Column]) -> list[Change]:
    """Find a zone that moved where records take now more, now less time to come: their newest are steady all the same.

    They come as far apart as they ever did, which what was held back and is sent at once does not.
    """
    now, before, age = window.columns.get(NEWEST), past.get(NEWEST), past.get(AGE)
    if now is None or before is None or age is None:
        return []
    low, high = age.bands.get("middle", (0.0, 0.0))
    apart = before.bands.get("arrivals", (0.0, 0.0))[0]
    if high - low <= _STEADY or now.bands["arrivals"][0] < apart / 2:
        return []
    return _moved(AGE, now, before)


_PASSED: Final = {AGE: "before it came", DONE: "after it began"}


def _repeated(window: Profile, seen: Profile) -> Column:
    """Count the marked records of a window that were there before."""
    rows = again = 0
    for hour, marks in window.hours.items():
        known = seen.hours.get(hour)
        mine = marks.marks if known is None else {m for m, n in marks.marks.items() if n < known.below}
        twice = window.again.get(hour, 0)
        rows += len(mine) + twice
        again += twice + (0 if known is None else sum(mark in known.marks for mark in mine))
    return Column(rows, rows - again)


def _again(now: Column, before: Column, window: Profile) -> list[Change]:
    count, (low, high) = now.rows - now.missing, before.bands.get("missing", (1.0, 1.0))
    share = count / max(1, now.rows)
    if count < _LEAST_REPEATED or share <= 1 - low + _REPEATED_SHARE:
        return []
    hours = sorted(window.hours)
    first, last = (datetime.fromtimestamp(h * 3600, UTC) for h in (hours[0], hours[-1] + 1))
    at = (
        f"{first:%Y-%m-%d %H:00} to {last:%Y-%m-%d %H:00}"
        if last - first > timedelta(hours=1)
        else f"{first:%Y-%m-%d %H:00}"
    )
    return [Change(AGE, "repeated", _band(1 - high, 1 - low), f"{share:.0%}, of {at}")]


def _with_swaps(found: list[Change], window: Profile, past: Mapping[str, Column]) -> list[Change]:
    """Name as swapped two columns of which each carries what the other one did."""
    changed = list(dict.fromkeys(change.column for change in found))
    for at, one in enumerate(changed):
        for two in changed[at + 1 :]:
            if _carries(window, past, one, two) and _carries(window, past, two, one):
                others = [change for change in found if change.column not in (one, two)]
                return [*others, Change(one, "swapped", one, two), Change(two, "swapped", two, one)]
    return found


def _carries(window: Profile, past: Mapping[str, Column], name: str, other: str) -> bool:
    """Tell whether a column carries now what another one did and itself did not."""
    now, own, was = window.columns[name], past.get(name), past.get(other)
    if own is None or was is None or not now.counts or not was.counts or not own.counts:
        return False
    if (name in NUMBERS) != (other in NUMBERS):
        return False
    if name in NUMBERS:
        mine, theirs, before = _middle(now, name), _middle(was, other), _middle(own, name)
        if mine is None or theirs is None or before is None:
            return False
        return abs(mine - theirs) <= 2 < abs(mine - before)
    total = now.counts.total()
    theirs = sum(count for code, count in now.counts.items() if code in was.counts)
    mine = sum(count for code, count in now.counts.items() if code in own.counts)
    return theirs >= _MOSTLY * total and mine < (1 - _MOSTLY) * total


def _factor(ratio: float) -> str:
    size = max(ratio, 1 / ratio)
    named = min((60, 100, 1000), key=lambda factor: abs(log2(size / factor)))
    if abs(log2(size / named)) < 0.75:
        return f"{named} times as much" if ratio > 1 else f"a {named}th"
    return f"{ratio:.1f} times as much" if ratio > 1 else f"{1 / ratio:.1f} times less"


def _size(half: float) -> str:
    number = 2 ** (half / 2)
    return f"{number:.2g}" if number < 100 else f"{number:,.0f}"


def _lasting(milliseconds: float) -> str:
    seconds = round(abs(milliseconds) / 1000)
    sign = "-" if milliseconds < 0 else ""
    return (
        f"{sign}{seconds // 3600} h {seconds // 60 % 60:02d} min"
        if seconds >= 3600
        else f"{sign}{seconds // 60} min {seconds % 60:02d} s"
    )
