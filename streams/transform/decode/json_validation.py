"""Find the values of a batch that are no JSON, at a fraction of what parsing costs.

The reader of columns (`lethe.streams.transform.decode.json_columns`) is more lenient than the standard (RFC 8259): it
takes commas before a closing
bracket, NaN and infinities, and any depth. What might be one of these is searched for by the column, and only that is
looked at exactly. So whether a value is taken depends on the value alone, never on its neighbours.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from lethe.streams.transform.decode.diagnose import is_json
from lethe.streams.transform.decode.json_columns import Mask, joined, valid

_BEFORE_CLOSING: Final = [f"{mark}{bracket}" for mark in ", \t\r" for bracket in "}]"]
_TRAILING: Final = r",[ \t\r]*[}\]]"
_NO_NUMBER: Final = r"(?i)[:,\[][ \t\r]*-?(?:nan|inf)"
_NESTED: Final = r"[}\]]{12}"  # nesting beyond any measure shows in its closing brackets


def readable(values: list[bytes], texts: pa.LargeStringArray, thorough: bool = False) -> Mask:
    """Return which values are JSON objects that can be read by the column. `texts`: the same values as a column.

    Without `thorough` values that no reader takes count as readable: they are noticed when they are read.
    """
    if not values:
        return np.ones(0, np.bool_)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        utf8 = np.fromiter(map(_is_utf8, values), np.bool_, len(values))
        utf8[utf8] = readable(*_those(values, utf8), thorough)
        return utf8
    sound = ~_suspected(texts)
    for at in np.flatnonzero(~sound).tolist():
        sound[at] = is_json(values[at])
    if thorough:
        sound &= valid(texts)
    return sound


def _suspected(texts: pa.LargeStringArray) -> Mask:
    """Return which values the reader might take though they are no JSON objects."""
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


def _those(values: list[bytes], which: Mask) -> tuple[list[bytes], pa.LargeStringArray]:
    some = [values[at] for at in np.flatnonzero(which).tolist()]
    return some, joined(some)[0]


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
