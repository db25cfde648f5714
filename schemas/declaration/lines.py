"""Patterns that cut a line of a log into named parts: what they may be, and the one way in which they are applied.

They are applied by an engine whose time is linear in the line (Rust's regex, through Polars): it neither looks around
nor refers back, so no line that somebody sends can keep it busy. A pattern fits the whole line or does not fit.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Final

from pydantic import StringConstraints

LinePattern = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
MOST_PATTERNS: Final = 20
_NUMBERED: Final = re.compile(r"[0-9]+")


def anchored(pattern: str) -> str:
    """Return a pattern that fits whole lines alone; its first group, named `1`, is the line that fits."""
    return rf"\A((?:{pattern}))\z"


@lru_cache(maxsize=256)
def groups(pattern: str) -> frozenset[str]:
    """Return the names of a pattern's groups; raises `ValueError` saying why it is none that can be applied."""
    import polars as pl  # here: a look-up reads no declaration and starts without it

    try:
        for one in (pattern, anchored(pattern)):  # alone: one that ends a group it has not begun is none
            named = pl.Series([""], dtype=pl.String).str.extract_groups(one).struct.fields
    except pl.exceptions.PolarsError as error:
        if "size limit" in str(error):
            raise ValueError("it repeats too much: use fewer or smaller counts in braces") from None
        if "duplicate" in str(error):
            raise ValueError("it has two groups of one name") from None
        raise ValueError("it is no regular expression, or it looks around or refers back") from None
    return frozenset(name for name in named if not _NUMBERED.fullmatch(name))


def check_lines(lines: tuple[str, ...], skip_lines: tuple[str, ...], paths: set[str]) -> None:
    """Check the patterns of a format against its fields; raises `ValueError` naming the pattern or the field."""
    found: set[str] = set()
    for key, patterns in (("lines", lines), ("skip_lines", skip_lines)):
        for number, pattern in enumerate(patterns, 1):
            try:
                named = groups(pattern)
            except ValueError as error:
                raise ValueError(f"{key}: pattern {number}: {error}") from None
            if key == "lines" and not named:
                raise ValueError(f"{key}: pattern {number}: it names nothing; a part is (?P<name>…)")
            found |= named if key == "lines" else frozenset()
    missing = sorted(paths - found)
    if missing:
        raise ValueError(f"{missing[0]}: no pattern in `lines` has a group of this name, (?P<{missing[0]}>…)")
