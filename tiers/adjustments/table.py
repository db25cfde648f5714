"""The table `adjustments`: what is set apart, written once each, however often and wherever it is found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl
import pyarrow as pa

from lethe.schemas.arrow import ADJUSTMENTS
from lethe.schemas.retention.calendar import Month
from lethe.tiers import monthly
from lethe.tiers.adjustments.find import POSITION, set_apart
from lethe.tiers.warehouse import Warehouse

NAME: Final = "adjustments"
_COLUMNS: Final = [*POSITION, "reason"]


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What a run found in a month: rows set apart now, and how many there are in all."""

    month: Month
    new: int
    total: int


def adjust(warehouse: Warehouse, month: Month, now: datetime) -> Adjusted:
    """Find what is to be set apart in a month and write what is not in the table yet."""

    def find(there: pl.DataFrame) -> pa.Table:
        new = set_apart(warehouse, month).join(there, on=POSITION, how="anti", nulls_equal=True)
        stamped = pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("found_time")
        rows = new.with_columns(stamped, month=pl.lit(str(month))).select(ADJUSTMENTS.names)
        return rows.to_arrow().cast(ADJUSTMENTS)

    there, new = monthly.add(warehouse, NAME, month, now, _COLUMNS, find)
    return Adjusted(month, new.num_rows, there.height + new.num_rows)


def known(warehouse: Warehouse, month: Month) -> pl.DataFrame:
    """Read the positions that are set apart in a month, with their reasons."""
    return monthly.known(warehouse.table(NAME), month, _COLUMNS)
