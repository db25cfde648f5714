"""The table `codes`: what a stand-in stands for, written once each, however often and wherever it is found out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl
import pyarrow as pa

from lethe.schemas.arrow import CODES
from lethe.schemas.retention.calendar import Month
from lethe.tiers import monthly
from lethe.tiers.warehouse import Warehouse

NAME: Final = "codes"
_COLUMNS: Final = ["column_name", "stand_in", "text", "why"]


@dataclass(frozen=True, slots=True)
class Named:
    """What a stand-in stands for. `why`: `approved` by the site, or `shared` by so many that it names none of them."""

    column: str
    stand_in: str
    text: str = field(repr=False)
    why: str = "approved"


def known(warehouse: Warehouse, month: Month) -> pl.DataFrame:
    """Read what is named in a month: `column_name`, `stand_in`, `text`, `why`."""
    return monthly.known(warehouse.table(NAME), month, _COLUMNS)


def name(
    warehouse: Warehouse, month: Month, now: datetime, find: Callable[[pl.DataFrame], Sequence[Named]]
) -> list[Named]:
    """Write what is found out of a month and not in the table yet; returns it. `find` is given what the table has."""

    def rows(there: pl.DataFrame) -> pa.Table:
        named = set(there.select("column_name", "stand_in").rows())
        new = [one for one in find(there) if (one.column, one.stand_in) not in named]
        return pa.Table.from_pylist(
            [
                {"column_name": one.column, "stand_in": one.stand_in, "text": one.text, "why": one.why,
                 "named_time": now, "month": str(month)}
                for one in sorted(new, key=lambda one: (one.column, one.stand_in))
            ],
            schema=CODES,
        )  # fmt: skip

    new = monthly.add(warehouse, NAME, month, now, _COLUMNS, rows)
    return [Named(*row.values()) for row in new.select(_COLUMNS).to_pylist()]
