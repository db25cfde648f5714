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
    found: list[dict[str, Any]] = []
    for group in sorted(groups):
        some = opened.read(group, ["token", "message_token"] if wanted.messages else ["token"])
        mask = _among(some.column("token"), wanted.subjects)
        if wanted.messages:
            mask = pc.or_(mask, _among(some.column("message_token"), wanted.messages))
        found += _taken(opened, footer, table, partition, group, mask, None)
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
    offsets = _integers(sorted({o for _, _, o in keys}))
    found: list[dict[str, Any]] = []
    for group in groups:
        mask = pc.is_in(opened.read(group, ["offset"]).column("offset"), offsets)
        rows = _taken(opened, footer, table, partition, group, mask, columns)
        found += [r for r in rows if r["offset"] in where.get((r["stream"], r["partition"]), ())]
    return found


def _among(column: pa.ChunkedArray, values: Iterable[bytes]) -> Any:
    wanted = sorted(values)
    # Not `pa.array`, here and elsewhere in a look-up: where pandas is installed that brings it in, which takes longer
    # than all the rest in a process that was just started.
    tokens = pa.Array.from_buffers(pa.binary(16), len(wanted), [None, pa.py_buffer(b"".join(wanted))])
    found = pc.is_in(column, tokens.cast(column.type))
    return pc.and_(found, pc.is_valid(column))


def _integers(values: Sequence[int]) -> pa.Array:
    buffer = pa.py_buffer(np.array(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, buffer])


def _taken(
    opened: Opened,
    footer: Footer,
    table: str,
    partition: tuple[str, ...],
    group: int,
    mask: pa.ChunkedArray,
    columns: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """Return the rows of a row group that a mask says, with their partition's values; only then are other columns
    read, and of those only the ones that have any value in the file.
    """
    places = pc.indices_nonzero(mask)
    if not len(places):
        return []
    schema = _schema(table)
    empty = footer.contents.empty if footer.contents is not None else frozenset()
    wanted = [n for n in schema.names if n in footer.columns and (columns is None or n in columns)]
    rows = opened.read(group, [n for n in wanted if n not in empty]).take(places)
    nothing = [None] * len(places)
    values = [_values(rows.column(n), schema.field(n).type) if n not in empty else nothing for n in wanted]
    names = list(wanted)
    for key, value in zip(PARTITIONED_BY[table], partition, strict=True):
        names.append(key)
        is_number = pa.types.is_integer(TABLES[table].field(key).type)
        values.append([int(value) if is_number else value] * len(places))
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _values(column: pa.ChunkedArray, kind: Any) -> list[Any]:
    """Return the values of a column in Python, as those of a type."""
    if column.type != kind:  # texts read as numbers too: one by one they would take seven times as long
        column = column.cast(kind)
    if not pa.types.is_timestamp(kind):
        return list(column.to_pylist())
    # The library's own times bring in pandas, where that is installed.
    if kind.unit != "us":
        column = column.cast(pa.timestamp("us", kind.tz))
    zone = None if kind.tz is None else UTC
    start = datetime(1970, 1, 1, tzinfo=zone)
    numbers = column.cast(pa.int64()).to_pylist()
    return [None if number is None else start + timedelta(microseconds=number) for number in numbers]


_schema = cache(file_schema)
