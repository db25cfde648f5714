"""Comma-separated values: one line is one record, its columns named by the format (RFC 4180 quoting)."""

from __future__ import annotations

import csv

import numpy as np
import numpy.typing as npt
import orjson

from lethe.schemas.declaration.format import Format
from lethe.streams.transform.batch import Reason, Reject

Rows = npt.NDArray[np.int64]


def to_json(values: list[bytes], rows: Rows, fmt: Format, rejects: list[Reject]) -> tuple[list[bytes], Rows]:
    """Turn lines into JSON objects of texts, with their rows; lines that do not fit are appended to the rejects."""
    found: list[bytes] = []
    kept: list[int] = []
    for value, row in zip(values, rows.tolist(), strict=True):
        record = read_line(value, fmt)
        if isinstance(record, str):
            rejects.append(Reject(row, None, record))
        else:
            found.append(orjson.dumps(record))
            kept.append(row)
    return found, np.array(kept, dtype=np.int64)


def read_line(value: bytes, fmt: Format) -> dict[str, str] | str:
    """Read one line by column name; return the reason as a text where it cannot be read."""
    try:
        line = value.decode("utf-8").rstrip("\r")
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    try:
        cells = next(csv.reader([line], strict=True), [])
    except (
        csv.Error
    ):  # a quote that does not end, or one in the wrong place: where columns end is anybody's guess
        return Reason.WRONG_COLUMNS
    if not len(fmt.columns) - fmt.optional_columns <= len(cells) <= len(fmt.columns):
        return Reason.WRONG_COLUMNS
    return dict(zip(fmt.columns, cells, strict=False))
