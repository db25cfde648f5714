"""Frames by the column: what Polars would hand to its pool is done here and now.

A frame's own `select`, `filter` and `to_arrow` are queries. For a small batch each costs more than its values, and
where all cores are busy the caller waits for the pool's thread to have its turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa


def rows_at(frame: pl.DataFrame, at: npt.NDArray[Any]) -> pl.DataFrame:
    """Take the rows of a frame at these places, in this order."""
    return pl.DataFrame([column[at] for column in frame.get_columns()])


def to_arrow(frame: pl.DataFrame, names: Iterable[str]) -> dict[str, pa.Array]:
    """Return columns of a frame as Arrow arrays, by name."""
    return {name: frame.get_column(name).to_arrow() for name in names}


def first_bytes(text: pl.Series) -> npt.NDArray[np.uint8]:
    """Return the first byte of each text; 0 of an empty one, anything of null."""
    # A view has four bytes of length, then the text or its beginning.
    array: Any = text.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
    views: npt.NDArray[np.uint8] = np.frombuffer(
        array.buffers()[1], np.uint8, 16 * len(array), 16 * array.offset
    )
    return views.reshape(-1, 16)[:, 4]
