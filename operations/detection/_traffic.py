"""The two patterns of the archive alone, as arithmetic over columns. Thresholds: here, and in docs/detection.md."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from lethe.operations.analysis.overview import LEVEL, poisson_tail
from lethe.operations.detection._counts import Array, Sums
from lethe.tiers.detection.columns import whole
from lethe.tiers.detection.month_rows import Coder

BURST_LEAST: Final = 40
BURST_TIMES: Final = 4.0
RUSH_LEAST: Final = 3
RUSH_SHARE: Final = 0.25
CAMPAIGN_HOURS: Final = 4
CAMPAIGN_EVEN: Final = 0.5
CAMPAIGN_FAILURES: Final = 0.05
_FAILED: Final = ("UNDELIVERABLE", "EXPIRED", "REJECTED")
GREY_LEAST: Final = 150
GREY_SLOWER: Final = 0.35
GREY_ERRORS: Final = 0.20
BURST: Final = "burst"
CAMPAIGN: Final = "campaign"
_HOUR: Final = 3_600_000_000
_BUCKETS: Final = 128


class Burst:
    """Hours in which an account sends far more than at the same hour of its other days.

    Columns: account, hour (the first), hours, messages, expected, probability (the least), failures (share), reads_as.

    The hours of a burst have 40 messages or more, four times the median of that hour of the day, and a Poisson tail of
    twice that median below 0.01 over all hours tested: traffic varies by more than chance. Hours that follow on each
    other are one burst. An hour in which three accounts or more, and a quarter of those that send, go so far beyond
    their usual is a rush of everybody's and no account's burst.

    A burst reads as a campaign, and comes after those that do not, when it is one that somebody planned and paced: four
    hours or more, of which those between the first and the last are each within half of their mean, and no more
    failures, by 0.05 and what chance gives, than the account has in its other hours. A list of strangers' numbers fails
    more often, an outbreak of one hour is not paced.
    """

    kind = "burst"
    columns = ("account", "event_time", "status_group")

    def __init__(self) -> None:
        self._accounts = Coder(["account"])
        self._statuses = Coder(["status_group"])
        self._sums = Sums(["account", "status", "hour"])

    def count(self, batch: pa.RecordBatch) -> None:
        """Count messages by account, status and hour."""
        hours = (whole(batch.column("event_time")) // _HOUR).astype(np.int32)
        self._sums.add(
            account=self._accounts.codes(batch),
            status=self._statuses.codes(batch).astype(np.uint8),
            hour=hours,
        )

    def found(self) -> pl.DataFrame:
        """Find the hours."""
        schema: dict[str, Any] = {
            "account": pl.String, "hour": pl.Datetime("us", "UTC"), "hours": pl.Int64, "messages": pl.Int64,
            "expected": pl.Float64, "probability": pl.Float64, "failures": pl.Float64, "reads_as": pl.String,
        }  # fmt: skip
        counted = self._sums.total()
        if counted.is_empty():
            return pl.DataFrame(schema=schema)
        counts = self._by_hour(counted)
        days = counts.select((pl.col("hour") // 24).n_unique()).item()
        usual = (
            counts.group_by("account", pl.col("hour") % 24)
            .agg(pl.col("n"))
            .with_columns(n=pl.col("n").map_elements(lambda n: _median(n, days), pl.Float64))
            .rename({"hour": "h", "n": "usual"})
        )
        likely = counts.filter(pl.col("n") >= BURST_LEAST).with_columns(h=pl.col("hour") % 24)
        names = self._accounts.table({"account": pl.String})["account"]
        far: list[_Far] = []
        for row in likely.join(usual, on=["account", "h"]).to_dicts():
            expected = max(row["usual"], 1.0)
            if row["n"] >= BURST_TIMES * expected:
                chance = poisson_tail(row["n"], 2 * expected)
                if chance < LEVEL / counts.height:
                    name = names[row["account"] - 1]
                    far.append(
                        _Far(row["account"], name, row["hour"], row["n"], row["failed"], row["usual"], chance)
                    )
        sending = dict(counts.group_by("hour").len().rows())
        rush = {
            h
            for h, n in Counter(f.hour for f in far).items()
            if n >= max(RUSH_LEAST, sending[h] * RUSH_SHARE)
        }
        runs: list[list[_Far]] = []
        for one in sorted((f for f in far if f.hour not in rush), key=_order):
            if runs and runs[-1][0].account == one.account and runs[-1][-1].hour + 1 == one.hour:
                runs[-1].append(one)
            else:
                runs.append([one])
        ends = dict(counts.group_by("account").agg(pl.struct(pl.col("n", "failed").sum())).rows())
        found = [_told(run, ends) for run in runs]
        found.sort(key=lambda row: row[-1] == CAMPAIGN)
        table = pl.DataFrame(found, {**schema, "hour": pl.Int64}, orient="row")
        return table.with_columns((pl.col("hour") * _HOUR).cast(schema["hour"]))

    def _by_hour(self, counted: pl.DataFrame) -> pl.DataFrame:
        """Sum the counts up by account and hour: `n`, and `failed` of them."""
        statuses = self._statuses.table({"status_group": pl.String})["status_group"].to_list()
        failed = [code for code, name in enumerate(statuses, 1) if name in _FAILED]
        return counted.group_by("account", "hour").agg(
            pl.col("n").sum(), failed=pl.col("n").filter(pl.col("status").is_in(failed)).sum()
        )


@dataclass(frozen=True, slots=True)
class _Far:
    """An hour far beyond the usual of its account, `code`, called `account`."""

    code: int
    account: str | None
    hour: int
    n: int
    failed: int
    usual: float
    chance: float


def _order(one: _Far) -> tuple[str, int]:
    return one.account or "", one.hour


def _told(run: list[_Far], ends: dict[int, dict[str, int]]) -> tuple[Any, ...]:
    """Tell of hours that follow on each other; `ends`: messages and failures of each account in all."""
    n, failed = sum(one.n for one in run), sum(one.failed for one in run)
    rest = ends[run[0].code]
    reads_as = (
        CAMPAIGN if _paced(run) and _delivers(n, failed, rest["n"] - n, rest["failed"] - failed) else BURST
    )
    return (
        run[0].account, run[0].hour, len(run), n, sum(one.usual for one in run), min(one.chance for one in run),
        failed / n, reads_as,
    )  # fmt: skip


def _paced(run: list[_Far]) -> bool:
    if len(run) < CAMPAIGN_HOURS:
        return False
    whole_hours = [one.n for one in run[1:-1]]
    mean = sum(whole_hours) / len(whole_hours)
    return all(abs(n - mean) <= CAMPAIGN_EVEN * mean for n in whole_hours)


def _delivers(n: int, failed: int, others: int, others_failed: int) -> bool:
    """Tell whether so many of `n` failed as of the account's other messages, but for 0.05 and chance (99.9 %)."""
    usual = others_failed / max(others, 1)
    chance = 3.3 * math.sqrt(max(usual * (1 - usual), 1 / max(others, 1)) * (1 / n + 1 / max(others, 1)))
    return failed / n <= usual + CAMPAIGN_FAILURES + chance


def _median(counts: pl.Series, days: int) -> float:
    return float(np.median([*counts.to_list(), *[0] * (days - len(counts))]))


class Grey:
    """Routes whose delivery times or failures are unlike those of the other routes into the same network.

    Columns: network, route, messages, slower (Kolmogorov-Smirnov distance of delivery times, later only), failures
    (share, less the other routes' share). A route is compared with all others together; its distance has to be more
    than chance gives, by the 99.9 % bound of the test, and more than 0.35 (0.20 for failures).
    """

    kind = "grey"
    columns = ("mcc", "mnc", "network", "route", "status_group", "event_time", "done_time")

    def __init__(self) -> None:
        self._coder = Coder(self.columns[:5])
        self._sums = Sums(["code", "bucket"])

    def count(self, batch: pa.RecordBatch) -> None:
        """Count messages by route and delivery time, in half powers of two of a millisecond."""
        done, sent = batch.column("done_time"), whole(batch.column("event_time"))
        delay = np.maximum((whole(done) - sent) // 1000, 1) + 1
        bucket = np.minimum((np.log2(delay) * 2).astype(np.int16), _BUCKETS - 1)
        if done.null_count:
            bucket = np.where(done.is_valid().to_numpy(zero_copy_only=False), bucket, np.int16(0))
        self._sums.add(code=self._coder.codes(batch), bucket=bucket)

    def found(self) -> pl.DataFrame:
        """Find the routes."""
        schema = {
            "network": pl.String, "route": pl.String, "messages": pl.Int64,
            "slower": pl.Float64, "failures": pl.Float64,
        }  # fmt: skip
        counts = self._sums.total()
        found = []
        if not counts.is_empty():
            table = self._coder.table(dict.fromkeys(self._coder.columns, pl.String)).with_row_index("code", 1)
            network = pl.coalesce(pl.concat_str("mcc", "mnc"), "network").alias("network")
            delivered = (pl.col("status_group") == "DELIVERED").fill_null(False).alias("delivered")
            named = table.select("code", network, "route", delivered).drop_nulls()
            routes = (
                counts.join(named, on="code")
                .group_by("network", "route", "delivered", "bucket")
                .agg(pl.col("n").sum())
            )
            for (into,), here in routes.group_by("network"):
                found += _odd(str(into), here)
        return pl.DataFrame(found, schema, orient="row").sort("network", "route")


def _odd(network: str, here: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Compare each route into a network with all others together."""
    found = []
    total, times = int(here["n"].sum()), _times(here)
    for (route,), mine in here.group_by("route"):
        m = int(mine["n"].sum())
        n = total - m
        if min(m, n) < GREY_LEAST:
            continue
        own = _times(mine)
        slower, bound = _later(own, times - own)
        worse = (1 - own.sum() / m) - (1 - (times - own).sum() / n)
        if slower > max(GREY_SLOWER, bound) or worse > max(GREY_ERRORS, 3.3 * math.sqrt(0.25 / m + 0.25 / n)):
            found.append((network, route, m, slower, float(worse)))
    return found


def _times(rows: pl.DataFrame) -> Array:
    """Return how many messages were delivered, by delivery time."""
    delivered = rows.filter("delivered")
    return np.bincount(delivered["bucket"].to_numpy(), delivered["n"].to_numpy(), _BUCKETS)


def _later(mine: Array, rest: Array) -> tuple[float, float]:
    """Return how much later a route delivers than the rest, 0 to 1, and what chance gives at 99.9 %."""
    m, n = mine.sum(), rest.sum()
    if min(m, n) < 30:
        return 0.0, 1.0
    apart = np.cumsum(rest) / n - np.cumsum(mine) / m
    return float(apart.max()), 1.95 * math.sqrt((m + n) / (m * n))
