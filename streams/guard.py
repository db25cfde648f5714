"""The leak guard: no column of an archive row may hold one of the row's own subjects, in any usual spelling.

Declarations and code patterns keep free text out; the guard is the second lock. Columns have few distinct values, so
what a value could hide (its digits, its plain text) is worked out once per distinct value, and rows are compared only
where there is something to compare.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote

import polars as pl

GUARDED: Final = ("account", "application", "sender", "recipient", "network", "route", "status", "error")
_DIGITS_COMPARED: Final = 8
_MIN_DIGITS: Final = 6
_MIN_TEXT: Final = 4


def plain(text: str) -> str:
    """The text as a searcher would read it: percent-decoded, compatibility-folded, lower case."""
    return unicodedata.normalize("NFKC", unquote(text)).casefold()


def digits(text: str) -> str:
    """The decimal digits of the plain text, in ASCII, punctuation left out."""
    return "".join(str(unicodedata.digit(c)) for c in plain(text) if c.isdecimal())


def needles(kind: str, value: str) -> tuple[str | None, str | None]:
    """What to look for, given a subject: (run of digits, text); either may be None."""
    if kind == "msisdn":
        return value[-_DIGITS_COMPARED:], None
    number = re.sub(r"\D", "", value)
    run = number[-_DIGITS_COMPARED:] if len(number) >= _DIGITS_COMPARED else None
    text = value.casefold()
    if kind in ("email", "sip"):
        text = text.split("@")[0]
    elif kind == "chat":
        text = text.split(":", 1)[-1]
    return run, text if len(text) >= _MIN_TEXT else None


def leaks(records: pl.DataFrame, subjects: pl.DataFrame) -> dict[str, pl.Series]:
    """Rows of each guarded column that hold one of their own subjects.

    `records`: `_id` and any of `GUARDED` (String). `subjects`: `_id`, `kind`, `value`; several rows an id.
    Returns column -> Boolean Series aligned with `records`; columns without a hit are left out.
    """
    hits: dict[str, pl.Series] = {}
    if records.is_empty() or subjects.is_empty():
        return hits
    for column in GUARDED:
        if column not in records.columns or records.get_column(column).null_count() == records.height:
            continue
        suspects = _suspects(records.get_column(column), subjects)
        if suspects is None:
            continue
        found = _compare(records.select("_id", pl.col(column).alias("text")), suspects, subjects)
        if not found.is_empty():
            hits[column] = records.get_column("_id").is_in(found.implode())
    return hits


def _suspects(values: pl.Series, subjects: pl.DataFrame) -> pl.DataFrame | None:
    """Distinct values that could hold a subject of the kinds there are, with their digits and plain text."""
    distinct = values.unique().drop_nulls()
    texts = not (subjects.get_column("kind") == "msisdn").all()
    table = pl.DataFrame(
        {
            "text": distinct,
            "digits": pl.Series([digits(t) for t in distinct], dtype=pl.String),
            "plain": pl.Series([plain(t) for t in distinct], dtype=pl.String),
        }
    )
    wanted = pl.col("digits").str.len_bytes() >= _MIN_DIGITS
    if texts:
        wanted = wanted | (pl.col("plain").str.len_chars() >= _MIN_TEXT)
    table = table.filter(wanted)
    return None if table.is_empty() else table


def _compare(records: pl.DataFrame, suspects: pl.DataFrame, subjects: pl.DataFrame) -> pl.Series:
    pairs = records.join(suspects, on="text").join(subjects.select("_id", "kind", "value"), on="_id")
    if pairs.is_empty():
        return pairs.get_column("_id")
    distinct = pairs.select("kind", "value").unique()
    looked_for = [needles(kind, value) for kind, value in distinct.rows()]
    pairs = pairs.join(
        distinct.with_columns(
            run=pl.Series([n[0] for n in looked_for], dtype=pl.String),
            word=pl.Series([n[1] for n in looked_for], dtype=pl.String),
        ),
        on=["kind", "value"],
    )
    hit = (
        pl.col("digits").str.contains(pl.col("run"), literal=True).fill_null(False)
        | pl.col("plain").str.contains(pl.col("word"), literal=True).fill_null(False)
    )  # fmt: skip
    return pairs.filter(hit).get_column("_id").unique()
