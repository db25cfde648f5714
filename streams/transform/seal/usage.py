"""What was done, sealed: of each record of usage data one value, which only its month's keys open."""

from __future__ import annotations

from typing import Final

import orjson
import polars as pl
import pyarrow as pa

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.sealing import seal_column
from lethe.streams.transform.split.rules import ID

_DONE: Final = ("action", "method", "path", "status")


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
