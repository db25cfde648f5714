"""Conditions of a declaration, over the text columns of a batch."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_

import polars as pl

from lethe.schemas.declaration.fields import Condition


def holds(frame: pl.DataFrame, condition: Condition, doubt: bool) -> pl.Series:
    """Return where a condition holds, as a Boolean column; `doubt` is the answer where a field it looks at is empty."""
    return frame.select(_holds(condition).fill_null(doubt).alias("holds")).to_series()


def _holds(condition: Condition) -> pl.Expr:
    if condition.any is not None:
        return reduce(or_, map(_holds, condition.any))
    if condition.all is not None:
        return reduce(and_, map(_holds, condition.all))
    text = pl.col(condition.field or "").str.strip_chars()
    if condition.present is not None:
        there = (text != "").fill_null(False)
        return there if condition.present else ~there
    # A word that is neither here nor there must not make a person a business: an empty text is no word at all.
    if condition.matches is not None:
        return pl.when(text != "").then(text.str.contains(condition.matches))
    words = [w.strip().lower() for w in condition.is_ or condition.is_not or ()]
    among = pl.when(text != "").then(text.str.to_lowercase().is_in(words))
    return among if condition.is_ is not None else ~among
