"""What the steps of a split collect, aligned with the rows of the decoded frame: columns, rejections, kept text."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from lethe.streams.transform.split.rules import ID


@dataclass(slots=True)
class ArchiveColumns:
    """Columns of the archive, `height` values each. `distinct`: of some columns all values they hold, perhaps more."""

    height: int
    values: dict[str, pl.Series] = field(default_factory=dict)
    distinct: dict[str, pl.Series] = field(default_factory=dict)

    def put(self, name: str, values: pl.Series, distinct: pl.Series | None = None) -> None:
        """Fill a column; a later field fills only what an earlier one left empty."""
        known = self.values.get(name)
        if distinct is not None and known is None:
            self.distinct[name] = distinct
        else:
            self.distinct.pop(name, None)
        self.values[name] = values if known is None else known.zip_with(known.is_not_null(), values)


@dataclass(slots=True)
class Rejections:
    """Rows that are rejected, with a reason and a detail; the first one found for a row is the one that counts."""

    found: list[tuple[pl.Series, str, str | None]] = field(default_factory=list)

    def add(self, rows: pl.Series, reason: str, detail: str | None = None) -> None:
        """Reject the rows where a Boolean column is true."""
        if rows.any():
            self.found.append((rows.fill_null(False), reason, detail))

    def first(self) -> tuple[dict[int, tuple[str, str | None]], pl.Series | None]:
        """Return (reason, detail) by row, and all rejected rows as a column; None where there are none."""
        by_row: dict[int, tuple[str, str | None]] = {}
        anywhere: pl.Series | None = None
        for rows, reason, detail in self.found:
            for at in rows.arg_true():
                by_row.setdefault(at, (reason, detail))
            anywhere = rows if anywhere is None else anywhere | rows
        return by_row, anywhere


@dataclass(slots=True)
class KeptTexts:
    """Text the window keeps besides its own fields.

    `by_path`: what was written where a value has lost its spelling. `withheld`: by path and column of the archive the
    rows in which the value was taken out of that column.
    """

    by_path: dict[str, pl.Series] = field(default_factory=dict)
    withheld: dict[tuple[str, str], pl.Series] = field(default_factory=dict)

    def keep(self, path: str, text: pl.Series) -> None:
        """Keep text under a path, where nothing is kept yet."""
        known = self.by_path.get(path)
        self.by_path[path] = text if known is None else known.zip_with(known.is_not_null(), text)


def constant(name: str, value: object, height: int) -> pl.Series:
    """Return a column that holds one value."""
    return pl.Series(name, [value]).new_from_index(0, height)


def no_subjects() -> pl.DataFrame:
    """Return the subjects of nobody: no rows."""
    return pl.DataFrame(schema={ID: pl.UInt32, "role": pl.String, "kind": pl.String, "value": pl.String})
