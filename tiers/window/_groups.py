"""A row group of a table's file: rows of it by token or by offset, and only the columns that are needed of them.

What a merge has noted of a row group is not read. Of a file that is in memory single values are taken out of the pages
(`_picked`); of others whole columns are decoded by the library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lethe.schemas.arrow import PARTITIONED_BY, TABLES, file_schema
from lethe.schemas.compute import pc
from lethe.tiers.delta.places import Opened
from lethe.tiers.window._footers import Footer
from lethe.tiers.window._picked import Column, OtherwiseError, Rows, picker_of

_FEW: Final = 8
"""Values that are taken out of a column one by one: to prepare for more takes as long as these."""
_INDEX: Final = pa.int64()


class GroupReader:
    """A file's row groups, read one after the other."""

    def __init__(self, opened: Opened, footer: Footer, table: str) -> None:
        self.opened, self.footer, self.table = opened, footer, table
        self.picker = picker_of(opened.mapped, footer.said, footer.chunks, table)
        self._template: _Template | None = None

    def template(
        self, noted: Mapping[str, Any], partition: tuple[str, ...], names: Sequence[str], known: Sequence[str]
    ) -> _Template:
        """Return what rows are made of that are in a group with these notes: mostly what those of the last one were.

        `known`: columns that are put in afterwards.
        """
        last = self._template
        if last is None or last.noted is not noted or last.names is not names or last.known is not known:
            values: dict[str, Any] = {name: noted.get(name) for name in names}
            for key, value in zip(PARTITIONED_BY[self.table], partition, strict=True):
                values[key] = int(value) if pa.types.is_integer(TABLES[self.table].field(key).type) else value
            unknown = [name for name in names if name not in noted and name not in known]
            columns = None
            if self.picker is not None:
                with suppress(OtherwiseError):
                    columns = self.picker.columns(unknown)
            last = self._template = _Template(noted, names, known, values, unknown, columns)
        return last


@dataclass(frozen=True, slots=True)
class _Template:
    """A row's values as far as the notes of its group say them, and which columns are to be put in."""

    noted: Mapping[str, Any]
    names: Sequence[str]
    known: Sequence[str]
    values: dict[str, Any]
    unknown: list[str]
    columns: list[Column] | None
    """As compiled code has them; None where it cannot."""


_OFFSET: Final = ("offset",)


class Group:
    """A row group, whose columns are read when they are needed, and only if the file does not say what is in them."""

    def __init__(self, reader: GroupReader, number: int) -> None:
        self._reader, self._number = reader, number
        self._noted = reader.footer.constants(number)
        self._columns: dict[str, pa.ChunkedArray] = {}
        self.names = reader.footer.names

    @property
    def of(self) -> tuple[str, int] | None:
        """The topic-partition that all rows are of, if the file says that it is one."""
        stream, partition = self._noted.get("stream"), self._noted.get("partition")
        return None if stream is None or partition is None else (stream, partition)

    def carrying(self, tokens: Sequence[bytes], messages: Sequence[bytes]) -> Rows:
        """Return the rows that carry one of some tokens, or one of some tokens of messages; both given in order."""
        if self._reader.picker is not None:
            try:
                pick = self._reader.picker.carrying
                rows = pick(self._number, "token", tokens, self._reader.footer.merged)
                if messages:
                    rows = np.union1d(rows, pick(self._number, "message_token", messages, False))
                return rows
            except OtherwiseError:
                pass
        self._read(["token", "message_token"] if messages else ["token"])
        mask = _among(self._columns["token"], tokens)
        if messages:
            mask = pc.or_(mask, _among(self._columns["message_token"], messages))
        return _numbers(pc.indices_nonzero(mask)).astype(np.int64)

    def at(self, offsets: Rows, names: Sequence[str]) -> tuple[Rows, list[int]]:
        """Return the rows that are at some offsets, given in ascending order, and the offset of each.

        `names`: the columns that are wanted of them afterwards.
        """
        if self._reader.picker is not None:
            try:
                rows, values = self._reader.picker.where(self._number, "offset", offsets)
                return rows, values.tolist()
            except OtherwiseError:
                pass
        # What a merge says of its file leads to the very row group, so that all is read in one go.
        self._read(
            ["offset", *self._unknown(names)] if self._reader.footer.contents is not None else ["offset"]
        )
        rows = _equal(self._columns["offset"], offsets)
        return rows, self.values(["offset"], rows)["offset"]

    def values(self, names: Sequence[str], rows: Rows) -> dict[str, list[Any]]:
        """Return the values of columns at some rows; what is not noted is read."""
        found = {name: [self._noted[name]] * len(rows) for name in names if name in self._noted}
        unknown = self._unknown(names)
        if unknown and self._reader.picker is not None:
            try:
                found |= self._reader.picker.pick(self._number, unknown, rows)
                unknown = []
            except OtherwiseError:
                pass
        if unknown:
            self._read(unknown)
        of_type = file_schema(self._reader.table).field
        return {
            name: found[name] if name in found else _values(self._columns[name], rows, of_type(name).type)
            for name in names
        }

    def taken(
        self, rows: Rows, partition: tuple[str, ...], names: Sequence[str], offsets: Sequence[int] = ()
    ) -> list[dict[str, Any]]:
        """Return rows as dicts: the named columns, and the values of their partition. `offsets`: theirs, if known."""
        if not len(rows):
            return []
        template = self._reader.template(self._noted, partition, names, _OFFSET if offsets else ())
        found = self._made(rows, template)
        if found is None:
            values = self.values(template.unknown, rows)
            made = zip(*values.values(), strict=True) if values else [()] * len(rows)
            found = [template.values | dict(zip(values, row, strict=True)) for row in made]
        if offsets:
            for row, offset in zip(found, offsets, strict=True):
                row["offset"] = offset
        return found

    def _made(self, rows: Rows, template: _Template) -> list[dict[str, Any]] | None:
        """Have rows made by compiled code; None where it cannot, or columns were read by the library already."""
        if self._reader.picker is None or template.columns is None or self._columns:
            return None
        try:
            return self._reader.picker.records(self._number, template.columns, rows, template.values)
        except OtherwiseError:
            return None

    def _unknown(self, names: Sequence[str]) -> list[str]:
        """Return those columns of which neither the file says what is in them nor they were read."""
        return [name for name in names if name not in self._noted and name not in self._columns]

    def _read(self, names: Sequence[str]) -> None:
        """Read columns in one go."""
        rows = self._reader.opened.read(self._number, list(dict.fromkeys(names)))
        self._reader.footer.library = self._reader.opened.metadata
        self._columns.update(zip(rows.column_names, rows.columns, strict=True))


def _among(column: pa.ChunkedArray, wanted: Sequence[bytes]) -> Any:
    # Not `pa.array`, here and elsewhere in a look-up: where pandas is installed that brings it in, which takes longer
    # than all the rest in a process that was just started.
    tokens = pa.Array.from_buffers(pa.binary(16), len(wanted), [None, pa.py_buffer(b"".join(wanted))])
    found = pc.is_in(column, tokens.cast(column.type))
    return pc.and_(found, pc.is_valid(column))


def _equal(column: pa.ChunkedArray, wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Say where a column has one of some values, given in ascending order."""
    if not len(column):
        return np.empty(0, np.int64)
    values = np.concatenate([_numbers(chunk) for chunk in column.chunks])
    near = wanted[np.searchsorted(wanted, values.min()) : np.searchsorted(wanted, values.max(), "right")]
    # Of few, as there mostly are, all are compared with each, which takes a tenth of what sets of them take.
    return np.flatnonzero(np.isin(values, near, kind="sort" if len(near) <= _FEW else None))


def _numbers(array: pa.Array) -> npt.NDArray[Any]:
    """Return integers without nulls. Not by `to_numpy`, which brings in pandas."""
    kind = np.dtype(str(array.type))
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)


def _values(column: pa.ChunkedArray, places: npt.NDArray[Any], kind: Any) -> list[Any]:
    """Return the values of a column at some places in Python, as those of a type."""
    plain = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    times = pa.types.is_timestamp(kind)
    if len(places) <= _FEW and plain == kind and (not times or kind.unit == "us"):
        found = [column[at] for at in places.tolist()]
        return _times([one.value for one in found], kind) if times else [one.as_py() for one in found]
    column = column.take(
        pa.Array.from_buffers(_INDEX, len(places), [None, pa.py_buffer(places.astype("i8"))])
    )
    if column.type != kind:  # texts read as numbers too: one by one they would take seven times as long
        column = column.cast(kind)
    if not times:
        return list(column.to_pylist())
    if kind.unit != "us":
        column = column.cast(pa.timestamp("us", kind.tz))
    return _times(column.cast(pa.int64()).to_pylist(), kind)


def _times(numbers: Iterable[int | None], kind: Any) -> list[datetime | None]:
    """Return times given as microseconds. The library's own bring in pandas, where that is installed."""
    start = datetime(1970, 1, 1, tzinfo=None if kind.tz is None else UTC)
    return [None if number is None else start + timedelta(microseconds=number) for number in numbers]
