"""Which stand-ins a month of the archive holds, in which rows, and how many different people share each.

Both come from tables alone: no address is opened. The rows that carry a stand-in are held in memory, a few dozen bytes
each; of most traffic they are few.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.declaration.vocabulary import CODES
from lethe.schemas.retention.calendar import Month
from lethe.tiers.warehouse import Warehouse

POSITION: Final = ("stream", "partition", "offset", "index")
STAND_IN: Final = "^~[a-z2-7]{16}$"
_NO_PERSON: Final = "ip"  # one person has many addresses of machines
_ROWS_AT_A_TIME: Final = 1_000_000
_CARRIED: Final[dict[str, Any]] = {
    "stream": pl.String, "partition": pl.Int32, "offset": pl.Int64, "index": pl.Int32, "format": pl.String,
    "column_name": pl.String, "stand_in": pl.String,
}  # fmt: skip


def carried(warehouse: Warehouse, month: Month) -> pl.DataFrame:
    """Read the rows of a month that have stand-ins: position, `format`, `column_name`, `stand_in`; one a stand-in."""
    warehouse.metadata.reload()
    archive = warehouse.metadata.dataset()
    columns = sorted(CODES)
    any_of = pc.field(columns[0]).cast("string") == ""
    for name in columns:
        any_of = any_of | pc.starts_with(pc.field(name).cast("string"), "~")
    found = [pl.DataFrame(schema=_CARRIED)]
    here = (pc.field("month") == str(month)) & any_of
    for batch in archive.to_batches(columns=[*POSITION, "format", *columns], filter=here):
        if not batch.num_rows:
            continue
        frame = pl.from_arrow(pa.Table.from_batches([batch]))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
        long = frame.with_columns(pl.col(pl.Categorical).cast(pl.String)).unpivot(
            on=columns, index=[*POSITION, "format"], variable_name="column_name", value_name="stand_in"
        )
        found.append(long.filter(pl.col("stand_in").str.contains(STAND_IN)).select(*_CARRIED))
    return pl.concat(found)


def _summed(counts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(counts).group_by("column_name", "stand_in", "token").agg(pl.col("times").sum())


def subjects_of(warehouse: Warehouse, month: Month, rows: pl.DataFrame) -> pl.DataFrame:
    """Count who shares each stand-in: `column_name`, `stand_in`, `rows`, `subjects` (different people), `most` (rows of
    the one with the most).

    `rows`: as `carried` returns them.
    """
    warehouse.window["identifiers"].reload()
    identifiers = warehouse.window["identifiers"].dataset()
    here = (pc.field("month") == str(month)) & pc.field("token").is_valid()
    kin = ["column_name", "stand_in"]
    counts = [
        pl.DataFrame(
            schema={"column_name": pl.String, "stand_in": pl.String, "token": pl.Binary, "times": pl.UInt32}
        )
    ]
    places = rows.select(*POSITION, *kin)
    for batch in identifiers.to_batches(columns=[*POSITION, "kind", "token"], filter=here):
        if not batch.num_rows:
            continue
        table = pa.Table.from_batches([batch])
        at = table.schema.get_field_index("token")
        frame = pl.from_arrow(table.set_column(at, "token", table.column("token").cast(pa.binary())))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
        people = frame.with_columns(pl.col("stream", "kind").cast(pl.String)).filter(
            pl.col("kind") != _NO_PERSON
        )
        each = people.unique([*POSITION, "token"]).join(places, on=POSITION, nulls_equal=True)
        counts.append(each.group_by(*kin, "token").agg(pl.len().cast(pl.UInt32).alias("times")))
        if sum(some.height for some in counts[1:]) > max(_ROWS_AT_A_TIME, counts[0].height):
            counts = [_summed(counts)]
    people = (
        _summed(counts).group_by(kin).agg(pl.len().alias("subjects"), pl.col("times").max().alias("most"))
    )
    return (
        rows.group_by(kin)
        .agg(pl.len().alias("rows"))
        .join(people, on=kin, how="left")
        .with_columns(pl.col("subjects", "most").fill_null(0))
        .sort(kin)
    )
