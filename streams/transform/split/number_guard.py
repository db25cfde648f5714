"""The guard over columns of numbers: none may be made of the digits of one of the row's own numbers.

A vendor that puts a phone number where a price or a duration belongs writes a number like any other: nothing but the
row's own subjects tells it. A number is known by its end, as in the guard over texts: a value is withheld whose
digits, without the zeros behind the point, have six of the last nine of a subject's among them, one after the other,
or that make up the last seven together with one or two other columns', in any order. Most columns have no value of so
many digits, which their few distinct ones tell at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, combinations, pairwise, permutations
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from lethe.streams.transform.split.rules import ID

NUMBERS: Final = {"price": 6, "charge": 6, "duration_ms": 3, "charged_duration_ms": 3, "parts": 0}
"""Columns of numbers, and the decimal places their whole numbers have: a duration is of seconds, or of thousandths."""

_LEAST: Final = 10**5
"""What a whole number is at least that is looked at alone. Calls of so many milliseconds are common, but of all of them
one in a hundred thousand has the digits of a number of its own."""

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
_PIECE: Final = 3  # digits of a piece that counts, of two; of three each has one at least
_SPARSE: Final = 5  # digits of all three: the others may be zeros in front of a piece
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
    pieces = [form for form in forms if form.name in _TOGETHER]
    sets = [
        chosen
        for count in (2, 3)
        for chosen in combinations(pieces, count)
        if sum(form.digits for form in chosen) >= (_ENDS, _SPARSE)[count == len(_TOGETHER)]
    ]
    if not alone and not sets:
        return {}
    found: dict[str, set[int]] = {}
    for form in alone:
        ids, values, ends = form.beside(subjects, _LEAST, 10 ** (_END - 1))
        hit = np.zeros(len(ids), np.bool_)
        for shift in range(form.digits - _END + 1):
            left = values // 10**shift
            run = np.where(left >= 10 ** (_END - 1), left % 10**_END, -1)
            for at in range(_KNOWN - _END + 1):
                hit |= run == ends // 10**at % 10**_END
        found.setdefault(form.name, set()).update(ids[hit].tolist())
    for chosen in sets:
        made = _made_together(chosen, subjects)
        for form in chosen:
            found.setdefault(form.name, set()).update(made)
    return _masks(records, found)


def _made_together(forms: Sequence[_Form], subjects: pl.DataFrame) -> set[int]:
    """Return the ids of rows in which two or three columns make up the last seven digits of a number of their own.

    The digits are cut into as many pieces, each is a column's value, the first one the end of it. Pieces may begin with
    zeros, which a value does not have; values are read in each of the ways in which they may have been written.
    """
    whole = [_whole(form.column).fill_null(0).to_numpy() for form in forms]
    plain = [_stripped(values, NUMBERS[form.name]) for form, values in zip(forms, whole, strict=True)]
    sizes = [_size(values) for values in plain]
    three = len(forms) == len(_TOGETHER)
    large = np.sum(sizes, axis=0) >= (_SPARSE if three else _ENDS)
    for size in sizes:
        large &= size >= (1 if three else _PIECE)
    if not large.any():
        return set()
    at = np.flatnonzero(large)
    rows, ids, ends = _ends(pl.Series(at), forms[0].ids.gather(at), subjects)
    tails = ends % 10**_ENDS

    def readings_of(rows: _Whole) -> list[list[_Whole]]:
        beside = zip(forms, whole, plain, strict=True)
        return [_readings(values[rows], short[rows], NUMBERS[form.name]) for form, values, short in beside]

    # Of two or three pieces of seven digits one has three or more: its last three tell most rows at once.
    near = np.zeros(len(rows), np.bool_)
    for one in chain.from_iterable(readings_of(rows)):
        for low in range(_ENDS - 2):
            near |= one % 1000 == tails // 10**low % 1000
    rows, ids, tails = rows[near], ids[near], tails[near]
    readings, hit = readings_of(rows), np.zeros(len(rows), np.bool_)
    for order in permutations(readings):
        for cuts in combinations(range(1, _ENDS), len(forms) - 1):  # digits behind each cut
            ends_of = [_ENDS, *reversed(cuts), 0]
            fits = np.ones(len(rows), np.bool_)
            for number, (values, (high, low)) in enumerate(zip(order, pairwise(ends_of), strict=True)):
                piece = tails // 10**low % 10 ** (high - low)
                same = [(one % 10 ** (high - low) if number == 0 else one) == piece for one in values]
                fits &= np.logical_or.reduce(same)
            hit |= fits
    return set(ids[hit].tolist())


def _readings(whole: _Whole, plain: _Whole, places: int) -> list[_Whole]:
    """Return values as they may have been written: without any zeros behind the point, in units, in hundredths."""
    found = [plain]
    for zeros in {0, places, max(places - 2, 0)} if places else ():
        found.append(np.where(whole % 10**zeros == 0, whole // 10**zeros, plain))
    return found


def _ends(
    rows: pl.Series, ids: pl.Series, subjects: pl.DataFrame
) -> tuple[_Whole, npt.NDArray[np.uint32], _Whole]:
    """Return number, id and the end of a subject's number, of each pair of a row and a number of its own."""
    both = pl.DataFrame({ID: ids, "row": rows}).join(subjects.select(ID, "value"), on=ID)
    numbers = both.get_column("value").str.replace_all(_DIGITS, "")
    known = (numbers.str.len_bytes() >= _END).fill_null(False)
    ends = numbers.filter(known).str.slice(-_KNOWN).cast(pl.Int64)
    both = both.filter(known)
    return both.get_column("row").to_numpy(), both.get_column(ID).to_numpy(), ends.to_numpy()


class _Form:
    """The values of a column as whole numbers without zeros behind the point. `most` is no less than the largest."""

    def __init__(self, name: str, records: pl.DataFrame, suspect: bool, most: int) -> None:
        self.name = name
        self.suspect = suspect
        self.most = most
        self.digits = len(str(most))
        self.column = records.get_column(name)
        self.ids = records.get_column(ID)

    @classmethod
    def of(cls, records: pl.DataFrame, name: str, distinct: Mapping[str, pl.Series]) -> _Form | None:
        """Return the column, None where no value has as many digits as count."""
        if name not in records.columns:
            return None
        column = records.get_column(name)
        known = distinct.get(name)
        if known is None and (column.null_count() == len(column) or _most(column) == 0):
            return None
        least, few = _LEAST, known
        if few is None and (NUMBERS[name] == _MONEY and _most(column) >= least):
            few = column.unique()  # many rows, few amounts
        if few is None and (most := _most(column)) < least:
            return cls(name, records, False, most)
        few = column if few is None else few
        whole = _whole(few).drop_nulls().to_numpy()
        suspect = bool((_stripped(whole[whole >= least], NUMBERS[name]) >= 10 ** (_END - 1)).any())
        most = int(_stripped(whole, NUMBERS[name]).max()) if few is not column and len(whole) else _most(few)
        return cls(name, records, suspect, most) if suspect or most else None

    def beside(
        self, subjects: pl.DataFrame, least: int, shortest: int
    ) -> tuple[npt.NDArray[np.uint32], _Whole, _Whole]:
        """Return id, value and the end of a number of each pair of a row and a number of its own.

        Of rows whose whole number is at least `least`, and `shortest` without its zeros.
        """
        whole = _whole(self.column).fill_null(0).to_numpy()
        at = np.flatnonzero(whole >= least)
        values = _stripped(whole[at], NUMBERS[self.name])
        at = at[values >= shortest]
        rows, ids, ends = _ends(pl.Series(at), self.ids.gather(at), subjects)
        return ids, _stripped(whole[rows], NUMBERS[self.name]), ends


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
