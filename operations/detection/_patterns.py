"""The five patterns as arithmetic over columns. Thresholds stand here, and in docs/detection.md with their reasons.

What needs a number is found in two passes of flat memory: the first counts into an array by a hash, so that it counts
too much now and then and never too little; the second keeps the rows of what reached the threshold there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from lethe.operations.analysis.overview import LEVEL, poisson_tail
from lethe.tiers.detection.month_rows import MonthRows, Rows

BLOCK: Final = 1_000
WIDE: Final = 1_000_000
AIT_NUMBERS: Final = 20
OTP_ACCOUNTS: Final = 5
DEAD_DAYS: Final = 10
DEAD_FAILURES: Final = 3
BURST_LEAST: Final = 40
BURST_TIMES: Final = 4.0
GREY_LEAST: Final = 150
GREY_SLOWER: Final = 0.35
GREY_ERRORS: Final = 0.20
_BITS: Final = (20, 26)  # of slots to count in: as many as rows, four bytes each
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)

Batches = Callable[[], Iterable[Rows]]
Array = npt.NDArray[Any]


class _Sketch:
    """Counts by hash: what shares a slot is counted together, so a count is at least what it should be."""

    def __init__(self, rows: int) -> None:
        self._bits = min(max(rows.bit_length(), _BITS[0]), _BITS[1])
        self._counts = np.zeros(1 << self._bits, np.uint32)

    def add(self, *parts: Array) -> None:
        np.add.at(self._counts, self._slots(parts), np.uint32(1))

    def reached(self, least: int, *parts: Array) -> Array:
        return self._counts[self._slots(parts)] >= least

    def _slots(self, parts: Sequence[Array]) -> Array:
        mixed = np.zeros(len(parts[0]), np.uint64)
        for part in parts:
            mixed = (mixed ^ part.astype(np.uint64)) * _MIX
            mixed ^= mixed >> np.uint64(29)
        return (mixed * _MIX >> np.uint64(64 - self._bits)).astype(np.int64)


def _kept(rows: Iterable[Rows], keep: Callable[[Rows], Array], coded: MonthRows) -> pl.DataFrame:
    """Collect the rows that a test keeps, with what their codes say."""
    parts = [pl.DataFrame(schema={"number": pl.UInt64, "hour": pl.Int32, "code": pl.UInt32})]
    for batch in rows:
        mine = keep(batch)
        if mine.any():
            parts.append(
                pl.DataFrame(
                    {"number": batch.numbers[mine], "hour": batch.hours[mine], "code": batch.codes[mine]}
                )
            )
    table = coded.table.with_row_index("code", 1).with_columns(pl.col("code").cast(pl.UInt32))
    return pl.concat(parts).filter(pl.col("code") > 0).join(table, on="code", how="left")


def _ids(coded: MonthRows, column: str) -> Array:
    """Number the values of a column, by code; 0 for none."""
    values = coded.table[column]
    ranks = values.rank("dense").fill_null(0).to_numpy().astype(np.uint64)
    return np.concatenate([np.zeros(1, np.uint64), ranks])


def ait(coded: MonthRows, batches: Batches) -> pl.DataFrame:
    """Find blocks of 1,000 adjacent numbers that one account floods: 20 of them or more, far more than it reaches of
    the million numbers around, and hardly reached by anybody else.

    Columns: block, account, numbers, messages, charge, currency, first, last (hours of the month), probability.
    """
    account = _ids(coded, "account")
    counts = _Sketch(coded.rows)
    around: dict[tuple[int, int], int] = {}
    for batch in batches():
        who = account[batch.codes]
        counts.add(who, batch.numbers // np.uint64(BLOCK))
        wide = pl.DataFrame({"a": who, "w": batch.numbers // np.uint64(WIDE)}).group_by("a", "w").len()
        for key in wide.rows():
            around[key[:2]] = around.get(key[:2], 0) + key[2]
    rows = _kept(
        batches(),
        lambda b: counts.reached(AIT_NUMBERS, account[b.codes], b.numbers // np.uint64(BLOCK)),
        coded,
    )
    blocks = rows.with_columns(block=pl.col("number") // BLOCK)
    found = (
        blocks.group_by("block", "account", "currency")
        .agg(
            pl.col("number").n_unique().alias("numbers"), pl.len().alias("messages"), pl.col("charge").sum(),
            pl.col("hour").min().alias("first"), pl.col("hour").max().alias("last"),
        )
        .filter(pl.col("numbers") >= AIT_NUMBERS)
    )  # fmt: skip
    rank = dict(zip(coded.table["account"].to_list(), account[1:].tolist(), strict=True))
    tests = max(1, len(around)) * (WIDE // BLOCK)
    chances = []
    for row in found.to_dicts():
        near = around.get((rank[row["account"]], row["block"] * BLOCK // WIDE), 0)
        expected = max(near - row["messages"], 1) * BLOCK / WIDE
        chances.append(poisson_tail(row["numbers"], expected))
    return (
        found.with_columns(probability=pl.Series(chances, dtype=pl.Float64))
        .filter(pl.col("probability") < LEVEL / tests)
        .sort(["numbers", "block", "account"], descending=[True, False, False])
    )


def otp(coded: MonthRows, batches: Batches) -> pl.DataFrame:
    """Find numbers that five or more accounts wrote to within one hour. Columns: number, hour, accounts, messages."""
    counts = _Sketch(coded.rows)
    for batch in batches():
        counts.add(batch.numbers, batch.hours)
    rows = _kept(batches(), lambda b: counts.reached(OTP_ACCOUNTS, b.numbers, b.hours), coded)
    return (
        rows.filter(pl.col("channel") != "voice")
        .group_by("number", "hour")
        .agg(pl.col("account").n_unique().alias("accounts"), pl.len().alias("messages"))
        .filter(pl.col("accounts") >= OTP_ACCOUNTS)
        .sort("number", "hour")
    )


def recycled(coded: MonthRows, batches: Batches) -> pl.DataFrame:
    """Find numbers dead for ten days or more (three permanent failures, nothing delivered) and then reached.

    Columns: number, dead, alive (hours of the month), failures.
    """
    failed = np.concatenate([[False], coded.table["permanent_error"].fill_null(False).to_numpy()])
    counts = _Sketch(coded.rows)
    for batch in batches():
        counts.add(batch.numbers[failed[batch.codes]])
    rows = _kept(batches(), lambda b: counts.reached(DEAD_FAILURES, b.numbers), coded)
    alive = (
        rows.filter(pl.col("status_group") == "DELIVERED")
        .group_by("number")
        .agg(pl.col("hour").min().alias("alive"))
    )
    return (
        rows.filter(pl.col("permanent_error"))
        .join(alive, on="number")
        .filter(pl.col("hour") < pl.col("alive"))
        .group_by("number", "alive")
        .agg(pl.col("hour").min().alias("dead"), pl.len().alias("failures"))
        .filter((pl.col("failures") >= DEAD_FAILURES) & (pl.col("alive") - pl.col("dead") >= DEAD_DAYS * 24))
        .sort("number")
    )


def burst(batches: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Find hours in which an account sends far more than at the same hour of its other days.

    Columns: account, hour, messages, expected, probability. A burst has 40 messages or more, four times the median of
    that hour of the day, and a Poisson tail of twice that median below 0.01 over all hours tested: traffic varies by
    more than chance.
    """
    counts = _summed(
        (b.group_by("account", pl.col("event_time").dt.truncate("1h").alias("hour")).agg(pl.len().alias("n"))
         for b in batches),
        ["account", "hour"], "n",
    )  # fmt: skip
    if counts is None:
        return pl.DataFrame(schema={"account": pl.String, "hour": pl.Datetime, "messages": pl.UInt32})
    days = max(1, counts["hour"].dt.date().n_unique())
    found = []
    for (account, _), day in counts.group_by("account", pl.col("hour").dt.hour().alias("h")):
        values = day["n"].to_list()
        usual = float(np.median([*values, *[0] * (days - len(values))]))
        for row in day.filter(pl.col("n") >= BURST_LEAST).to_dicts():
            if row["n"] >= BURST_TIMES * max(usual, 1.0):
                chance = poisson_tail(row["n"], 2 * max(usual, 1.0))
                if chance < LEVEL / counts.height:
                    found.append((account, row["hour"], row["n"], usual, chance))
    schema: dict[str, Any] = dict.fromkeys(("expected", "probability"), pl.Float64)
    schema = {"account": pl.String, "hour": counts.schema["hour"], "messages": pl.UInt32, **schema}
    return pl.DataFrame(found, schema, orient="row").sort("account", "hour")


def grey(batches: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Find routes whose delivery times or failures are unlike those of the other routes into the same network.

    Columns: network, route, messages, slower (Kolmogorov-Smirnov distance of delivery times, later only), failures
    (share, less the other routes' share). A route is compared with all others together; its distance has to be more
    than chance gives, by the 99.9 % bound of the test, and more than 0.35 (0.20 for failures).
    """
    network = pl.coalesce(pl.concat_str("mcc", "mnc"), "network").alias("network")
    delay = ((pl.col("done_time") - pl.col("event_time")).dt.total_milliseconds().clip(1) + 1).log(2) * 2
    counts = _summed(
        (b.filter(pl.col("route").is_not_null() & network.is_not_null())
         .group_by(network, "route", (pl.col("status_group") == "DELIVERED").alias("delivered"),
                   delay.floor().cast(pl.Int16).alias("bucket"))
         .agg(pl.len().alias("n")) for b in batches),
        ["network", "route", "delivered", "bucket"], "n",
    )  # fmt: skip
    found = []
    if counts is not None:
        for (network,), here in counts.group_by("network"):
            for (route,), mine in here.group_by("route"):
                rest = here.filter(pl.col("route") != route)
                m, n = int(mine["n"].sum()), int(rest["n"].sum())
                if min(m, n) < GREY_LEAST:
                    continue
                slower, bound = _later(mine, rest)
                worse = _failed(mine) - _failed(rest)
                if slower > max(GREY_SLOWER, bound) or worse > max(
                    GREY_ERRORS, 3.3 * math.sqrt(0.25 / m + 0.25 / n)
                ):
                    found.append((network, route, m, slower, worse))
    schema = {
        "network": pl.String,
        "route": pl.String,
        "messages": pl.Int64,
        "slower": pl.Float64,
        "failures": pl.Float64,
    }
    return pl.DataFrame(found, schema, orient="row").sort("network", "route")


def _later(mine: pl.DataFrame, rest: pl.DataFrame) -> tuple[float, float]:
    """Return how much later a route delivers than the rest, 0 to 1, and what chance gives at 99.9 %."""
    ends = []
    for one in (mine, rest):
        counts = np.zeros(128)
        arrived = one.filter("delivered")
        np.add.at(counts, np.clip(arrived["bucket"].fill_null(0).to_numpy(), 0, 127), arrived["n"].to_numpy())
        ends.append(counts)
    m, n = (c.sum() for c in ends)
    if min(m, n) < 30:
        return 0.0, 1.0
    apart = np.cumsum(ends[1]) / n - np.cumsum(ends[0]) / m
    return float(apart.max()), 1.95 * math.sqrt((m + n) / (m * n))


def _failed(one: pl.DataFrame) -> float:
    return 1.0 - float(one.filter("delivered")["n"].sum()) / float(one["n"].sum())


def _summed(parts: Iterable[pl.DataFrame], by: list[str], count: str) -> pl.DataFrame | None:
    total: pl.DataFrame | None = None
    for part in parts:
        both = part if total is None else pl.concat([total, part])
        total = both.group_by(by).agg(pl.col(count).sum())
    return total
