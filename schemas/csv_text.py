"""CSV (RFC 4180) for spreadsheets: no cell of it is taken for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that a spreadsheet takes for a formula, or leaves out before one."""


def csv_of(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Write rows as CSV with a heading, in the order of the columns; what a row lacks is an empty cell."""
    return b"".join(csv_lines(columns, rows))


def csv_lines(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield the lines of a CSV, heading first, one row at a time."""
    names, out = list(columns), io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    yield _taken(out)
    for row in rows:
        writer.writerow(cell(row.get(name)) for name in names)
        yield _taken(out)


def cell(value: Any) -> str:
    """Write a value as a cell: text that a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float | Decimal):
        return str(value)
    text = value.hex() if isinstance(value, bytes) else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _taken(out: io.StringIO) -> bytes:
    text = out.getvalue()
    out.seek(0)
    out.truncate()
    return text.encode()
