"""Columns that have one value throughout a row group, noted by a merge so that a look-up does not read them.

To read a column of a row group costs a look-up nearly as much for one value as for many, and in the order of positions
most columns of a row group have one value or none.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from lethe.schemas.compute import pc

Said = str | int | bool | None
"""A value as it is noted: times as microseconds since 1970, decimals as text."""
Run = tuple[int, int, Said]
"""The first of some row groups, the one after the last, and the value that all their rows have."""

_LONGEST: Final = 64
"""Characters of a text that is noted: a footer is read by every look-up, and should stay small."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Constants:
    """What is found out of a file's row groups while they are written."""

    def __init__(self, names: Sequence[str]) -> None:
        self._runs: dict[str, list[Run]] = {name: [] for name in names}
        self._groups = 0

    def add(self, rows: pa.Table, rows_of_group: int) -> None:
        """Look at the rows that are written next, in row groups of so many."""
        groups = -(-rows.num_rows // rows_of_group)
        for name, runs in self._runs.items():
            column = rows.column(name)
            # One piece is not put together again: that would copy it.
            column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
            for number in range(groups):
                known, value = _throughout(column.slice(number * rows_of_group, rows_of_group))
                if known:
                    _append(runs, self._groups + number, value)
        self._groups += groups

    def runs(self) -> dict[str, list[Run]]:
        """Return the runs of row groups with one value, of each column that has any, in the order of columns."""
        return {name: runs for name, runs in self._runs.items() if runs}


def _append(runs: list[Run], group: int, value: Said) -> None:
    if runs and runs[-1][1] == group and runs[-1][2] == value:
        runs[-1] = (runs[-1][0], group + 1, value)
    else:
        runs.append((group, group + 1, value))


def _throughout(column: Any) -> tuple[bool, Said]:
    """Tell whether all of a row group's values are the same, and can be noted; null is a value, too."""
    if column.null_count:
        return column.null_count == len(column), None
    kind = _plain(column.type)
    if not _notable(kind):
        return False, None
    codes = column.indices if pa.types.is_dictionary(column.type) else column
    if codes[0] != codes[-1]:  # mostly the two ends tell
        return False, None
    ends = pc.min_max(codes)
    if ends["min"] != ends["max"]:
        return False, None
    value = _said(column[0], kind)
    return not (isinstance(value, str) and len(value) > _LONGEST), value


def _notable(kind: pa.DataType) -> bool:
    """Tell whether values of a type are noted. Bytes are not: tokens and what is sealed belong in their rows only."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or (pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz == "UTC")
    )


def _said(value: pa.Scalar, kind: pa.DataType) -> Said:
    if pa.types.is_timestamp(kind):
        return int(value.value)
    found = value.as_py()
    return str(found) if pa.types.is_decimal(kind) else found


def value_of(said: Said, kind: pa.DataType) -> Any:
    """Return a noted value as a reader of the column would return it; raises `ValueError` for one of another type."""
    try:
        if said is None or _is(said, kind):
            return said
        if pa.types.is_timestamp(kind) and _is(said, pa.int64()):
            return _EPOCH + timedelta(microseconds=said)  # type: ignore[arg-type]
        if pa.types.is_decimal(kind) and isinstance(said, str):
            return Decimal(said)
    except ArithmeticError:
        pass
    raise ValueError(f"a noted value is no {kind}")


def _is(said: Said, kind: pa.DataType) -> bool:
    if isinstance(said, str):
        return bool(pa.types.is_string(kind))
    return bool(pa.types.is_boolean(kind) if isinstance(said, bool) else pa.types.is_integer(kind))


def holds_only(column: pa.ChunkedArray, value: Any) -> bool:
    """Tell whether a column has one value throughout, as a reader of it returns it."""
    if value is None or column.null_count:
        return value is None and bool(column.null_count == len(column))
    return bool(pc.all(pc.equal(column, pa.scalar(value, _plain(column.type)))).as_py())


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


class Noted:
    """What a file's notes say of a row group: `runs` by column, with values as a reader of a schema has them, and which
    columns are `empty` throughout the file.

    Raises `ValueError` for notes that no merge has written.
    """

    def __init__(
        self, runs: Mapping[str, Sequence[Run]], schema: pa.Schema, empty: Iterable[str] = ()
    ) -> None:
        self._nothing = dict.fromkeys(empty)
        self._ends: dict[str, list[int]] = {}
        self._runs: dict[str, list[tuple[int, int, Any]]] = {}
        self._between: dict[int, dict[str, Any]] = {}
        for field in schema:
            if not (mine := runs.get(field.name)):
                continue
            borders = [border for at, end, _ in mine for border in (at, end)]
            if not all(isinstance(border, int) for border in borders) or borders != sorted(borders):
                raise ValueError("noted row groups are in no order")
            self._ends[field.name] = borders[1::2]
            self._runs[field.name] = [(at, end, value_of(said, field.type)) for at, end, said in mine]
        self._borders = sorted({border for mine in self._runs.values() for run in mine for border in run[:2]})

    def values(self, group: int) -> Mapping[str, Any]:
        """Return the columns that have one value throughout a row group, with it: the same object where others follow
        that have the same.
        """
        between = bisect_right(self._borders, group)
        if between not in self._between:
            self._between[between] = self._values(group)
        return self._between[between]

    def _values(self, group: int) -> dict[str, Any]:
        found: dict[str, Any] = dict(self._nothing)
        for name, ends in self._ends.items():
            number = bisect_right(ends, group)
            if number < len(ends) and self._runs[name][number][0] <= group:
                found[name] = self._runs[name][number][2]
        return found
