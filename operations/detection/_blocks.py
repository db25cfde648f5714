"""What was found, said by blocks of numbers: never a number, and no block of fewer numbers than asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import polars as pl

from lethe.tiers.detection.month_rows import MonthRows

_SAMPLES: Final = 3
_DIGITS: Final = range(3, 10)

Blocks = tuple[list[dict[str, Any]], int]
"""Rows that are shown, and how many are not."""


def ait_blocks(found: pl.DataFrame, records: pl.DataFrame, coded: MonthRows, least: int) -> Blocks:
    """Say which blocks were flooded; smaller ones than `least` are counted alone."""
    shown = found.filter(pl.col("numbers") >= least)
    start = coded.month.start()
    by = ["block", "account", "currency"]
    first = records.group_by([*by, "number"]).agg(pl.col("place").min()).sort("number")
    some = first.group_by(by).agg(pl.col("place").head(_SAMPLES))
    shown = shown.join(some, on=by, how="left", nulls_equal=True, maintain_order="left")
    rows = [
        {
            **{n: v for n, v in row.items() if n != "place"},
            "block": f"+{row['block']}xxx",
            **{n: start + timedelta(hours=row[n]) for n in ("first", "last")},
            "records": sorted(coded.positions(row["place"])),
        }
        for row in shown.to_dicts()
    ]
    return rows, found.height - shown.height


def blocks(found: pl.DataFrame, records: pl.DataFrame, coded: Sequence[MonthRows], least: int) -> Blocks:
    """Say of numbers in which blocks they lie, the narrowest first: what it holds is in no wider one."""
    rest = found.select("number").unique().sort("number")
    rows = []
    for digits in _DIGITS:
        held = rest.with_columns(block=pl.col("number") // 10**digits)
        held = held.filter(pl.len().over("block") >= least)
        rest = rest.join(held, on="number", how="anti", maintain_order="left")
        for (block,), mine in held.group_by("block", maintain_order=True):
            here = found.join(mine, on="number", how="semi")
            totals: dict[str, Any] = {c: here[c].sum() for c in ("messages", "failures") if c in here.columns}
            samples = _positions(records, coded, mine.head(_SAMPLES))
            rows.append(
                {"block": f"+{block}{'x' * digits}", "numbers": mine.height, **totals, "records": samples}
            )
    return sorted(rows, key=lambda r: (-r["numbers"], r["block"])), rest.height


def _positions(records: pl.DataFrame, coded: Sequence[MonthRows], numbers: pl.DataFrame) -> list[str]:
    """Name one record of each of a few numbers by its position."""
    mine = records.join(numbers, on="number", how="semi").sort("month", "place")
    first = mine.group_by("number", maintain_order=True).first().select("month", "place")
    return sorted(coded[month].positions([place])[0] for month, place in first.rows())
