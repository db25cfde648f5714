"""The three patterns that need numbers, as arithmetic over columns. Thresholds stand here, and in docs/detection.md.

Each goes through the month twice, in flat memory: `count` counts by a hash, so that it counts too much now and then
and never too little; `keep` keeps the rows of what reached the threshold there; `find` looks at those exactly. A third
time, `pick` takes the records of what was found, where they were not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import ClassVar, Final

import numpy as np
import polars as pl

from lethe.operations.analysis.overview import LEVEL, poisson_tail
from lethe.operations.detection._counts import Array, Sketch, Sums
from lethe.tiers.detection.month_rows import Keys, MonthRows, Rows

BLOCK: Final = 1_000
WIDE: Final = 1_000_000
AIT_NUMBERS: Final = 20
OTP_ACCOUNTS: Final = 5
OTP_TURN: Final = 6
DEAD_DAYS: Final = 10
DEAD_FAILURES: Final = 3
_STEPS: Final = 16  # of a doubling, by which traffic around a block is graded
_MOST: Final = 1 << 31
MOST_FAILURES: Final = 12_000_000
"""Permanent failures held at a time."""
_PRIME: Final = 1_000_003
_HOUR_BITS: Final = np.uint64(12)
_KNOWN_BITS: Final = 26
_NEVER: Final = np.iinfo(np.int32).max


class Pattern:
    """What the three share: the rows that are kept. `coded`: the months, oldest first."""

    kind: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    names: ClassVar[list[str]]
    """The columns that name a row of `found`."""
    found: pl.DataFrame

    def __init__(self, coded: Sequence[MonthRows], share: int = 1) -> None:
        self.coded = coded
        self._share = share
        self.parts = 1
        self._kept: list[pl.DataFrame] = []

    def begin(self, part: int) -> None:
        """Begin with a part of the numbers; most patterns take all of them at once."""

    def _counts(self) -> Sketch:
        return Sketch(sum(c.rows for c in self.coded), self._share)

    def count(self, month: int, rows: Rows) -> None:
        """Count rows of a month."""
        raise NotImplementedError

    def counted(self) -> None:
        """Go on from counting to keeping: what `keep` needs is made here, once, not by the threads that keep."""

    def keep(self, month: int, rows: Rows) -> None:
        """Keep the rows of a month that the counts do not rule out."""
        raise NotImplementedError

    def find(self) -> bool:
        """Set `found`, and say whether its records have to be picked."""
        raise NotImplementedError

    def pick(self, month: int, rows: Rows) -> None:
        """Keep the rows of what was found."""
        raise NotImplementedError

    def records(self) -> pl.DataFrame:
        """Return the records of what was found: month, place, number, and what names a row of `found`."""
        rows = self._rows()
        return rows.join(self.found, on=self.names, how="semi", nulls_equal=True)

    def _keep(self, month: int, rows: Rows, mine: Array) -> None:
        if mine.any():
            some = rows.where(mine)
            self._kept.append(
                pl.DataFrame(
                    {"number": some.numbers, "hour": some.hours, "code": some.codes, "place": some.places}
                ).with_columns(month=pl.lit(month, pl.Int32))
            )

    def _rows(self) -> pl.DataFrame:
        """Return the rows kept, with what their codes say."""
        schema = {
            "number": pl.UInt64,
            "hour": pl.Int32,
            "code": pl.UInt32,
            "place": pl.Int64,
            "month": pl.Int32,
        }
        kept = pl.concat([pl.DataFrame(schema=schema), *self._kept]).filter(pl.col("code") > 0)
        return kept.join(self._tables(), on=["month", "code"], how="left")

    def _tables(self) -> pl.DataFrame:
        """Return what the codes of all months say."""
        return pl.concat(
            coded.table.select(self.columns)
            .with_row_index("code", 1)
            .with_columns(month=pl.lit(n, pl.Int32), code=pl.col("code").cast(pl.UInt32))
            for n, coded in enumerate(self.coded)
        )

    def _by_code(self, month: int, expression: pl.Expr) -> Array:
        """Return what an expression says of each code of a month, true or false; false for code 0."""
        said = self.coded[month].table.select(expression.fill_null(False)).to_series()
        return np.concatenate([[False], said.to_numpy()])


class Ait(Pattern):
    """Blocks of 1,000 adjacent numbers that one account floods: 20 of them or more, far more than it reaches of the
    million numbers around.

    Columns: block, account, currency, numbers, messages, charge, first, last (hours of the month), probability.
    """

    kind = "ait"
    columns = ("account", "currency")
    names: ClassVar[list[str]] = ["block", "account", "currency"]

    def __init__(self, coded: Sequence[MonthRows], share: int = 1) -> None:
        super().__init__(coded, share)
        self._sketch = self._counts()
        ranks = coded[-1].table["account"].rank("dense").fill_null(0).to_numpy()
        self._accounts = np.concatenate([[0], ranks]).astype(np.uint64)
        self._around = Sums(["around"])
        self._reached = Sums(["number", "code"], "hour")
        self._least: tuple[Array, Array]

    def count(self, month: int, rows: Rows) -> None:  # noqa: ARG002  (of one month only)
        """Count messages by account and block, and by account and million."""
        who = self._accounts[rows.codes]
        self._sketch.add(who, rows.numbers // np.uint64(BLOCK))
        self._around.add(around=_around(who, rows.numbers))

    def keep(self, month: int, rows: Rows) -> None:  # noqa: ARG002  (of one month only)
        """Keep the rows of blocks that, if all their messages went to different numbers, would be found."""
        who = self._accounts[rows.codes]
        counts = self._sketch.counts(who, rows.numbers // np.uint64(BLOCK))
        mine = counts >= AIT_NUMBERS
        if mine.any():
            places, least = self._least
            at = np.searchsorted(places, _around(who[mine], rows.numbers[mine]))
            mine[mine] = counts[mine] >= least[at]
        if mine.any():
            some = rows.where(mine)
            self._reached.add(number=some.numbers, code=some.codes, hour=some.hours)

    def find(self) -> bool:
        """Find the blocks, largest first; their charges come with their records."""
        schema = {"number": pl.UInt64, "code": pl.UInt32, "n": pl.Int64, "first": pl.Int32, "last": pl.Int32}
        found = (
            (self._reached.total() if len(self._reached.total()) else pl.DataFrame(schema=schema))
            .join(self._tables(), on="code")
            .group_by((pl.col("number") // BLOCK).alias("block"), "account", "currency")
            .agg(
                pl.col("number").n_unique().alias("numbers"), pl.col("n").sum().alias("messages"),
                pl.col("first").min(), pl.col("last").max(),
            )
            .filter(pl.col("numbers") >= AIT_NUMBERS)
        )  # fmt: skip
        table = self.coded[-1].table
        rank = dict(zip(table["account"].to_list(), self._accounts[1:].tolist(), strict=True))
        around = dict(self._around.total().rows())
        chances = []
        for row in found.to_dicts():
            key = int(
                _around(np.array([rank[row["account"]]], np.uint64), np.array([row["block"] * BLOCK]))[0]
            )
            chances.append(poisson_tail(row["numbers"], _expected(around.get(key, 0), row["messages"])))
        found = found.with_columns(probability=pl.Series(chances, dtype=pl.Float64)).filter(
            pl.col("probability") < LEVEL / self._tests()
        )
        self.found = found.sort(["numbers", "block", "account"], descending=[True, False, False])
        self._blocks = self.found["block"].unique().sort().to_numpy()
        return not self.found.is_empty()

    def pick(self, month: int, rows: Rows) -> None:
        """Keep the rows of the blocks found, whoever's."""
        mine = rows.numbers // np.uint64(BLOCK)
        at = np.minimum(np.searchsorted(self._blocks, mine), len(self._blocks) - 1)
        self._keep(month, rows, self._blocks[at] == mine)

    def records(self) -> pl.DataFrame:
        """Return the records of the blocks, and add to these what they are charged."""
        rows = self._rows().with_columns(block=pl.col("number") // BLOCK)
        rows = rows.join(self.found, on=self.names, how="semi", nulls_equal=True)
        charges = rows.join(self.coded[-1].amounts(rows["place"].to_numpy()), on="place")
        charged = charges.group_by(self.names).agg(pl.col("charge").sum())
        self.found = self.found.join(
            charged, on=self.names, how="left", nulls_equal=True, maintain_order="left"
        )
        return rows

    def _tests(self) -> int:
        return max(1, self._around.total().height) * (WIDE // BLOCK)

    def counted(self) -> None:
        """Find, by account and million, how many messages a block has at least that can be found.

        What is around is rounded down, so that no block is ruled out that `found` would find.
        """
        total = self._around.total()
        if total.is_empty():
            self._least = np.zeros(0, np.uint64), np.zeros(0, np.int64)
            return
        total = total.sort("around")
        grades = np.floor(np.log2(total["n"].to_numpy()) * _STEPS).astype(np.int64)
        level = LEVEL / self._tests()
        least = {g: _fewest(int(2 ** (g / _STEPS)), level) for g in np.unique(grades).tolist()}
        self._least = total["around"].to_numpy(), np.array([least[g] for g in grades.tolist()], np.int64)


def _around(who: Array, numbers: Array) -> Array:
    """Name an account and the million numbers that a number lies in by one integer."""
    return (who.astype(np.uint64) << np.uint64(32)) | (numbers // WIDE).astype(np.uint64)


def _expected(around: int, messages: int) -> float:
    return max(around - messages, 1) * BLOCK / WIDE


def _fewest(around: int, level: float) -> int:
    """Return how many messages to a block are beyond chance, of so many to the million around it."""
    low, high = AIT_NUMBERS, AIT_NUMBERS
    while high < _MOST and poisson_tail(high, _expected(around, high)) >= level:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if poisson_tail(middle, _expected(around, middle)) < level:
            high = middle
        else:
            low = middle + 1
    return low


class Otp(Pattern):
    """Numbers that five or more accounts wrote to within an hour of the clock, or six within two in a row.

    The second finds floods over the turn of an hour; an hour that is found by itself is in no pair. Columns: number,
    hour (the first), accounts, messages.
    """

    kind = "otp"
    columns = ("account", "channel")
    names: ClassVar[list[str]] = ["number", "hour"]

    def __init__(self, coded: Sequence[MonthRows], share: int = 1) -> None:
        super().__init__(coded, share)
        self._sketch = self._counts()
        self._texts = [self._by_code(n, pl.col("channel") != "voice") for n in range(len(coded))]

    def count(self, month: int, rows: Rows) -> None:
        """Count messages by number and hour."""
        rows = rows.where(self._texts[month][rows.codes])
        self._sketch.add(rows.numbers, rows.hours)

    def keep(self, month: int, rows: Rows) -> None:
        """Keep what numbers got in hours of five messages or more, or of six together with the hour beside."""
        rows = rows.where(self._texts[month][rows.codes])
        within, before, after = (
            self._sketch.counts(rows.numbers, rows.hours + turn).astype(np.int64) for turn in (0, -1, 1)
        )
        mine = (within >= OTP_ACCOUNTS) | (within + np.maximum(before, after) >= OTP_TURN)
        self._keep(month, rows, mine)

    def find(self) -> bool:
        """Find the numbers and hours."""
        rows = self._rows()
        alone = _by_hour(rows, OTP_ACCOUNTS)
        found = pl.concat([alone.select("number", pl.col("hour") + turn) for turn in (-1, 0, 1)]).unique()
        rest = rows.join(found, on=["number", "hour"], how="anti")
        both = pl.concat(
            [rest, rest.with_columns(pl.col("hour") - 1)]
        )  # each row in its hour, and in the one before
        turns = _by_hour(both, OTP_TURN).sort("number", "hour")
        # Of pairs that overlap the first is told.
        first = turns.filter((pl.col("hour") - pl.col("hour").shift(1).over("number")).fill_null(2) > 1)
        self.found = pl.concat([alone, first]).sort("number", "hour")
        return False


def _by_hour(rows: pl.DataFrame, least: int) -> pl.DataFrame:
    """Count accounts and messages by number and hour; keep those with so many accounts."""
    return (
        rows.group_by("number", "hour")
        .agg(pl.col("account").n_unique().alias("accounts"), pl.len().alias("messages"))
        .filter(pl.col("accounts") >= least)
    )


class Recycled(Pattern):
    """Numbers dead for ten days or more (three permanent failures, nothing delivered between) and then reached.

    What is held are the failures, so many at a time that memory is bounded: numbers are taken in parts by a hash.
    Columns: number, dead, alive (hours since the first month), failures.
    """

    kind = "recycled"
    columns = ("status_group", "permanent_error")
    names: ClassVar[list[str]] = ["number"]

    def __init__(self, coded: Sequence[MonthRows], share: int = 1) -> None:
        super().__init__(coded, share)
        delivered = (pl.col("status_group") == "DELIVERED").fill_null(False)
        dead = pl.col("permanent_error") & ~delivered
        self._failed = [self._by_code(n, dead) for n in range(len(coded))]
        self._reached = [self._by_code(n, delivered) for n in range(len(coded))]
        failures = sum(int(c.counts[f].sum()) for c, f in zip(coded, self._failed, strict=True))
        self.parts = max(1, -(-failures // MOST_FAILURES))
        self._part = 0
        self._records = self._rows()
        self.begin(0)

    def begin(self, part: int) -> None:
        """Begin with another part of the numbers."""
        self._part = part
        self._kept = []

    def count(self, month: int, rows: Rows) -> None:
        """Keep the failures."""
        rows = rows.where(self._failed[month][rows.codes])
        mine = np.ones(len(rows.numbers), np.bool_)
        if self.parts > 1:
            mine = rows.numbers % np.uint64(_PRIME) % np.uint64(self.parts) == self._part
        self._keep(month, rows, mine)

    def keep(self, month: int, rows: Rows) -> None:
        """Find where in the failures of a number its deliveries lie."""
        rows = rows.where(self._reached[month][rows.codes])
        self._deaths.add(rows.numbers, rows.hours)

    def find(self) -> bool:
        """Find the numbers that were reached in the last month: by their first delivery after so long a death."""
        last = self.coded[-1]
        start = int((last.month.start() - last.since.start()).total_seconds()) // 3600
        found = (
            self._deaths.ended()
            .filter(
                (pl.col("failures") >= DEAD_FAILURES) & (pl.col("alive") - pl.col("dead") >= DEAD_DAYS * 24)
            )
            .filter(pl.col("alive") >= start)
            .sort("number", "alive")
            .group_by("number", maintain_order=True)
            .first()
            .select("number", "dead", "alive", "failures")
        )
        self._records = pl.concat([self._records, self._rows().join(found, on="number", how="semi")])
        self.found = pl.concat([self.found, found]).sort("number") if self._part else found
        return False

    def records(self) -> pl.DataFrame:
        """Return the failures of the numbers found."""
        return self._records

    def counted(self) -> None:
        """Put the failures in order."""
        failures = pl.concat([f.select("number", "hour") for f in self._kept]) if self._kept else None
        self._deaths = _Deaths(failures)


class _Deaths:
    """The failures of numbers that failed three times or more, in order, and the first delivery after each."""

    def __init__(self, failures: pl.DataFrame | None) -> None:
        keys = np.zeros(0, np.uint64)
        if failures is not None:
            often = failures.filter(pl.len().over("number") >= DEAD_FAILURES)
            keys = np.sort(_instants(often["number"].to_numpy(), often["hour"].to_numpy()))
        self._keys = keys
        self._next = np.full(len(keys) + 1, _NEVER, np.int32)
        self._known = np.zeros(1 << _KNOWN_BITS, np.bool_)
        self._known[_known(keys >> _HOUR_BITS)] = True
        self._lock = Lock()

    def add(self, numbers: Array, hours: Array) -> None:
        """Note deliveries. One in the hour of a failure lies before it."""
        likely = self._known[_known(numbers)]
        if likely.any():
            hours = hours[likely]
            keys = _instants(numbers[likely], hours)
            after = np.searchsorted(self._keys, keys)
            mine = (after > 0) & (self._keys[after - 1] >> _HOUR_BITS == keys >> _HOUR_BITS)
            with self._lock:
                np.minimum.at(self._next, after[mine], hours[mine])

    def ended(self) -> pl.DataFrame:
        """Return the deaths that a delivery ended. Columns: number, dead, alive, failures."""
        after = self._next[1:]
        numbers = self._keys >> _HOUR_BITS
        table = pl.DataFrame(
            {
                "number": numbers,
                "hour": (self._keys & np.uint64((1 << 12) - 1)).astype(np.int32),
                "alive": after,
            }
        )
        ends = pl.col("alive") != _NEVER
        return (
            table.with_columns(death=ends.shift(1, fill_value=False).cum_sum().over("number"))
            .group_by("number", "death")
            .agg(pl.col("hour").min().alias("dead"), pl.col("alive").min(), pl.len().alias("failures"))
            .filter(ends)
        )


def _instants(numbers: Array, hours: Array) -> Array:
    """Make one integer of a number (15 digits, 50 bits) and an hour of three months (12 bits)."""
    return (numbers.astype(np.uint64) << _HOUR_BITS) | hours.astype(np.uint64)


def _known(numbers: Array) -> Array:
    return (numbers * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - _KNOWN_BITS)).astype(np.int64)


PATTERNS: Final[dict[str, type[Pattern]]] = {p.kind: p for p in (Ait, Otp, Recycled)}


def search(patterns: Sequence[Pattern], keys: Sequence[Keys]) -> None:
    """Go through the months of the patterns: count, keep, pick. `keys`: by month, as `MonthRows.each` takes."""
    for part in range(max(p.parts for p in patterns)):
        mine = [p for p in patterns if part < p.parts]
        for pattern in mine:
            pattern.begin(part)
        _through([p.count for p in mine], mine[0].coded, keys)
        for pattern in mine:
            pattern.counted()
        _through([p.keep for p in mine], mine[0].coded, keys)
        picking = [p.pick for p in mine if p.find()]
        if picking:
            _through(picking, mine[0].coded, keys)


def _through(
    steps: Sequence[Callable[[int, Rows], None]], coded: Sequence[MonthRows], keys: Sequence[Keys]
) -> None:
    for month, rows in enumerate(coded):

        def visit(some: Rows, month: int = month) -> None:
            for step in steps:
                step(month, some)

        rows.each(keys[month], visit)
