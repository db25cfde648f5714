"""Find the values at fault in a batch the parser refused, at a fraction of what parsing them costs.

The parser says only that something is wrong, not where. A validator looks at every value (half a microsecond each);
what it suspects, and only that, is looked at exactly.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.format import Format
from streams.diagnose import is_sound, tree

Mask = npt.NDArray[np.bool_]

# What the validator lets pass and the parser does not: numbers that are none, commas before a closing bracket, and
# nesting beyond any measure, which shows in its closing brackets. Rarer spellings are left to be closed in on.
_LENIENT: Final = ("NaN", "Inf", ",}", ",]")
_NESTED: Final = r"[}\]]{12}"
_local = threading.local()


def sound_syntax(values: list[bytes], joined: bytes, fmt: Format) -> Mask:
    """Which values are JSON the parser will take, as far as syntax goes. `joined`: the values, joined by newlines."""
    texts = _texts(values, joined)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:  # not UTF-8
        known = np.array([_is_text(value) for value in values], np.bool_)
        readable = [v for v, k in zip(values, known, strict=True) if k]
        known[known] = sound_syntax(readable, b"\n".join(readable), fmt)
        return known
    if not values:
        return np.ones(0, np.bool_)
    table = pa.table({"v": texts})
    valid = _connection().from_arrow(table).project("coalesce(json_valid(v), false) AS ok").to_arrow_table()
    suspected = ~valid.column("ok").to_numpy()
    series = pl.Series(texts)
    suspected |= series.str.contains(_NESTED).to_numpy()
    for written in _LENIENT:
        suspected |= series.str.contains(written, literal=True).to_numpy()
    sound = np.ones(len(values), np.bool_)
    for at in np.flatnonzero(suspected).tolist():
        sound[at] = is_sound(values[at], fmt)
    return sound


def misread(frame: pl.DataFrame, values: list[bytes], joined: bytes, fmt: Format) -> Mask:
    """Rows of a leniently parsed frame that were read as if something was not there, because it had the wrong shape."""
    suspected = frame.select(_maybe_misread(fmt).fill_null(True).alias("s")).to_series().to_numpy()
    listed = [name.removesuffix("[]") for name in tree(fmt) if name.endswith("[]")]
    texts = pl.Series(_texts(values, joined))
    for name in [*listed, *([fmt.envelope] if fmt.envelope else [])]:
        written = texts.str.contains(f'"{name}"', literal=True) | texts.str.contains("\\u00", literal=True)
        suspected |= (frame.get_column(name).is_null() & written).to_numpy()
    wrong = np.zeros(len(values), np.bool_)
    for at in np.flatnonzero(suspected).tolist():
        wrong[at] = not is_sound(values[at], fmt)
    return wrong


def _maybe_misread(fmt: Format) -> pl.Expr:
    """Objects that are missing, and records in which everything is: the parser leaves out what it cannot read."""
    whole = pl.all_horizontal(pl.all().exclude("_row").is_null())
    within = [
        _holes(pl.col(name), below)
        for name, below in tree(fmt).items()
        if below is not None and "[]" not in name
    ]
    alone = pl.any_horizontal(whole, *within)
    lists = [
        pl.col(name.removesuffix("[]")).list.eval(pl.element().is_null()).list.any()
        for name in tree(fmt)
        if name.endswith("[]")
    ]
    if lists:
        alone = alone | pl.any_horizontal(lists).fill_null(False)
    if not fmt.envelope:
        return alone
    return pl.when(pl.col(fmt.envelope).is_null()).then(alone).otherwise(pl.lit(True))


def _holes(struct: pl.Expr, below: dict[str, Any]) -> pl.Expr:
    inner = [
        _holes(struct.struct.field(name), deeper) for name, deeper in below.items() if deeper is not None
    ]
    return pl.any_horizontal(struct.is_null(), *inner)


def _texts(values: list[bytes], joined: bytes) -> pa.Array:
    """The values as an Arrow column of texts, each with the newline behind it, over the same bytes."""
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, values), np.int64, len(values)) + 1, out=ends[1:])
    if len(values):
        ends[-1] = len(joined)
    return pa.Array.from_buffers(
        pa.large_string(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(joined)]
    )


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _connection() -> Any:
    """An empty database of this thread's own: nothing is ever stored in it."""
    found = getattr(_local, "connection", None)
    if found is None:
        found = duckdb.connect(":memory:", config={"threads": 2, "enable_external_access": False})
        _local.connection = found
    return found
