"""What the patterns that need numbers share: a month is read again and again, and never held.

A pattern says what it does with the rows of each reading; patterns that look at the same months share their readings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

import numpy as np
import polars as pl

from lethe.operations.detection._blocks import Blocks
from lethe.operations.detection._counts import Array
from lethe.operations.detection._hashed import mixed
from lethe.tiers.detection.month_rows import Keys, MonthRows, Rows

Visit = Callable[[int, Rows], None]
"""What is done with some rows of a month, counted from 0; by several threads at once."""

_PART_BITS: Final = 20


@dataclass(frozen=True, slots=True)
class Pass:
    """A reading of all months. `hours`: whether what is done asks for hours, which else are not read."""

    visit: Visit
    hours: bool = True


class Pattern(Protocol):
    """A pattern over numbers. `coded`: the months, oldest first, as all patterns of one search have them."""

    kind: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    coded: Sequence[MonthRows]

    def passes(self) -> Iterator[Pass]:
        """Go through the pattern: each pass yielded is done with all rows before the next one is asked for."""

    def answer(self) -> Blocks:
        """Say what was found, after the passes."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of `of` parts (a power of two) of all numbers, by a hash: what is too much to hold is looked at in parts."""

    n: int = 0
    of: int = 1

    def halves(self) -> list[Part]:
        """Return the two parts that this one is made of."""
        return [Part(self.n + self.of, 2 * self.of), Part(self.n, 2 * self.of)]

    def takes(self, numbers: Array) -> Array:
        """Tell which numbers are in this part."""
        if self.of == 1:
            return np.ones(len(numbers), np.bool_)
        mine: Array = mixed([numbers, numbers], _PART_BITS) & (self.of - 1) == self.n
        return mine


def parts_of(of: int) -> list[Part]:
    """Return parts that are `of` together, or more."""
    of = 1 << max(0, of - 1).bit_length()
    return [Part(n, of) for n in range(of)]


def search(patterns: Sequence[Pattern], keys: Sequence[Keys]) -> None:
    """Go through the months of the patterns, until each has had its passes. `keys`: by month, for `MonthRows.each`."""
    coded = patterns[0].coded
    running = [p.passes() for p in patterns]
    while running:
        wanted = [(passes, one) for passes in running if (one := next(passes, None)) is not None]
        running = [passes for passes, _ in wanted]
        if wanted:
            _through([one for _, one in wanted], coded, keys)


def _through(together: Sequence[Pass], coded: Sequence[MonthRows], keys: Sequence[Keys]) -> None:
    for month, rows in enumerate(coded):

        def each(some: Rows, month: int = month) -> None:
            for one in together:
                one.visit(month, some)

        rows.each(keys[month], each, any(one.hours for one in together))


def by_code(coded: MonthRows, expression: pl.Expr) -> Array:
    """Return what an expression says of each code of a month, true or false; false for code 0."""
    said = coded.table.select(expression.fill_null(False)).to_series()
    return np.concatenate([[False], said.to_numpy()])


def numbered(coded: MonthRows, columns: Sequence[str]) -> tuple[Array, pl.DataFrame]:
    """Number the different rows of some columns from 1.

    Returns the number of each code of a month, 0 of code 0, and what the numbers say.
    """
    rows = coded.table.select(columns)
    different = rows.unique(maintain_order=True).with_row_index("n", 1)
    of = rows.join(different, on=columns, how="left", nulls_equal=True, maintain_order="left")["n"]
    return np.concatenate([[0], of.to_numpy()]).astype(np.uint64), different.drop("n")
