"""Lines that are no JSON: comma-separated values, columns named by the format (RFC 4180 quoting), and access logs."""

from __future__ import annotations

import csv
import re
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson

from lethe.schemas.declaration.format import Format
from lethe.streams.transform.batch import Reason, Reject
from lethe.streams.transform.decode.combined import read_combined

Rows = npt.NDArray[np.int64]
_TYPE: Final = re.compile(
    r"(?i)(?:small|big)?int(?:eger)?|(?:var)?char(?:\([0-9]+\))?|text|real|float|double|date|time(?:stamp)?|boolean|"
    r"(?:decimal|numeric)(?:\([0-9, ]+\))?|uniqueidentifier"
)


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
    if fmt.encoding == "combined":
        return read_combined(line)
    try:
        between = "," if fmt.separator == " " else fmt.separator
        cells = next(csv.reader([line], delimiter=between, strict=True), [])
    except (
        csv.Error
    ):  # a quote that does not end, or one in the wrong place: where columns end is anybody's guess
        return Reason.WRONG_COLUMNS
    if fmt.headings and _is_heading(cells, fmt.columns):
        return Reason.NO_COMMUNICATION
    if not len(fmt.columns) - fmt.optional_columns <= len(cells) <= len(fmt.columns):
        return Reason.WRONG_COLUMNS
    return dict(zip(fmt.columns, cells, strict=False))


def _is_heading(cells: list[str], columns: tuple[str, ...]) -> bool:
    """Tell whether a line names the columns, or their types in SQL, instead of holding values."""
    if cells and all(_TYPE.fullmatch(cell.strip()) for cell in cells):
        return True
    named = [cell.strip().casefold() for cell in cells]
    return bool(named) and named == [column.casefold() for column in columns[: len(named)]]
