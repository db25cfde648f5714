"""Sift: find the values of a batch that are no JSON, at a fraction of what parsing costs.

The reader of columns (`streams.shred`) is more lenient than the standard (RFC 8259): it takes commas before a closing
bracket, NaN and infinities, and any depth. What might be one of these is searched for by the column, and only that is
looked at exactly. So whether a value is taken depends on the value alone, never on its neighbours.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from streams.diagnose import is_json
from streams.shred import Mask, valid
from streams.tails import Cut

_BEFORE_CLOSING: Final = [f"{mark}{bracket}" for mark in ", \t\r" for bracket in "}]"]
_TRAILING: Final = r",[ \t\r]*[}\]]"
_NO_NUMBER: Final = r"(?i)[:,\[][ \t\r]*-?(?:nan|inf)"
_NESTED: Final = r"[}\]]{12}"  # nesting beyond any measure shows in its closing brackets


def utf8(values: list[bytes], texts: pa.LargeStringArray) -> Mask:
    """Which values are UTF-8. `texts`: the same values as a column, which is text only where they are."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return np.fromiter(map(_is_utf8, values), np.bool_, len(values))
    return np.ones(len(values), np.bool_)


def readable(values: list[bytes], texts: pa.LargeStringArray, parts: Cut | None = None) -> Mask:
    """Which values, all UTF-8, are JSON objects that can be read by the column. `parts`: the texts cut in two.

    Values that no reader takes count as readable: they are noticed when they are read.
    """
    if not values:
        return np.ones(0, np.bool_)
    if parts is None:
        sound = ~_suspected(texts)
    else:  # what is searched for has no quote in it, so that no cut can hide it
        sound = ~(_suspected(parts.heads) | _spread(_suspected(parts.tails), parts))
    for at in np.flatnonzero(~sound).tolist():
        sound[at] = is_json(values[at])
    return sound


def noticed(texts: pa.LargeStringArray, parts: Cut | None) -> tuple[Mask, Cut | None]:
    """Which texts some reader takes, asked when not all of them could be read; and those in parts that all can be."""
    if parts is None:
        return valid(texts), None
    sound = valid(parts.heads) & ~_spread(~valid(parts.tails), parts)
    doubtful = np.flatnonzero(~sound)
    sound[doubtful] = valid(texts.take(pa.array(doubtful)))
    # A text that is JSON was cut in the middle of something: it is read whole.
    return sound, parts.without(doubtful[sound[doubtful]], texts)


def _spread(tails: Mask, parts: Cut) -> Mask:
    """What is true of tails, of the texts that have them."""
    spread: Mask = pl.Series(tails)[parts.codes].fill_null(False).to_numpy()
    return spread


def _suspected(texts: pa.LargeStringArray) -> Mask:
    """Values that the reader might take though they are no JSON objects."""
    series = pl.Series(texts)
    # An object opens at once, or behind white space, which is looked at.
    first = np.frombuffer(texts.buffers()[2], np.uint8)[np.frombuffer(texts.buffers()[1], np.int64)[:-1]]
    suspected: Mask = first != ord("{")
    suspected |= series.str.contains(_NESTED).to_numpy() | series.str.contains(_NO_NUMBER).to_numpy()
    # Commas are everywhere: looked for first is what stands before a closing bracket.
    hinted = np.flatnonzero(series.str.contains_any(_BEFORE_CLOSING).to_numpy())
    if len(hinted):
        suspected[hinted] |= series.gather(hinted).str.contains(_TRAILING).to_numpy()
    return suspected


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
