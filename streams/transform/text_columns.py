"""Texts: columns of text go through compiled code (native/columns.c) where there is any: half a microsecond a record.

Without a C compiler at installation there is none; then, and for what it does not take, Polars does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import polars as pl
import pyarrow as pa

from lethe.schemas.compiled import native
from lethe.streams.transform.decode.json_columns import series

_code: Final = native()


def iso_times(text: pl.Series) -> pl.Series | None:
    """Read text as Datetime(us, UTC), null where it is not spelt as `YYYY-MM-DDTHH:MM:SS.mmm±ZZZZ`. None: not done."""
    column = None if _code is None else _described(text, b"")
    if column is None:
        return None
    micros, valid = _code.times(column, len(text))
    buffers = [pa.py_buffer(valid), pa.py_buffer(micros)]
    return series(pa.Array.from_buffers(pa.timestamp("us", "UTC"), len(text), buffers)).alias(text.name)


def objects(
    columns: Sequence[tuple[bytes, pl.Series]], given: list[bytes | None]
) -> tuple[pa.BinaryArray, bytes | None] | None:
    """Write one JSON object a row: of the texts that are not null, or what is `given` for it, n; null for neither.

    `columns`: each member's name as JSON with its colon, and its texts, n. With the array come, where there are any,
    rows that need escapes as n bytes, 1 for each: what stands there is wrong. None: not done.
    """
    if _code is None or len(columns) > _code.MOST_COLUMNS:
        return None
    described = [_described(texts, name) for name, texts in columns]
    if None in described:
        return None
    try:
        ends, data, valid, odd = _code.objects(described, given)
    except OverflowError:
        return None
    buffers = [pa.py_buffer(valid), pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(given), buffers), odd


def _described(texts: pl.Series, name: bytes) -> Any:
    array: Any = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
    if not pa.types.is_string_view(array.type):
        return None
    valid, views, *data = array.buffers()
    if len(data) > _code.MOST_BUFFERS:
        return None
    return name, valid, array.offset, views.slice(16 * array.offset), data
