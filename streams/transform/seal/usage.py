"""What was done, sealed: of each record of usage data one value, which only its month's keys open."""

from __future__ import annotations

from typing import Final

import orjson
import polars as pl
import pyarrow as pa

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.sealing import seal_column
from lethe.schemas.transformed import DONE
from lethe.streams.transform.split.rules import ID

_DONE: Final = ("action", "method", "path", "status")
_WORDS: Final = ("action", "method", "status")


def sealed_usage(
    records: pl.DataFrame, subjects: pl.DataFrame, names: list[str], keys: MonthKeys
) -> pa.BinaryArray:
    """Seal the details of records, one JSON object each; `names` are the records' positions.

    `subjects`: `ID`, `role`, `value`, of which those in the role of an account are among the details.
    """
    accounts = dict(subjects.filter(pl.col("role") == "account").select(ID, "value").rows())
    columns = [name for name in _DONE if name in records.columns]
    values: list[bytes | None] = []
    for one, *done in records.select(ID, *columns).iter_rows():
        said = {"account": accounts.get(one), **dict(zip(columns, done, strict=True))}
        values.append(orjson.dumps({k: v for k, v in said.items() if v is not None}))
    return seal_column(keys, "usage", "sealed", names, values)


def look_of(records: pl.DataFrame, subjects: pl.DataFrame, name: str) -> pa.Table:
    """Return what records of usage data of a format look like (`DONE`), in their order."""
    account, address = pl.col("role") == "account", pl.col("kind") == "ip"
    people = {"account": account, "user": ~(account | address), "address": address}
    named = {part: subjects.filter(which).get_column(ID).implode() for part, which in people.items()}
    columns = {
        "offset": pl.col("offset"), "index": pl.col("index"), "event_time": pl.col("event_time"),
        "format": pl.lit(name),
        **{part: pl.when(pl.col(ID).is_in(ids)).then(pl.lit(True)) for part, ids in named.items()},
        "path": pl.when(pl.col("path").is_not_null()).then(pl.lit(True)) if "path" in records.columns else None,
        **{word: pl.col(word) if word in records.columns else None for word in _WORDS},
    }  # fmt: skip
    found = records.select(
        [(pl.lit(None) if made is None else made).alias(column) for column, made in columns.items()]
    ).to_arrow()
    return pa.table([found.column(f.name).cast(f.type) for f in DONE], schema=DONE)
