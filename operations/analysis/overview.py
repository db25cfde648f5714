"""What targets have in common, when they are active, and where they are active beyond chance. Pure arithmetic.

A burst is an hour (UTC, on the clock) in which a target has more communications than its own rate explains: with the
target's mean per hour over the period from its first to its last day, that hour left out, the Poisson probability of so
many or more is below 0.01 divided by the number of hours tested, all targets together (Bonferroni), and there are at
least five. So of a hundred analyses of steady traffic about one shows a burst that is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

DIMENSIONS: Final = ("counterpart", "account", "sender", "route", "network")
LEVEL: Final = 0.01
LEAST: Final = 5
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """One target: how many communications, from when to when, on how many days, the share delivered (0 to 1)."""

    target: int
    count: int
    first: datetime | None
    last: datetime | None
    days: int
    delivered: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One value of a dimension and how often each target has it; `shared` by how many targets."""

    value: str
    kind: str | None
    counts: tuple[int, ...]
    total: int
    shared: int
    record: str
    """A record with this value, by its position: what a reveal is asked of."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The values of a dimension most targets share, those first; `more` are not listed."""

    dimension: str
    rows: list[Row]
    more: int


@dataclass(frozen=True, slots=True)
class Burst:
    """An hour with more communications than chance explains: `probability` as tested, `tests` hours tested."""

    target: int
    hour: datetime
    count: int
    expected: float
    probability: float
    tests: int


def seen(events: pl.DataFrame, targets: int) -> list[Seen]:
    """Say of each target when it was seen, targets without anything too."""
    known = {
        row["target"]: row
        for row in events.group_by("target")
        .agg(
            pl.len().alias("count"),
            pl.col("time").min().alias("first"),
            pl.col("time").max().alias("last"),
            pl.col("time").dt.date().n_unique().alias("days"),
            (pl.col("status_group") == "DELIVERED").mean().alias("delivered"),
        )
        .to_dicts()
    }
    return [
        Seen(**known[n]) if n in known else Seen(n, 0, None, None, 0, None) for n in range(1, targets + 1)
    ]


def matrix(events: pl.DataFrame, targets: int, dimension: str, most: int = 20) -> Matrix:
    """Count a dimension's values by target: most targets first, then most communications, then by name."""
    kind = pl.col("counterpart_kind") if dimension == "counterpart" else pl.lit(None, pl.String)
    counted = (
        events.filter(pl.col(dimension).is_not_null())
        .group_by(pl.col(dimension).alias("value"), kind.alias("kind"), "target")
        .agg(pl.len().alias("count"), pl.col("record").max())
    )
    values = (
        counted.group_by("value", "kind")
        .agg(
            pl.col("target"),
            pl.col("count"),
            pl.col("count").sum().alias("total"),
            pl.len().alias("shared"),
            pl.col("record").max(),
        )
        .sort(["shared", "total", "value"], descending=[True, True, False])
    )
    rows = []
    for row in values.head(most).to_dicts():
        by_target = dict(zip(row["target"], row["count"], strict=True))
        counts = tuple(by_target.get(n, 0) for n in range(1, targets + 1))
        rows.append(Row(row["value"], row["kind"], counts, row["total"], row["shared"], row["record"]))
    return Matrix(dimension, rows, max(0, values.height - most))


def heat(events: pl.DataFrame) -> list[list[int]]:
    """Count communications by weekday (Monday first) and hour, UTC: 7 rows of 24."""
    counts = [[0] * 24 for _ in range(7)]
    by = events.group_by(
        pl.col("time").dt.weekday().alias("day"), pl.col("time").dt.hour().alias("hour")
    ).len()
    for day, hour, count in by.rows():
        counts[day - 1][hour] = count
    return counts


def bursts(events: pl.DataFrame) -> list[Burst]:
    """Find the bursts, least probable first; see above for what one is."""
    hours = events.group_by("target", pl.col("time").dt.truncate("1h").alias("hour")).agg(
        pl.len().alias("count")
    )
    spans = {
        target: ((last - first) / _HOUR, total)
        for target, first, last, total in events.group_by("target")
        .agg(
            pl.col("time").min().dt.truncate("1d").alias("first"),
            pl.col("time").max().dt.truncate("1d").dt.offset_by("1d").alias("last"),
            pl.len().alias("n"),
        )
        .rows()
    }
    tests = round(sum(span for span, _ in spans.values()))
    found = []
    for target, hour, count in hours.filter(pl.col("count") >= LEAST).rows():
        span, total = spans[target]
        # Nothing else in the period: as if one communication had been, so that a rate of nil explains nothing away.
        expected = max(total - count, 1) / max(span - 1, 1)
        probability = poisson_tail(count, expected)
        if probability < LEVEL / tests:
            found.append(Burst(target, hour, count, expected, probability, tests))
    return sorted(found, key=lambda b: (b.probability, b.target, b.hour))


def poisson_tail(count: int, mean: float) -> float:
    """Return the probability of `count` or more where `mean` (above 0) are expected."""
    if count <= mean:  # the upper part is the larger one: sum the lower
        return 1.0 - math.fsum(_poisson(k, mean) for k in range(count))
    total, term, k = 0.0, _poisson(count, mean), count
    while term > total * 1e-17 and term > 0.0:
        total += term
        k += 1
        term *= mean / k
    return min(total, 1.0)


def _poisson(count: int, mean: float) -> float:
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))


def shades(counts: Sequence[int], most: int) -> list[int]:
    """Grade counts from 0 (none) to 5 (`most`), by their square roots, so that small ones can be told apart."""
    return [0 if not n else max(1, math.ceil(5 * math.sqrt(n / most))) for n in counts]
