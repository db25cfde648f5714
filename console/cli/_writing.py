"""Values as text, table, paragraphs, CSV or JSON; nothing in them steers a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import orjson
import typer


def _plain(cell: Any) -> str:
    return str(cell) if hasattr(cell, "spans") else text_of(cell)


def fits(columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> bool:
    """Tell whether a table has room for the longest word of each column."""
    longest = [max(map(len, name.split()), default=0) for name in columns]
    for row in rows:
        for at, cell in enumerate(row):
            longest[at] = max(longest[at], *map(len, _plain(cell).split()), 0)
    return sum(longest) + 3 * len(columns) + 1 <= width


def paragraphs(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> list[str]:
    """Return the lines of a table's rows as paragraphs of at most `width` characters, of what is not empty or 0."""
    lines = textwrap.wrap(title, width)
    for row in rows:
        first, *rest = (_plain(cell) for cell in row)
        lines.append(first)
        # What belongs together is not parted: a name and its value, the words of a short one.
        said = "   ".join(
            f"{name} {text}".replace(" ", "\u00a0") if len(text) < 25 else f"{name}\u00a0{text}"
            for name, text in zip(columns[1:], rest, strict=True)
            if text not in ("", "0")
        )
        wrapped = textwrap.wrap(
            said, width - 2, break_long_words=False, break_on_hyphens=False, fix_sentence_endings=False
        )
        lines += (f"  {line.strip(' ')}".replace("\u00a0", " ") for line in wrapped)
    return lines


def as_csv(value: Any) -> str:
    """Write a list of rows as CSV, its columns those that some row has; wrong usage for what is no list."""
    from lethe.schemas.csv_text import csv_of

    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise typer.BadParameter("--csv is for lists; this command answers something else: --json")
    columns = list(dict.fromkeys(name for row in value for name in row))
    return csv_of(columns, ({n: _flat(v) for n, v in row.items()} for row in value)).decode()


def _flat(value: Any) -> Any:
    """Write what holds several values as JSON: a cell holds one."""
    return orjson.dumps(value, default=jsonable).decode() if isinstance(value, dict | list) else value


def jsonable(value: Any) -> Any:
    """Return what JSON has no word for as something that it has one for."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


_CONTROL: Final = {c: f"\\x{c:02x}" for c in (*range(9), *range(11, 32), *range(127, 160))}
_CONTROL.update({c: f"\\u{c:04x}" for c in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))})


def escaped(text: str) -> str:
    """Write control characters and marks of direction as escapes: a value must not steer the terminal."""
    return text.translate(_CONTROL)


def text_of(cell: Any) -> str:
    """Write a value as the text of a cell: numbers with separators, times in UTC, nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return escaped(str(cell))
