"""The table `adjustments`: what is set apart, written once each, however often and wherever it is found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
import pyarrow.compute as pc

from lethe.schemas.arrow import ADJUSTMENTS
from lethe.schemas.errors import FencedError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.adjustments.find import POSITION, set_apart
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.rewrite import delete_removed, files_of, replace
from lethe.tiers.warehouse import Warehouse

NAME: Final = "adjustments"
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What a run found in a month: rows set apart now, and how many there are in all."""

    month: Month
    new: int
    total: int


def adjust(warehouse: Warehouse, month: Month, now: datetime) -> Adjusted:
    """Find what is to be set apart in a month and write what is not in the table yet.

    1. See the table as it is, with the number of the month's last run. A crash here leaves nothing.
    2. Find what does not count; leave out what the table has. A crash here leaves nothing.
    3. Commit the rest with the next number. Another run that came first is seen by the number: look again.
    """
    for _ in range(_TRIES):
        # Step 1
        table = warehouse.table(NAME)
        run = f"{NAME}/{month}"
        number = (table.transaction(run) or 0) + 1
        there = known(warehouse, month)
        # Step 2
        found = set_apart(warehouse, month)
        new = found.join(there, on=POSITION, how="anti", nulls_equal=True)
        if not new.height:
            return Adjusted(month, 0, there.height)
        rows = (
            new.with_columns(
                pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("found_time"), month=pl.lit(str(month))
            )
            .select(ADJUSTMENTS.names)
            .to_arrow()
            .cast(ADJUSTMENTS)
        )
        # Step 3
        files = write_files(warehouse.objects, NAME, rows, f"run{number}", int(now.timestamp() * 1000))
        try:
            table.commit(files, {run: number}, {"lethe.maintenance": NAME})
        except FencedError:
            continue
        return Adjusted(month, new.height, there.height + new.height)
    raise FencedError(
        f"adjustments of {month}: other runs were faster {_TRIES} times; there is nothing to do"
    )


def known(warehouse: Warehouse, month: Month) -> pl.DataFrame:
    """Read the positions that are set apart in a month, with their reasons."""
    table = warehouse.table(NAME)
    dataset = table.dataset()
    rows = dataset.to_table(columns=[*POSITION, "reason"], filter=pc.field("month") == str(month))
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
    return frame.with_columns(pl.col("stream", "reason").cast(pl.String))


def forget_with_archive(warehouse: Warehouse, now: datetime) -> int:
    """Take out the months whose archive rows are all gone; returns how many."""
    archive = {f.partition["month"] for f in files_of(warehouse.metadata)}
    table = warehouse.table(NAME)
    over = [f for f in files_of(table) if f.partition["month"] not in archive]
    if over:
        replace(table, over, [], int(now.timestamp() * 1000), "expiry")
        for file in over:
            warehouse.objects.delete(f"{NAME}/{file.path}")
    delete_removed(warehouse.objects, table)  # what a crash has left between the two
    return len({f.partition["month"] for f in over})
