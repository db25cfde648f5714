"""Artificially inflated traffic, as arithmetic over columns. Thresholds stand here, and in docs/detection.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import ClassVar, Final

import numpy as np
import polars as pl

from lethe.operations.analysis.overview import LEVEL, poisson_tail
from lethe.operations.detection._blocks import MOST_SHOWN, Blocks, flooded
from lethe.operations.detection._counts import Array, Sums
from lethe.operations.detection._hashed import FULL, Index, Least, Sketch, mixed
from lethe.operations.detection._pattern import Part, Pass, numbered, parts_of
from lethe.schemas.errors import InputError
from lethe.tiers.detection.month_rows import MonthRows, Rows

BLOCK: Final = 1_000
WIDE: Final = 1_000_000
AIT_NUMBERS: Final = 20
MOST_GROUPS: Final = 1 << 20
"""Blocks of an account and a currency that are looked at together: 160 bytes each. More are looked at in parts."""
_BITS: Final = BLOCK // 8
_STEPS: Final = 16  # of a doubling, by which traffic around a block is graded
_MOST: Final = 1 << 31
_BLOCK_BITS: Final = np.uint64(40)
MOST_PAIRS: Final = 1 << 24
"""Accounts and currencies that a block can be named with."""
_AT_ONCE: Final = 1 << 16
_NEAR_BITS: Final = 18


class Ait:
    """Blocks of 1,000 adjacent numbers that one account floods: 20 of them or more, far more than it reaches of the
    million numbers around.

    The month is read three times, in memory that neither the month nor what is found fills:

    1. Messages are counted by account and block, in a sketch, and by account and million, exactly (24 bytes for each
       account and million that it wrote to).
    2. Of blocks that, if all their messages went to different numbers, would be found, a bit is set for each number:
       160 bytes a block, for `MOST_GROUPS` at a time. Those found are counted, and the largest 500 remembered.
    3. Of these it is seen when they were flooded, which record tells of a number, and what they were charged: 8 bytes
       a number of those blocks, and what `Charges` takes.

    `found`: block, account, currency, numbers, messages, first, last (hours of the month), probability, charge.
    """

    kind: ClassVar[str] = "ait"
    columns: ClassVar[tuple[str, ...]] = ("account", "currency")

    def __init__(self, coded: Sequence[MonthRows], least: int = AIT_NUMBERS, share: int = 1) -> None:
        self.coded = coded
        self._month = coded[-1]
        self._least = least
        ranks = self._month.table["account"].rank("dense").fill_null(0).to_numpy()
        self._accounts = np.concatenate([[0], ranks]).astype(np.uint64)
        self._pairs, self._pair_table = numbered(self._month, self.columns)
        if len(self._pair_table) >= MOST_PAIRS:
            raise InputError("the month has more accounts than can be told apart: ait cannot be asked of it")
        self._who = np.zeros(len(self._pair_table) + 1, np.uint64)
        self._who[self._pairs.astype(np.int64)] = self._accounts
        # Four rows a slot by chance are far from twenty.
        self._sketch = Sketch(self._month.rows // 4, share)
        self._around = Sums(["around"])
        self._lock = Lock()
        self.hidden = 0
        self.found = pl.DataFrame()

    def passes(self) -> Iterator[Pass]:
        """Count, look at blocks that may be found, and look at those that were."""
        yield Pass(self._count, hours=False)
        self._grade()
        left, found = parts_of(1), [self._told(np.zeros(0, np.uint64), np.zeros(0), np.zeros(0))]
        while left:
            part = left.pop()
            self._begin(part)
            yield Pass(self._look, hours=False)
            if self._groups.full:
                left += part.halves()
            else:
                found = [self._largest(pl.concat([*found, self._judged()]))]
        del self._bits, self._groups, self._messages, self._sketch
        self.found = found[0]
        self._detail()
        if self.found.height:
            yield Pass(self._see)
            self._finish()

    def answer(self) -> Blocks:
        """Say which blocks were flooded; smaller ones than `least` are counted alone."""
        return flooded(self.found, self._samples, self._month), self.hidden

    def _count(self, month: int, rows: Rows) -> None:  # noqa: ARG002  (of one month only)
        rows = rows.plain()
        who = self._accounts[rows.codes]
        self._sketch.add(who, rows.numbers // np.uint64(BLOCK))
        self._around.add_keys(_around(who, rows.numbers))

    def _grade(self) -> None:
        """Find, by account and million, how many messages a block has at least that can be found.

        What is around is rounded down, so that no block is ruled out that would be found.
        """
        total = self._around.total().sort("around")
        self._places, self._reached = total["around"].to_numpy(), total["n"].to_numpy()
        del self._around
        self._level = LEVEL / (max(1, len(self._places)) * (WIDE // BLOCK))
        grades, of = np.unique(np.floor(np.log2(self._reached) * _STEPS), return_inverse=True)
        fewest = np.array([_fewest(int(2 ** (g / _STEPS)), self._level) for g in grades.tolist()], np.int64)
        self._fewest = Least(self._places, np.minimum(fewest[of], FULL), FULL)

    def _begin(self, part: Part) -> None:
        self._part = part
        self._groups = Index(MOST_GROUPS)
        self._bits = np.zeros(MOST_GROUPS * _BITS, np.uint8)  # takes memory as far as it is used
        self._messages = np.zeros(MOST_GROUPS, np.uint32)

    def _look(self, month: int, rows: Rows) -> None:  # noqa: ARG002
        """Set the bits of numbers in blocks that may be found."""
        if self._groups.full:
            return
        rows = rows.plain()
        who, blocks = self._accounts[rows.codes], rows.numbers // np.uint64(BLOCK)
        counts = self._sketch.counts(who, blocks)
        mine = (counts >= self._fewest.of(_around(who, rows.numbers))) & (rows.codes > 0)
        if mine.any():
            mine[mine] = self._part.takes(blocks[mine])
        if not mine.any():
            return
        keys = _key(self._pairs[rows.codes[mine]], blocks[mine])
        within = (rows.numbers[mine] - blocks[mine] * np.uint64(BLOCK)).astype(np.int64)
        bits = np.left_shift(np.uint8(1), (within & 7).astype(np.uint8))
        with self._lock:
            ids = self._groups.ids(keys)
            if ids is not None:
                np.add.at(self._messages, ids, np.uint32(1))
                np.bitwise_or.at(self._bits, ids.astype(np.int64) * _BITS + (within >> 3), bits)

    def _judged(self) -> pl.DataFrame:
        """Return the blocks of a part that were flooded."""
        numbers = np.zeros(len(self._groups), np.int64)
        for at in range(0, len(numbers), _AT_ONCE):
            end = min(at + _AT_ONCE, len(numbers))
            bits = self._bits[at * _BITS : end * _BITS].reshape(-1, _BITS)
            numbers[at:end] = np.bitwise_count(bits).sum(axis=1)
        likely = numbers >= AIT_NUMBERS
        messages = self._messages[: len(numbers)].astype(np.int64)
        return self._told(self._groups.keys[likely], numbers[likely], messages[likely])

    def _told(self, keys: Array, numbers: Array, messages: Array) -> pl.DataFrame:
        """Tell of blocks that may be flooded which are, and of which account."""
        pairs, blocks = keys >> _BLOCK_BITS, keys & np.uint64((1 << 40) - 1)
        at = np.searchsorted(
            self._places, _around(self._who[pairs.astype(np.int64)], blocks * np.uint64(BLOCK))
        )
        likely = pl.DataFrame(
            {
                "pair": pairs.astype(np.uint32), "block": blocks, "numbers": numbers.astype(np.int64),
                "messages": messages.astype(np.int64), "around": self._reached[at],
            }
        ).with_columns(rest=pl.col("around") - pl.col("messages"))  # fmt: skip
        different = likely.select("numbers", "rest").unique()
        chances = [_chance(n, rest) for n, rest in different.iter_rows()]
        different = different.with_columns(probability=pl.Series(chances, dtype=pl.Float64))
        return (
            likely.join(different, on=["numbers", "rest"])
            .filter(pl.col("probability") < self._level)
            .join(self._pair_table.with_row_index("pair", 1), on="pair")
            .select("pair", "block", *self.columns, "numbers", "messages", "probability")
        )

    def _largest(self, found: pl.DataFrame) -> pl.DataFrame:
        """Count blocks that are not shown, and keep the largest ones of the others."""
        shown = found.filter(pl.col("numbers") >= self._least)
        self.hidden += found.height - shown.height
        by = ["numbers", "block", *self.columns]
        return shown.sort(by, descending=[True, False, False, False]).head(MOST_SHOWN)

    def _detail(self) -> None:
        """Get ready to look at the blocks that are shown."""
        keys = _key(self.found["pair"].to_numpy().astype(np.uint64), self.found["block"].to_numpy())
        self._order = np.argsort(keys)
        self._shown = keys[self._order]
        self._near = np.zeros(1 << _NEAR_BITS, np.bool_)
        self._near[mixed([self.found["block"].to_numpy()], _NEAR_BITS)] = True
        self._first = np.full(len(keys), _MOST, np.int64)
        self._last = np.full(len(keys), -_MOST, np.int64)
        self._samples = np.full((len(keys), BLOCK), _NEVER, np.int64)
        self._charges = self._month.charges()

    def _see(self, month: int, rows: Rows) -> None:  # noqa: ARG002
        """See when each block was flooded, the first record of each number, and which records are charged for it."""
        rows = rows.plain()
        rows = rows.where(self._near[mixed([rows.numbers // np.uint64(BLOCK)], _NEAR_BITS)])
        keys = _key(self._pairs[rows.codes], rows.numbers // np.uint64(BLOCK))
        at = np.minimum(np.searchsorted(self._shown, keys), len(self._shown) - 1)
        mine = self._shown[at] == keys
        if not mine.any():
            return
        groups, hours, places = self._order[at[mine]], rows.hours[mine].astype(np.int64), rows.places[mine]
        numbers = rows.numbers[mine]
        within = (numbers - numbers // np.uint64(BLOCK) * np.uint64(BLOCK)).astype(np.int64)
        with self._lock:
            np.minimum.at(self._first, groups, hours)
            np.maximum.at(self._last, groups, hours)
            np.minimum.at(self._samples.reshape(-1), groups * BLOCK + within, places)
        self._charges.add(places, groups)

    def _finish(self) -> None:
        charged = self._charges.sums(self.found.height)
        del self._charges
        self.found = self.found.select(
            "block", *self.columns, "numbers", "messages",
            pl.Series("first", self._first), pl.Series("last", self._last), "probability",
            pl.Series("charge", charged, dtype=pl.Decimal(38, 6)),
        )  # fmt: skip


_NEVER: Final = np.iinfo(np.int64).max


def _key(pairs: Array, blocks: Array) -> Array:
    """Name an account, a currency and a block (15 digits less 3: 40 bits) by one integer."""
    found: Array = (pairs << _BLOCK_BITS) | blocks.astype(np.uint64)
    return found


def _around(who: Array, numbers: Array) -> Array:
    """Name an account and the million numbers that a number lies in by one integer."""
    found: Array = (who << np.uint64(32)) | (numbers // np.uint64(WIDE))
    return found


def _chance(numbers: int, rest: int) -> float:
    """Return the probability of so many numbers in a block, of so many messages to the million around it but for it."""
    expected = max(rest, 1) * BLOCK / WIDE
    return poisson_tail(numbers, expected) if numbers > expected else 1.0


def _fewest(around: int, level: float) -> int:
    """Return how many messages to a block are beyond chance, of so many to the million around it."""
    low, high = AIT_NUMBERS, AIT_NUMBERS
    while high < _MOST and _chance(high, around - high) >= level:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if _chance(middle, around - middle) < level:
            high = middle
        else:
            low = middle + 1
    return low
