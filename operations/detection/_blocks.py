"""What was found, said by blocks of numbers: never a number, and no block of fewer numbers than asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from lethe.operations.detection._counts import Array
from lethe.tiers.detection.month_rows import MonthRows

MOST_SHOWN: Final = 500
_SAMPLES: Final = 3
_DIGITS: Final = range(3, 10)
_MONTH_BITS: Final = 48
_NEVER: Final = np.iinfo(np.int64).max

Blocks = tuple[list[dict[str, Any]], int]
"""Rows that are shown, and how many numbers or blocks are not."""


def flooded(found: pl.DataFrame, places: Array, coded: MonthRows) -> list[dict[str, Any]]:
    """Say which blocks were flooded. `places`: by block and number in it, the first record, or the greatest integer."""
    start = coded.month.start()
    rows = []
    for at, row in enumerate(found.to_dicts()):
        some = places[at][places[at] != _NEVER][:_SAMPLES].tolist()
        times = {n: start + timedelta(hours=row[n]) for n in ("first", "last")}
        records = sorted(coded.positions(some))
        rows.append({**row, "block": f"+{row['block']}xxx", **times, "records": records})
    return rows


def instant(month: int, places: Array) -> Array:
    """Name records of several months by one integer, in the order of months and places."""
    return (np.int64(month) << _MONTH_BITS) | places


class Narrowest:
    """Numbers that were found, said by the narrowest blocks that hold `least` of them: what one holds is in no wider.

    40 bytes for each block of 1,000 in which there are some, however many there are: of it is kept how many, what they
    add up to, and a record of each of the first three.
    """

    def __init__(self, what: str, least: int) -> None:
        self._what = what
        self._least = least
        self._sums = pl.DataFrame(schema={"block": pl.UInt64, "numbers": pl.Int64, "total": pl.Int64})
        self._samples = pl.DataFrame(schema={"number": pl.UInt64, "record": pl.Int64})

    def add(self, numbers: Array, totals: Array, records: Array) -> None:
        """Add numbers, each once and never again, what there is of each, and one record of each (`instant`)."""
        some = pl.DataFrame({"number": numbers, "total": totals.astype(np.int64), "record": records})
        sums = some.group_by(_BLOCK.alias("block")).agg(
            pl.len().cast(pl.Int64).alias("numbers"), pl.col("total").sum()
        )
        self._sums = pl.concat([self._sums, sums]).group_by("block").agg(pl.col("numbers", "total").sum())
        samples = pl.concat([self._samples, some.select("number", "record")]).sort("number")
        self._samples = samples.filter(pl.int_range(pl.len()).over(_BLOCK) < _SAMPLES)

    def blocks(self, coded: Sequence[MonthRows]) -> Blocks:
        """Say the blocks, largest first, and how many numbers are in none."""
        rest, held = self._sums, []
        for digits in _DIGITS:
            rest = rest.with_columns(wide=pl.col("block") // 10 ** (digits - 3), digits=pl.lit(digits))
            enough = pl.col("numbers").sum().over("wide") >= self._least
            held.append(rest.filter(enough))
            rest = rest.filter(~enough)
        inside = pl.concat(held)
        told = pl.lit("+") + pl.col("wide").cast(pl.String) + pl.lit("x").repeat_by("digits").list.join("")
        largest = (
            inside.group_by("wide", "digits")
            .agg(pl.col("numbers", "total").sum())
            .with_columns(told=told)
            .sort("numbers", "told", descending=[True, False])
            .head(MOST_SHOWN)
        )
        shown = inside.join(largest, on=["wide", "digits"], how="semi")
        samples = self._samples.with_columns(block=_BLOCK).join(shown, on="block").sort("number")
        records = {
            tuple(key): some["record"].head(_SAMPLES).to_list()
            for key, some in samples.group_by("wide", "digits")
        }
        rows = [
            {
                "block": row["told"], "numbers": row["numbers"], self._what: row["total"],
                "records": sorted(map(_position(coded), records[row["wide"], row["digits"]])),
            }
            for row in largest.to_dicts()
        ]  # fmt: skip
        return rows, int(rest["numbers"].sum())


_BLOCK: Final = pl.col("number") // 1_000


def _position(coded: Sequence[MonthRows]) -> Any:
    """Return what names a record by its position."""

    def position(record: int) -> str:
        return coded[record >> _MONTH_BITS].positions([record & ((1 << _MONTH_BITS) - 1)])[0]

    return position
