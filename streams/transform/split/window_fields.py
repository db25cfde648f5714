"""What the window keeps of a record besides its identifiers, as JSON: one object a record, empty fields left out.

The bytes depend on the record alone, never on what else was in its batch: a replay must give the same entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.flat import bytes_of, large
from lethe.streams.transform.text_columns import objects

_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_DELETE: Final = 0x7F


def entries(frame: pl.DataFrame, columns: Sequence[str], given: list[bytes | None]) -> pa.BinaryArray:
    """Write what the window keeps of each row: what is given, else the fields as `as_json` writes them; null for
    nothing.
    """
    members = [(f"{_key(name)}:".encode(), frame.get_column(name)) for name in sorted(columns)]
    made = objects(members, given)
    if made is None:
        return _given(as_json(frame, columns).to_arrow().cast(pa.binary()), given)
    values, odd = made
    if odd is not None:
        rows = np.flatnonzero(np.frombuffer(odd, np.uint8))
        instead: list[bytes | None] = [None] * len(given)
        for row, text in zip(rows.tolist(), as_json(frame[rows], columns).to_list(), strict=True):
            instead[row] = text.encode()
        values = _given(values, instead)
    return values


def _given(values: pa.BinaryArray, given: list[bytes | None]) -> pa.BinaryArray:
    mask = pa.array([one is not None for one in given], pa.bool_())
    some = pa.array([one for one in given if one is not None], pa.binary())
    return pc.replace_with_mask(values, mask, some)


def as_json(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Write String columns as one JSON object a row, keys in alphabetical order; null where every field is null."""
    present = [name for name in sorted(columns) if frame.get_column(name).null_count() < frame.height]
    if not present:
        return pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    # Every member has a comma in front: where nothing is missing the first one's is never written.
    whole = not any(frame.get_column(name).null_count() for name in present)
    pieces: list[pl.Expr] = []
    for number, name in enumerate(present):
        values = frame.get_column(name)
        begin = ("{" if number == 0 else ",") if whole else ","
        plain = _plain(values)
        head, tail = f"{begin}{_key(name)}:" + ('"' if plain else ""), '"' if plain else ""
        if values.null_count():
            pieces.append(pl.concat_str([pl.lit(head), _text(name, plain), pl.lit(tail)]).fill_null(""))
        else:
            pieces += [pl.lit(head), _text(name, plain), pl.lit(tail)]
    if whole:
        return frame.select(pl.concat_str([*pieces, pl.lit("}")])).to_series()
    members = pl.concat_str(pieces)
    text = pl.when(members != "").then(pl.concat_str([pl.lit("{"), members.str.slice(1), pl.lit("}")]))
    return frame.select(text).to_series()


def _text(name: str, plain: bool) -> pl.Expr:
    """Return a column's texts as they stand in JSON, null for null; those that are not plain with their quotes."""
    if plain:
        return pl.col(name)
    encoded = pl.struct(pl.col(name).alias("n")).struct.json_encode()
    return pl.when(pl.col(name).is_not_null()).then(encoded.str.strip_prefix('{"n":').str.strip_suffix("}"))


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    encoded: str = pl.Series([name]).to_frame("n").select(pl.struct("n").struct.json_encode()).item()
    return encoded[5:-1]


def _plain(values: pl.Series) -> bool:
    """Tell whether no text has a character that JSON escapes: no quote, no backslash and no control character."""
    text = bytes_of(large(values))
    return not ((text < ord(" ")) | (text == _QUOTE) | (text == _BACKSLASH) | (text == _DELETE)).any()
