"""The guard over columns of numbers: none may be made of the digits of one of the row's own numbers.

A vendor that puts a phone number where a price or a duration belongs writes a number like any other: nothing but the
row's own subjects tells it. A number is known by its end, as in the guard over texts: a value is withheld whose
digits, without the zeros behind the point, have six of the last nine of a subject's among them, one after the other,
or that make up the last seven together with another column's. Most columns have no value of so many digits, which
their few distinct ones tell at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from lethe.streams.transform.split.rules import ID

NUMBERS: Final = {"price": 6, "charge": 6, "duration_ms": 3, "charged_duration_ms": 3, "parts": 0}
"""Columns of numbers, and the decimal places their whole numbers have: a duration is of seconds, or of thousandths."""

_LEAST: Final = {
    "price": 10**5,
    "charge": 10**5,
    "duration_ms": 10**6,
    "charged_duration_ms": 10**6,
    "parts": 10**5,
}
"""What a whole number is at least that is looked at alone: below seven digits of milliseconds are ordinary calls."""

_TOGETHER: Final = ("price", "duration_ms", "parts")  # the others are worked out from these

FOLLOWS: Final = {
    "price": ("charge",),
    "duration_ms": ("charged_duration_ms", "charge"),
    "parts": ("charge",),
}
"""What is worked out from a column, and would tell it again."""

_KNOWN: Final = 9  # digits at the end of a number that are somebody's own
_END: Final = 6  # of them one after the other, by which a number is known in one column
_ENDS: Final = 7  # in two of them together
_PIECE: Final = 4  # digits of a piece that counts
_MONEY: Final = 6  # places
_DIGITS: Final = r"[^0-9]"

_Whole = npt.NDArray[np.int64]


def number_leaks(
    records: pl.DataFrame, subjects: pl.DataFrame, distinct: Mapping[str, pl.Series] = MappingProxyType({})
) -> dict[str, pl.Series]:
    """Find the rows of each column of numbers that are made of the digits of one of their own subjects.

    `records`: `ID` and any of `NUMBERS`. `subjects`: `ID`, `value`; several rows an id. `distinct`: of columns whose
    distinct values are known, all of those. Returns column -> Boolean Series aligned with `records`, without those that
    have no hit; what is worked out from a hit is one too.
    """
    if subjects.is_empty():
        return {}
    forms = [form for name in NUMBERS if (form := _Form.of(records, name, distinct)) is not None]
    alone = [form for form in forms if form.suspect]
    pieces = [form for form in forms if form.name in _TOGETHER and form.most >= 10 ** (_PIECE - 1)]
    pairs = [(one, two) for one, two in permutations(pieces, 2) if one.digits + two.digits > _ENDS]
    if not alone and not pairs:
        return {}
    found: dict[str, set[int]] = {}
    for form in alone:
        ids, values, ends = form.beside(subjects, _LEAST[form.name], 10 ** (_END - 1))
        hit = np.zeros(len(ids), np.bool_)
        for shift in range(form.digits - _END + 1):
            left = values // 10**shift
            run = np.where(left >= 10 ** (_END - 1), left % 10**_END, -1)
            for at in range(_KNOWN - _END + 1):
                hit |= run == ends // 10**at % 10**_END
        found.setdefault(form.name, set()).update(ids[hit].tolist())
    for one, two in pairs:
        ids, first, ends = one.beside(subjects, 10 ** (_PIECE - 1), 10 ** (_PIECE - 1))
        second = two.values(ids)
        size = _size(second)
        joined = (first % 10**_ENDS) * 10 ** np.minimum(size, _ENDS) + second % 10**_ENDS
        hit = (
            (second >= 10 ** (_PIECE - 1))
            & (_size(first) + size > _ENDS)
            & (joined % 10**_ENDS == ends % 10**_ENDS)
        )
        for form in (one, two):
            found.setdefault(form.name, set()).update(ids[hit].tolist())
    return _masks(records, found)


class _Form:
    """The values of a column as whole numbers without zeros behind the point. `most` is no less than the largest."""

    def __init__(self, name: str, records: pl.DataFrame, suspect: bool, most: int) -> None:
        self.name = name
        self.suspect = suspect
        self.most = most
        self.digits = len(str(most))
        self._column = records.get_column(name)
        self._ids = records.get_column(ID)

    @classmethod
    def of(cls, records: pl.DataFrame, name: str, distinct: Mapping[str, pl.Series]) -> _Form | None:
        """Return the column, None where no value has as many digits as count."""
        if name not in records.columns:
            return None
        column = records.get_column(name)
        known = distinct.get(name)
        if known is None and (column.null_count() == len(column) or _most(column) < 10 ** (_PIECE - 1)):
            return None
        least, few = _LEAST[name], known
        if few is None and (NUMBERS[name] == _MONEY and _most(column) >= least):
            few = column.unique()  # many rows, few amounts
        if few is None and (most := _most(column)) < least:
            return cls(name, records, False, most)
        few = column if few is None else few
        whole = _whole(few).drop_nulls().to_numpy()
        suspect = bool((_stripped(whole[whole >= least], NUMBERS[name]) >= 10 ** (_END - 1)).any())
        most = int(_stripped(whole, NUMBERS[name]).max()) if few is not column and len(whole) else _most(few)
        return cls(name, records, suspect, most) if suspect or most >= 10 ** (_PIECE - 1) else None

    def beside(
        self, subjects: pl.DataFrame, least: int, shortest: int
    ) -> tuple[npt.NDArray[np.uint32], _Whole, _Whole]:
        """Return id, value and the end of a number of each pair of a row and a number of its own.

        Of rows whose whole number is at least `least`, and `shortest` without its zeros.
        """
        whole = _whole(self._column).fill_null(0)
        large = whole >= least
        values = _stripped(whole.filter(large).to_numpy(), NUMBERS[self.name])
        rows = pl.DataFrame({ID: self._ids.filter(large), "whole": values}).filter(
            pl.col("whole") >= shortest
        )
        both = rows.join(subjects.select(ID, "value"), on=ID)
        numbers = both.get_column("value").str.replace_all(_DIGITS, "")
        known = (numbers.str.len_bytes() >= _END).fill_null(False)
        ends = numbers.filter(known).str.slice(-_KNOWN).cast(pl.Int64)
        both = both.filter(known)
        return both.get_column(ID).to_numpy(), both.get_column("whole").to_numpy(), ends.to_numpy()

    def values(self, ids: npt.NDArray[np.uint32]) -> _Whole:
        """Return the values of rows by id."""
        wanted = pl.DataFrame({ID: pl.Series(ids, dtype=pl.UInt32)})
        all_of_them = pl.DataFrame({ID: self._ids, "value": _whole(self._column).fill_null(0)})
        found = (
            wanted.join(all_of_them, on=ID, how="left", maintain_order="left").get_column("value").to_numpy()
        )
        return _stripped(found, NUMBERS[self.name])


def _whole(column: pl.Series) -> pl.Series:
    return column.to_physical().cast(pl.Int64).abs()


def _most(column: pl.Series) -> int:
    """Return the largest whole number, whatever its sign."""
    raw = column.to_physical()
    return max(abs(int(raw.max() or 0)), abs(int(raw.min() or 0)))  # type: ignore[arg-type]


def _stripped(values: _Whole, places: int) -> _Whole:
    """Take away zeros, at most so many: those behind the point."""
    for _ in range(places):
        shorter, rest = np.divmod(values, 10)
        values = np.where(rest == 0, shorter, values)
    return values


def _size(values: _Whole) -> _Whole:
    """Count the decimal digits of numbers below 10^18."""
    return np.searchsorted(10 ** np.arange(18, dtype=np.int64), values, "right").astype(np.int64)


def _masks(records: pl.DataFrame, found: Mapping[str, set[int]]) -> dict[str, pl.Series]:
    everywhere: dict[str, set[int]] = {}
    for name, ids in found.items():
        for also in (name, *FOLLOWS.get(name, ())):
            if ids and also in records.columns:
                everywhere.setdefault(also, set()).update(ids)
    here = records.get_column(ID)
    masks = {
        name: here.is_in(list(ids)) & records.get_column(name).is_not_null()
        for name, ids in everywhere.items()
    }
    return {name: mask for name, mask in masks.items() if mask.any()}
