"""Find the reports of one communication, and all but the one that counts.

Reports are of one communication when they carry the same message id (known by its token, so only while the month's
window lasts), name the same persons, and are of the same format and account. Of these the one that counts is the first
in a fixed order: final before not final, priced before not, then the latest `done_time`, then the earliest position.
The order depends on the rows alone, so a report that comes later can only add to what is set apart, never take
anything back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.retention.calendar import Month
from lethe.tiers.warehouse import Warehouse

POSITION: Final = ("stream", "partition", "offset", "index")
SUPERSEDED: Final = "superseded"
REPEATED: Final = "repeated"
_NOT_FINAL: Final = ("ACCEPTED", "PENDING")
_ROWS_AT_A_TIME: Final = 8_000_000
_SAID: Final = ("format", "account", "status_group", "status", "done_time", "price", "charge", "currency")


def set_apart(warehouse: Warehouse, month: Month) -> pl.DataFrame:
    """Find the rows of a month that do not count: columns of `POSITION` and `reason`, by position.

    A report is `repeated` when the one that counts says the same of status, time and price, `superseded` otherwise.
    Several passes are made over a month of many rows, a share of the message ids in each, so that memory is bounded by
    the communications with several reports in one share.
    """
    warehouse.window["identifiers"].reload()
    warehouse.metadata.reload()
    identifiers = warehouse.window["identifiers"].dataset()
    here = pc.field("month") == str(month)
    passes = max(1, -(-identifiers.count_rows(filter=here) // _ROWS_AT_A_TIME))
    found = [_apart(warehouse, month, _several(identifiers, here, share, passes)) for share in range(passes)]
    return pl.concat(found).sort(POSITION, nulls_last=False)


def _several(identifiers: Any, here: Any, share: int, passes: int) -> pl.DataFrame:
    """Read the records of message ids that several records carry: `POSITION`, `message` and `persons`.

    Of all message ids those of one share: their tokens are evenly spread.
    """
    frames = list(_of_share(identifiers, here, share, passes))
    if not frames:
        return pl.DataFrame(
            schema={"stream": pl.String, "partition": pl.Int32, "offset": pl.Int64, "index": pl.Int32,
                    "message": pl.Binary, "persons": pl.String}
        )  # fmt: skip
    records = (
        pl.concat(frames)
        .group_by(*POSITION)
        .agg(
            pl.col("message_token").first().alias("message"),
            pl.col("token").drop_nulls().bin.encode("hex").unique().sort().str.join(",").alias("persons"),
        )
    )
    return records.filter(pl.len().over("message", "persons") > 1)


def _of_share(identifiers: Any, here: Any, share: int, passes: int) -> Iterator[pl.DataFrame]:
    columns = [*POSITION, "token", "message_token"]
    for batch in identifiers.to_batches(columns=columns, filter=here & pc.field("message_token").is_valid()):
        if not batch.num_rows:
            continue
        table = pa.Table.from_batches([batch])
        if passes > 1:
            tokens = table.column("message_token").cast(pa.binary()).to_numpy()
            first = np.fromiter((t[0] for t in tokens), np.int64, len(tokens))
            table = table.filter(pa.array(first * passes // 256 == share))
        for name in ("token", "message_token"):
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table.column(name).cast(pa.binary()))
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
        yield frame.with_columns(pl.col("stream").cast(pl.String))


def _apart(warehouse: Warehouse, month: Month, several: pl.DataFrame) -> pl.DataFrame:
    """Find those that do not count of records that share a message id."""
    nothing = pl.DataFrame(
        schema={"stream": pl.String, "partition": pl.Int32, "offset": pl.Int64, "index": pl.Int32, "reason": pl.String}
    )  # fmt: skip
    if not several.height:
        return nothing
    rows = _archive(warehouse, month, several)
    kin = ["message", "persons", "format", "account"]
    ordered = rows.join(several, on=POSITION, nulls_equal=True).sort(
        [
            pl.col("status_group").is_in(_NOT_FINAL) | pl.col("status_group").is_null(),
            pl.coalesce("charge", "price").is_null(),
            pl.col("done_time").fill_null(pl.datetime(1, 1, 1, time_zone="UTC")).dt.timestamp("us") * -1,
            *POSITION,
        ],
        nulls_last=False,
    )
    same = [pl.col(name).eq_missing(pl.col(name).first().over(kin)) for name in _SAID[2:]]
    judged = ordered.with_columns(
        pl.int_range(pl.len()).over(kin).alias("place"),
        pl.when(pl.all_horizontal(same)).then(pl.lit(REPEATED)).otherwise(pl.lit(SUPERSEDED)).alias("reason"),
    )
    return judged.filter(pl.col("place") > 0).select(*POSITION, "reason")


def _archive(warehouse: Warehouse, month: Month, wanted: pl.DataFrame) -> pl.DataFrame:
    """Read the archive rows at some positions of a month."""
    archive = warehouse.metadata.dataset()
    found = []
    batches = archive.to_batches(columns=[*POSITION, *_SAID], filter=pc.field("month") == str(month))
    for batch in batches:
        if batch.num_rows:
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
            frame = frame.with_columns(pl.col(pl.Categorical).cast(pl.String))
            found.append(frame.join(wanted, on=POSITION, how="semi", nulls_equal=True))
    return pl.concat(found, how="vertical_relaxed") if found else _no_rows(archive)


def _no_rows(archive: Any) -> pl.DataFrame:
    frame = pl.from_arrow(archive.schema.empty_table().select([*POSITION, *_SAID]))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
    return frame
