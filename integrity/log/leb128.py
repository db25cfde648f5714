"""Whole numbers as LEB128, a column of them at a time: how leaf files write positions and months."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lethe.schemas.errors import IntegrityError

Numbers = npt.NDArray[np.int64] | npt.NDArray[np.uint64]

Column = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]
"""Bytes of a column, one row a number, and which of them are there."""


def as_bytes(values: Numbers) -> Column:
    """Write numbers from 0, at least one: groups of seven bits, lowest first, the eighth bit set but in the last."""
    width = max(1, -(-int(values.max()).bit_length() // 7))
    rest = values[:, None] >> np.arange(0, 7 * width, 7, dtype=values.dtype)
    data = (rest & 127).astype(np.uint8) | np.where(rest > 127, np.uint8(128), np.uint8(0))
    there = rest > 0
    there[:, 0] = True
    return data, there


def join(columns: Sequence[Column]) -> bytes:
    """Return the columns as bytes, row by row."""
    data, there = (np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True))
    joined: bytes = data[there].tobytes()
    return joined


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, below 2 ** 70, and where it ends; raises `IntegrityError` for none."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IntegrityError("leaf file: it is cut short")
