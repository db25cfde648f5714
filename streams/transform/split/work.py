"""What a split works on: the decoded frame and, aligned with it row by row, everything found out so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import polars as pl

from lethe.schemas.retention.policy import RetentionPolicy
from lethe.streams.transform.decode.json_columns import Coded

ID: Final = " id"  # no declared path has a space in it


@dataclass(frozen=True, slots=True)
class Rules:
    """What the split goes by besides the declaration."""

    retention: RetentionPolicy
    scope: str | tuple[str, ...]  # "all", "none" or countries
    future: timedelta


@dataclass(slots=True)
class Work:
    """State of one split: columns and masks as long as `frame`, whose rows `ID` numbers."""

    frame: pl.DataFrame
    coded: Mapping[str, Coded] = field(
        default_factory=dict
    )  # columns of `frame` as tables of distinct values
    columns: dict[str, pl.Series] = field(default_factory=dict)  # of the archive
    words: dict[str, pl.Series] = field(
        default_factory=dict
    )  # columns of the archive whose distinct values are known: those, and perhaps more
    withheld: dict[str, tuple[tuple[str, ...], pl.Series]] = field(
        default_factory=dict
    )  # path -> columns, rows
    refused: list[tuple[pl.Series, str, str | None]] = field(default_factory=list)  # rows, reason, detail
    subjects: list[pl.DataFrame] = field(default_factory=list)  # `ID`, `role`, `kind`, `value`
    spelt: dict[str, pl.Series] = field(
        default_factory=dict
    )  # path -> text where the value lost its spelling

    def put(self, name: str, values: pl.Series, words: pl.Series | None = None) -> None:
        """Fill a column; a later field fills only what an earlier one left empty. `words`: the distinct values."""
        known = self.columns.get(name)
        if words is not None and known is None:
            self.words[name] = words
        else:
            self.words.pop(name, None)
        self.columns[name] = values if known is None else known.zip_with(known.is_not_null(), values)

    def keep(self, path: str, text: pl.Series) -> None:
        """Keep text in the window under a path, where nothing is kept yet."""
        known = self.spelt.get(path)
        self.spelt[path] = text if known is None else known.zip_with(known.is_not_null(), text)

    def refuse(self, rows: pl.Series, reason: str, detail: str | None = None) -> None:
        """Refuse rows; a row's first reason is the one that counts."""
        if rows.any():
            self.refused.append((rows.fill_null(False), reason, detail))

    def everywhere(self, name: str, value: object) -> pl.Series:
        """A column with one value."""
        return pl.Series(name, [value]).new_from_index(0, self.frame.height)


def no_subjects() -> pl.DataFrame:
    """Subjects of nobody."""
    return pl.DataFrame(schema={ID: pl.UInt32, "role": pl.String, "kind": pl.String, "value": pl.String})
