"""What the window keeps of a record besides its identifiers, as JSON: one object a record, empty fields left out.

The bytes depend on the record alone, never on what else was in its batch: a replay must give the same entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

_NEEDS_ESCAPING: Final = r'["\\\x00-\x1f\x7f]'


def as_json(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """String columns -> one JSON object a row, keys in alphabetical order; null where every field is null."""
    members = [_member(frame.get_column(name), name) for name in sorted(columns)]
    joined = pl.select(pl.concat_str(members, separator=",", ignore_nulls=True)).to_series()
    empty = joined == ""
    text = pl.select(pl.concat_str([pl.lit("{"), joined, pl.lit("}")])).to_series()
    return text.set(empty, None) if empty.any() else text


def _member(values: pl.Series, name: str) -> pl.Series:
    """`"name":"value"`, null for null."""
    key = pl.Series([name]).to_frame("n").select(pl.struct("n").struct.json_encode()).item()[5:-1]
    if values.str.contains(_NEEDS_ESCAPING).any():
        encoded = values.to_frame("n").select(
            pl.when(pl.col("n").is_not_null()).then(
                pl.struct("n").struct.json_encode().str.strip_prefix('{"n":').str.strip_suffix("}")
            )
        )  # fmt: skip
        return pl.select(pl.concat_str([pl.lit(f"{key}:"), encoded.to_series()])).to_series()
    return pl.select(pl.concat_str([pl.lit(f'{key}:"'), values, pl.lit('"')])).to_series()
