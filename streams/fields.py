"""What the window keeps of a record besides its identifiers, as JSON: one object a record, empty fields left out.

The bytes depend on the record alone, never on what else was in its batch: a replay must give the same entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import polars as pl

_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_DELETE: Final = 0x7F


def as_json(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """String columns -> one JSON object a row, keys in alphabetical order; null where every field is null."""
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
    """A column's texts as they stand in JSON, null for null; those that are not plain with their quotes."""
    if plain:
        return pl.col(name)
    encoded = pl.struct(pl.col(name).alias("n")).struct.json_encode()
    return pl.when(pl.col(name).is_not_null()).then(encoded.str.strip_prefix('{"n":').str.strip_suffix("}"))


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    encoded: str = pl.Series([name]).to_frame("n").select(pl.struct("n").struct.json_encode()).item()
    return encoded[5:-1]


def _plain(values: pl.Series) -> bool:
    """Whether no text has a character that JSON escapes: no quote, no backslash and no control character."""
    array: Any = values.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    data = array.buffers()[2]
    if data is None:
        return True
    text = np.frombuffer(data, np.uint8)
    return not ((text < ord(" ")) | (text == _QUOTE) | (text == _BACKSLASH) | (text == _DELETE)).any()
