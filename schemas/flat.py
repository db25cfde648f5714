"""Columns of text in Arrow's plainest layout: where each one ends, and all bytes one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:  # a look-up of one person starts without it
    import polars as pl


def large(text: pl.Series) -> Any:
    """Return a String column as a `pa.LargeStringArray`, copied."""
    from polars import CompatLevel

    return text.rechunk().to_arrow(compat_level=CompatLevel.oldest())


def ends_of(array: pa.LargeStringArray) -> npt.NDArray[np.int64]:
    """Return where each text begins in the data of the array, and where the last one ends: int64, one more than
    texts.
    """
    found: npt.NDArray[np.int64] = np.frombuffer(array.buffers()[1], np.int64)
    return found[array.offset : array.offset + len(array) + 1]


def bytes_of(array: pa.LargeStringArray) -> npt.NDArray[np.uint8]:
    """Return the bytes of all texts, one after the other; those of nulls may be among them."""
    ends, data = ends_of(array), array.buffers()[2]
    found: npt.NDArray[np.uint8] = np.frombuffer(data or b"", np.uint8)
    return found[ends[0] : ends[-1]]
