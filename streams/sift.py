"""Find the values at fault in a batch the parser refused, at a fraction of what parsing them costs.

The parser says only that something is wrong, not where. A validator looks at every value (half a microsecond each);
what it suspects, and only that, is looked at exactly.
"""

from __future__ import annotations

import re
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

# What the validator lets pass and the parser does not: numbers that are none, and commas before a closing bracket.
_LENIENT: Final = r"[:,\[]\s*[+-]?(?:NaN|nan|Inf|inf|[.0-9]+[eE])|,\s*[}\]]"
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_local = threading.local()


def sound_syntax(values: list[bytes], fmt: Format) -> Mask:
    """Which values are JSON the parser will take, as far as syntax goes."""
    texts, sound = _texts(values)
    table = pa.table({"v": texts})
    valid = _connection().from_arrow(table).project("coalesce(json_valid(v), false) AS ok").to_arrow_table()
    suspected = ~valid.column("ok").to_numpy()
    frame = pl.Series(texts)
    suspected |= frame.str.contains(_LENIENT).fill_null(True).to_numpy()
    return _exactly(values, sound, suspected, fmt)


def sound_shape(values: list[bytes], fmt: Format) -> Mask:
    """Which values have objects and lists where the declaration has them."""
    texts, sound = _texts(values)
    paths = ["$"]
    shape = tree(fmt)
    exact = False
    for name, below in shape.items():
        exact = exact or not _PLAIN_KEY.fullmatch(name.removesuffix("[]"))
        if below is None and not name.endswith("[]"):
            continue
        paths.append(f'$."{name}"')
        exact = exact or name.endswith("[]") or any(inner is not None for inner in below.values())
    if exact:
        return _exactly(values, sound, np.ones(len(values), np.bool_), fmt)
    if fmt.envelope:
        paths.append(f'$."{fmt.envelope}"')
    kinds = ", ".join(f"json_type(v, '{path}')" for path in paths)
    wrong = f"list_any_value(list_filter([{kinds}], lambda t: t NOT IN ('OBJECT', 'NULL'))) IS NOT NULL"
    found = (
        _connection().from_arrow(pa.table({"v": texts}))
        .project(f"CASE WHEN json_valid(v) THEN {wrong} ELSE true END AS bad").to_arrow_table()
    )  # fmt: skip
    return _exactly(values, sound, found.column("bad").to_numpy(), fmt)


def _exactly(values: list[bytes], sound: Mask, suspected: Mask, fmt: Format) -> Mask:
    for at in np.flatnonzero(sound & suspected).tolist():
        sound[at] = is_sound(values[at], fmt)
    return sound


def _texts(values: list[bytes]) -> tuple[pa.Array, Mask]:
    """The values as an Arrow column of texts (null where one is not UTF-8), and which they are."""
    raw = pa.array(values, pa.binary())
    try:
        return raw.cast(pa.string()), np.ones(len(values), np.bool_)
    except pa.ArrowInvalid:
        known = [_is_text(value) for value in values]
        return pa.array([v if k else None for v, k in zip(values, known, strict=True)], pa.string()), np.array(known)


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
        found = duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": False})
        _local.connection = found
    return found
