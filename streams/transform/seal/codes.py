"""Stand-ins for codes that may not be shown: the same all month, meaningless once the month's key is gone.

A code (an account, a route, a status) is what the archive is for, so none ends empty: what has not the shape of a key,
or holds one of the row's own subjects, is replaced by `~` and 16 characters made with the month's key.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Mapping
from typing import Final

import polars as pl

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.tokens import message_token, message_tokens
from lethe.streams.transform.split.rules import ID

MARK: Final = "~"
_BYTES: Final = 10  # 80 bits: two codes of a month do not meet by chance
_DOMAIN: Final = "lethe/code/v1"


def stand_ins(
    keys: MonthKeys, column: str, texts: pl.Series, ids: pl.Series, known: pl.Series | None
) -> pl.Series:
    """Add to `known` (by `ID`, as `texts`) the stand-ins of the records of one month, whose ids are given."""
    mine = texts.gather(ids)
    there = mine.is_not_null()
    found = known if known is not None else pl.Series([None], dtype=pl.String).new_from_index(0, len(texts))
    if not there.any():
        return found
    mine, ids = mine.filter(there), ids.filter(there)
    tokens = message_tokens(keys, pl.Series([f"{_DOMAIN} {column} {text.strip()}" for text in mine]))
    words = [_word(token) for token in tokens.to_pylist()]
    return found.scatter(ids, words)


def stand_in(keys: MonthKeys, column: str, text: str) -> str:
    """Return the stand-in that a code has in a column in the month of the keys."""
    return _word(message_token(keys, f"{_DOMAIN} {column} {text.strip()}"))


def _word(token: bytes) -> str:
    return MARK + b32encode(token[:_BYTES]).decode().lower()


def with_stand_ins(
    records: pl.DataFrame, withheld: Mapping[str, pl.Series], shown: Mapping[str, pl.Series]
) -> pl.DataFrame:
    """Put stand-ins where codes were withheld; of records whose month has ended the mark alone."""
    ids = records.get_column(ID)
    columns = []
    for column, texts in withheld.items():
        values = records.get_column(column)
        gone = texts.gather(ids)
        missing = values.is_null() & gone.is_not_null() & (gone.str.strip_chars() != "").fill_null(False)
        words = pl.Series([MARK]).new_from_index(0, len(ids))
        if column in shown:
            words = shown[column].gather(ids).fill_null(MARK)
        columns.append(words.zip_with(missing, values).alias(column))
    return records.with_columns(columns) if columns else records
