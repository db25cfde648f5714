"""The table `codes`: what a stand-in stands for, written once each, however often and wherever it is found out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import CODES
from lethe.schemas.errors import FencedError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.rewrite import delete_removed, files_of, replace
from lethe.tiers.warehouse import Warehouse

NAME: Final = "codes"
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Named:
    """What a stand-in stands for. `why`: `approved` by the site, or `shared` by so many that it names none of them."""

    column: str
    stand_in: str
    text: str = field(repr=False)
    why: str = "approved"


def known(warehouse: Warehouse, month: Month) -> pl.DataFrame:
    """Read what is named in a month: `column_name`, `stand_in`, `text`, `why`."""
    table = warehouse.table(NAME)
    dataset = table.dataset()
    rows = dataset.to_table(
        columns=["column_name", "stand_in", "text", "why"], filter=pc.field("month") == str(month)
    )
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
    return frame.with_columns(pl.all().cast(pl.String))


def name(
    warehouse: Warehouse, month: Month, now: datetime, find: Callable[[pl.DataFrame], Sequence[Named]]
) -> list[Named]:
    """Write what is found out of a month and not in the table yet; returns it.

    `find` is given what the table has.

    1. See the table as it is, with the number of the month's last run. A crash here leaves nothing.
    2. Find out what is to be named. A crash here leaves nothing.
    3. Commit it with the next number. Another run that came first is seen by the number: look again.
    """
    for _ in range(_TRIES):
        # Step 1
        table = warehouse.table(NAME)
        run = f"{NAME}/{month}"
        number = (table.transaction(run) or 0) + 1
        there = set(known(warehouse, month).select("column_name", "stand_in").rows())
        # Step 2
        new = [one for one in find(known(warehouse, month)) if (one.column, one.stand_in) not in there]
        if not new:
            return []
        rows = pa.Table.from_pylist(
            [
                {"column_name": one.column, "stand_in": one.stand_in, "text": one.text, "why": one.why,
                 "named_time": now, "month": str(month)}
                for one in sorted(new, key=lambda one: (one.column, one.stand_in))
            ],
            schema=CODES,
        )  # fmt: skip
        # Step 3
        files = write_files(warehouse.objects, NAME, rows, f"run{number}", int(now.timestamp() * 1000))
        try:
            table.commit(files, {run: number}, {"lethe.maintenance": NAME})
        except FencedError:
            continue
        return new
    raise FencedError(f"codes of {month}: other runs were faster {_TRIES} times; there is nothing to do")


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
