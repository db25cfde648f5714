"""Rows of a table found without reading the rest: planned from the log and the footers, then read in places.

The plan says which files can have the rows, by partition, by their place in a run, by positions in the log; then which
row groups, by their statistics and Bloom filters. Files are read side by side, since a store takes its time for each.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import PARTITIONED_BY, TABLES, file_schema
from lethe.schemas.errors import TransientError
from lethe.tiers.compaction.layout import place_of
from lethe.tiers.delta.places import Opened
from lethe.tiers.delta.rewrite import actions_of
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import Objects
from lethe.tiers.window._footers import Footer, Key, between
from lethe.tiers.window._footers import opened as open_file

_AT_ONCE: Final = 32
_TRIES: Final = 5
_PREFIX: Final = 8
_FEW: Final = 8
"""Values that are taken out of a column one by one: to prepare for more takes as long as these."""
_NOTHING: Final = np.empty(0, np.int64)
_INDEX: Final = pa.int64()

Where = dict[tuple[str, int], set[int]]
"""Offsets by topic-partition."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Rows that carry one of these tokens, or one of these message tokens."""

    subjects: frozenset[bytes]
    messages: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class _Listed:
    path: str
    size: int
    ends: tuple[Key, Key] | None


class Catalogue:
    """The files of a table by partition, as its log lists them at one version."""

    def __init__(self, table: Table) -> None:
        self.version = table.version
        self._files: dict[tuple[str, ...], list[_Listed]] = {}
        keys = PARTITIONED_BY[table.name]
        for row in actions_of(table).to_pylist():
            ends = [
                tuple(row.get(f"{end}.{name}") for name in ("stream", "partition", "offset"))
                for end in ("min", "max")
            ]
            known = all(value is not None for end in ends for value in end)
            listed = _Listed(row["path"], row["size_bytes"], (ends[0], ends[1]) if known else None)
            self._files.setdefault(tuple(str(row[f"partition.{k}"]) for k in keys), []).append(listed)

    def files(self, partition: Sequence[str]) -> list[_Listed]:
        """Return the files of a partition, given by its values in their order."""
        return self._files.get(tuple(partition), [])


_catalogues: WeakKeyDictionary[Table, Catalogue] = WeakKeyDictionary()


def by_token(objects: Objects, table: Table, wanted: dict[tuple[str, str], Tokens]) -> list[dict[str, Any]]:
    """Return rows of the identifiers that carry tokens, by (month, window months): as dicts of the table's columns."""

    def plan(listed: Catalogue) -> list[Callable[[], list[dict[str, Any]]]]:
        work = []
        for partition, tokens in wanted.items():
            prefixes = {int.from_bytes(t[:_PREFIX], "big") for t in tokens.subjects}
            for file in listed.files(partition):
                place = place_of(file.path)
                near = place is None or any(place.may_hold(p) for p in prefixes)
                if near or tokens.messages:
                    work.append(_work(_tokens_in, objects, table.name, partition, file, tokens))
        return work

    return _gathered(objects, table, plan)


def by_position(
    objects: Objects, table: Table, wanted: dict[tuple[str, ...], Where], columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return rows of a table at offsets, by the values of their partitions (those that begin with the given ones)."""

    def plan(listed: Catalogue) -> list[Callable[[], list[dict[str, Any]]]]:
        work = []
        for partition, where in wanted.items():
            keys = sorted((s, p, o) for (s, p), offsets in where.items() for o in offsets)
            for file in listed.files(partition):
                if between(keys, file.ends):
                    work.append(_work(_positions_in, objects, table.name, partition, file, where, columns))
        return work

    return _gathered(objects, table, plan)


def _work(
    function: Callable[..., list[dict[str, Any]]], *arguments: Any
) -> Callable[[], list[dict[str, Any]]]:
    return lambda: function(*arguments)


def _gathered(
    objects: Objects, table: Table, plan: Callable[[Catalogue], list[Callable[[], list[dict[str, Any]]]]]
) -> list[dict[str, Any]]:
    """Plan, read, and begin again where a file went away meanwhile: it was compacted, or something of it was erased."""
    for _ in range(_TRIES):
        table.reload()
        listed = _catalogues.get(table)
        if listed is None or listed.version != table.version:
            _catalogues[table] = listed = Catalogue(table)
        work = plan(listed)
        try:
            if len(work) < 2:
                return [row for one in work for row in one()]
            readers = _readers(Path(objects.root).is_dir())
            return [row for rows in readers.map(lambda one: one(), work) for row in rows]
        except FileNotFoundError:
            continue
    raise TransientError(f"{table.name}: files go away all the time; ask again")


@cache
def _readers(local: bool) -> ThreadPoolExecutor:
    """Return who reads side by side: on a disk as many as there are processors, on a store as many as it serves."""
    return ThreadPoolExecutor(os.cpu_count() if local else _AT_ONCE, "lethe-read")


def _tokens_in(
    objects: Objects, table: str, partition: tuple[str, ...], file: _Listed, wanted: Tokens
) -> list[dict[str, Any]]:
    opened, footer = open_file(objects, table, file.path, file.size)
    groups = footer.filtered(opened, "token", footer.with_tokens(wanted.subjects))
    groups |= footer.filtered(opened, "message_token", dict.fromkeys(wanted.messages, footer.groups))
    sought = ["token", "message_token"] if wanted.messages else ["token"]
    found: list[dict[str, Any]] = []
    for number in sorted(groups):
        group = _Group(opened, footer, table, number)
        group.read(sought)
        mask = _among(group.column("token"), wanted.subjects)
        if wanted.messages:
            mask = pc.or_(mask, _among(group.column("message_token"), wanted.messages))
        found += group.taken(_numbers(pc.indices_nonzero(mask)), partition, group.names)
    return found


def _positions_in(
    objects: Objects,
    table: str,
    partition: tuple[str, ...],
    file: _Listed,
    where: Where,
    columns: Sequence[str] | None,
) -> list[dict[str, Any]]:
    opened, footer = open_file(objects, table, file.path, file.size)
    keys = sorted((s, p, o) for (s, p), offsets in where.items() for o in offsets)
    groups = footer.with_positions(keys)
    if table == "identifiers":  # in the order of tokens every group has offsets from everywhere
        values = {struct.pack("<q", offset) for _, _, offset in keys}
        groups = sorted(footer.filtered(opened, "offset", dict.fromkeys(values, groups)))
    anywhere = np.unique([o for _, _, o in keys]).astype(np.int64)
    within = {place: np.array(sorted(offsets), np.int64) for place, offsets in where.items()}
    found: list[dict[str, Any]] = []
    for number in groups:
        group = _Group(opened, footer, table, number)
        names = [name for name in group.names if columns is None or name in columns]
        # What a merge says of its file leads to the very row group, so that all is read in one go.
        group.read(["offset", *group.unknown(names)] if footer.contents is not None else ["offset"])
        # Topic-partitions have the same offsets: of a group that has rows of one only that one's are sought.
        offsets = anywhere if group.of is None else within.get(group.of, _NOTHING)
        places = _equal(group.column("offset"), offsets)
        at = zip(*(group.values(name, places) for name in ("stream", "partition", "offset")), strict=True)
        mine = [offset in where.get((stream, of), ()) for stream, of, offset in at]
        found += group.taken(places[np.array(mine, np.bool_)], partition, names)
    return found


def _among(column: pa.ChunkedArray, values: Iterable[bytes]) -> Any:
    wanted = sorted(values)
    # Not `pa.array`, here and elsewhere in a look-up: where pandas is installed that brings it in, which takes longer
    # than all the rest in a process that was just started.
    tokens = pa.Array.from_buffers(pa.binary(16), len(wanted), [None, pa.py_buffer(b"".join(wanted))])
    found = pc.is_in(column, tokens.cast(column.type))
    return pc.and_(found, pc.is_valid(column))


def _equal(column: pa.ChunkedArray, wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Say where a column has one of some values, given in ascending order."""
    if not len(column):
        return _NOTHING
    values = np.concatenate([_numbers(chunk) for chunk in column.chunks])
    near = wanted[np.searchsorted(wanted, values.min()) : np.searchsorted(wanted, values.max(), "right")]
    # Of few, as there mostly are, all are compared with each, which takes a tenth of what sets of them take.
    return np.flatnonzero(np.isin(values, near, kind="sort" if len(near) <= _FEW else None))


def _numbers(array: pa.Array) -> npt.NDArray[Any]:
    """Return integers without nulls. Not by `to_numpy`, which brings in pandas."""
    kind = np.dtype(str(array.type))
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)


class _Group:
    """A row group, whose columns are read when they are needed, and only if the file does not say what is in them."""

    def __init__(self, opened: Opened, footer: Footer, table: str, number: int) -> None:
        self._opened, self._table, self._number = opened, table, number
        self._noted = footer.constants(number)
        self._columns: dict[str, pa.ChunkedArray] = {}
        self.names = [name for name in _schema(table).names if name in footer.columns]

    @property
    def of(self) -> tuple[str, int] | None:
        """The topic-partition that all rows are of, if the file says that it is one."""
        stream, partition = self._noted.get("stream"), self._noted.get("partition")
        return None if stream is None or partition is None else (stream, partition)

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Return those columns of which neither the file says what is in them nor they were read."""
        return [name for name in names if name not in self._noted and name not in self._columns]

    def read(self, names: Sequence[str]) -> None:
        """Read columns in one go."""
        rows = self._opened.read(self._number, list(dict.fromkeys(names)))
        self._columns.update(zip(rows.column_names, rows.columns, strict=True))

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column that was read."""
        return self._columns[name]

    def values(self, name: str, places: npt.NDArray[Any]) -> list[Any]:
        """Return the values of a column at some places; it is read if that is needed."""
        if name in self._noted:
            return [self._noted[name]] * len(places)
        if name not in self._columns:
            self.read([name])
        return _values(self._columns[name], places, _schema(self._table).field(name).type)

    def taken(
        self, places: npt.NDArray[Any], partition: tuple[str, ...], names: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Return the rows at some places: the named columns, and the values of their partition."""
        if not len(places):
            return []
        if unknown := self.unknown(names):
            self.read(unknown)
        values = {name: self.values(name, places) for name in names}
        for key, value in zip(PARTITIONED_BY[self._table], partition, strict=True):
            is_number = pa.types.is_integer(TABLES[self._table].field(key).type)
            values[key] = [int(value) if is_number else value] * len(places)
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


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


_schema = cache(file_schema)
