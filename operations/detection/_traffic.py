"""The two patterns of the archive alone, as arithmetic over columns. Thresholds: here, and in docs/detection.md."""

from __future__ import annotations

import math
from collections import Counter
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
GREY_LEAST: Final = 150
GREY_SLOWER: Final = 0.35
GREY_ERRORS: Final = 0.20
_HOUR: Final = 3_600_000_000
_BUCKETS: Final = 128


class Burst:
    """Hours in which an account sends far more than at the same hour of its other days.

    Columns: account, hour (the first), hours, messages, expected, probability (the least). The hours of a burst have 40
    messages or more, four times the median of that hour of the day, and a Poisson tail of twice that median below 0.01
    over all hours tested: traffic varies by more than chance. Hours that follow on each other are one burst. An hour in
    which three accounts or more, and a quarter of those that send, go so far beyond their usual is a rush of
    everybody's and no account's burst.
    """

    kind = "burst"
    columns = ("account", "event_time")

    def __init__(self) -> None:
        self._accounts = Coder(["account"])
        self._sums = Sums(["account", "hour"])

    def count(self, batch: pa.RecordBatch) -> None:
        """Count messages by account and hour."""
        hours = (whole(batch.column("event_time")) // _HOUR).astype(np.int32)
        self._sums.add(account=self._accounts.codes(batch), hour=hours)

    def found(self) -> pl.DataFrame:
        """Find the hours."""
        schema: dict[str, Any] = {
            "account": pl.String, "hour": pl.Datetime("us", "UTC"), "hours": pl.Int64, "messages": pl.Int64,
            "expected": pl.Float64, "probability": pl.Float64,
        }  # fmt: skip
        counts = self._sums.total()
        if counts.is_empty():
            return pl.DataFrame(schema=schema)
        days = counts.select((pl.col("hour") // 24).n_unique()).item()
        usual = (
            counts.group_by("account", pl.col("hour") % 24)
            .agg(pl.col("n"))
            .with_columns(n=pl.col("n").map_elements(lambda n: _median(n, days), pl.Float64))
            .rename({"hour": "h", "n": "usual"})
        )
        likely = counts.filter(pl.col("n") >= BURST_LEAST).with_columns(h=pl.col("hour") % 24)
        names = self._accounts.table({"account": pl.String})["account"]
        far = []
        for row in likely.join(usual, on=["account", "h"]).to_dicts():
            expected = max(row["usual"], 1.0)
            if row["n"] >= BURST_TIMES * expected:
                chance = poisson_tail(row["n"], 2 * expected)
                if chance < LEVEL / counts.height:
                    far.append((names[row["account"] - 1], row["hour"], row["n"], row["usual"], chance))
        sending = dict(counts.group_by("hour").len().rows())
        rush = {
            h for h, n in Counter(f[1] for f in far).items() if n >= max(RUSH_LEAST, sending[h] * RUSH_SHARE)
        }
        found: list[list[Any]] = []
        for account, hour, n, usually, chance in sorted((f for f in far if f[1] not in rush), key=_order):
            if found and found[-1][0] == account and found[-1][1] + found[-1][2] == hour:
                last = found[-1]
                last[2:] = [last[2] + 1, last[3] + n, last[4] + usually, min(last[5], chance)]
            else:
                found.append([account, hour, 1, n, usually, chance])
        table = pl.DataFrame(found, {**schema, "hour": pl.Int64}, orient="row")
        return table.with_columns((pl.col("hour") * _HOUR).cast(schema["hour"]))


def _order(hour: tuple[Any, ...]) -> tuple[str, int]:
    return hour[0] or "", hour[1]


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
