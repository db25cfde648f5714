"""Rows of a table found without reading the rest: planned from the log and the footers, then read in places.

The plan says which files can have the rows, by partition, by their place in a run, by positions in the log; then which
row groups, by their statistics and Bloom filters. Files are read side by side, since a store takes its time for each.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lethe.schemas.arrow import PARTITIONED_BY, TABLES, file_schema
from lethe.schemas.errors import IntegrityError, TransientError
from lethe.tiers.compaction.layout import place_of
from lethe.tiers.delta.bloom import Filters, hash_of
from lethe.tiers.delta.places import Opened, ends_of
from lethe.tiers.delta.rewrite import BROKEN, actions_of
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import Objects

_FOOTERS: Final = 256
"""Footers kept in memory: a few hundred kilobytes each, once a month is compacted."""
_AT_ONCE: Final = 32
_TRIES: Final = 5
_PREFIX: Final = 8

Key = tuple[str, int, int]
"""Stream, partition, offset."""
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
_lock = Lock()


class Footer:
    """A file's footer, and what was asked of it before. A file never changes under its name."""

    def __init__(self, metadata: pq.FileMetaData) -> None:
        self.metadata = metadata
        self.columns = {name: at for at, name in enumerate(metadata.schema.to_arrow_schema().names)}
        self.groups = list(range(metadata.num_row_groups))
        self._filters: dict[str, list[tuple[int, int]] | None] = {}

    @cached_property
    def tokens(self) -> list[tuple[bytes, bytes] | None]:
        """The least and the greatest token of each row group."""
        return [ends_of(self.metadata.row_group(group), "token") for group in self.groups]

    @cached_property
    def positions(self) -> list[tuple[Key, Key] | None]:
        """The least and the greatest stream, partition and offset of each row group."""
        found: list[tuple[Key, Key] | None] = []
        for number in self.groups:
            group = self.metadata.row_group(number)
            ends = [e for name in ("stream", "partition", "offset") if (e := ends_of(group, name))]
            low, high = (tuple(e[at] for e in ends) for at in (0, 1))
            found.append((low, high) if len(ends) == 3 else None)
        return found

    def filters(self, column: str) -> list[tuple[int, int]] | None:
        """Say where the Bloom filters of a column are and how long they are; None if a row group has none."""
        if column not in self._filters:
            chunks = [self.metadata.row_group(group).column(self.columns[column]) for group in self.groups]
            places = [(c.bloom_filter_offset, c.bloom_filter_length) for c in chunks]
            self._filters[column] = places if all(start and length for start, length in places) else None
        return self._filters[column]


_footers: OrderedDict[tuple[str, str], Footer] = OrderedDict()


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
                if _between(keys, file.ends):
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
            if len(work) < 2 or Path(objects.root).is_dir():
                return [row for one in work for row in one()]
            return [row for rows in _readers().map(lambda one: one(), work) for row in rows]
        except FileNotFoundError:
            continue
    raise TransientError(f"{table.name}: files go away all the time; ask again")


@lru_cache(maxsize=1)
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, "lethe-read")


def _tokens_in(
    objects: Objects, table: str, partition: tuple[str, ...], file: _Listed, wanted: Tokens
) -> list[dict[str, Any]]:
    opened, footer = _opened(objects, table, file)
    groups = _by_statistics(footer, wanted.subjects)
    groups = _by_filter(opened, footer, "token", groups, wanted.subjects)
    groups = list({*groups, *_by_filter(opened, footer, "message_token", footer.groups, wanted.messages)})
    found: list[dict[str, Any]] = []
    for group in sorted(groups):
        some = opened.read(group, ["token", "message_token"] if wanted.messages else ["token"])
        mask = _among(some.column("token"), wanted.subjects)
        if wanted.messages:
            mask = pc.or_(mask, _among(some.column("message_token"), wanted.messages))
        found += _taken(opened, table, partition, group, mask, None)
    return found


def _positions_in(
    objects: Objects,
    table: str,
    partition: tuple[str, ...],
    file: _Listed,
    where: Where,
    columns: Sequence[str] | None,
) -> list[dict[str, Any]]:
    opened, footer = _opened(objects, table, file)
    keys = sorted((s, p, o) for (s, p), offsets in where.items() for o in offsets)
    groups = [group for group in footer.groups if _between(keys, footer.positions[group])]
    if table == "identifiers":  # in the order of tokens every group has offsets from everywhere
        groups = _by_filter(
            opened, footer, "offset", groups, {struct.pack("<q", offset) for _, _, offset in keys}
        )
    offsets = pa.array(sorted({o for _, _, o in keys}), pa.int64())
    found: list[dict[str, Any]] = []
    for group in groups:
        mask = pc.is_in(opened.read(group, ["offset"]).column("offset"), offsets)
        rows = _taken(opened, table, partition, group, mask, columns)
        found += [r for r in rows if r["offset"] in where.get((r["stream"], r["partition"]), ())]
    return found


def _opened(objects: Objects, table: str, file: _Listed) -> tuple[Opened, Footer]:
    path = f"{table}/{file.path}"
    key = objects.root, path
    with _lock:
        known = _footers.get(key)
    try:
        opened = Opened(objects, path, file.size, None if known is None else known.metadata)
    except FileNotFoundError:
        raise
    except BROKEN as error:
        raise IntegrityError(
            f"{path} is damaged ({type(error).__name__}); bring it back from the backup"
        ) from None
    footer = known or Footer(opened.metadata)
    with _lock:
        _footers[key] = footer
        _footers.move_to_end(key)
        while len(_footers) > _FOOTERS:
            _footers.popitem(last=False)
    return opened, footer


def _by_statistics(footer: Footer, tokens: Iterable[bytes]) -> list[int]:
    wanted = sorted(tokens)
    if not wanted:
        return []
    ends = footer.tokens
    return [
        g for g in footer.groups if (e := ends[g]) is None or any(e[0] <= token <= e[1] for token in wanted)
    ]


def _by_filter(
    opened: Opened, footer: Footer, column: str, groups: list[int], values: Iterable[bytes]
) -> list[int]:
    """Return the row groups that can have one of the values (plain bytes), as far as they have filters."""
    hashes = [hash_of(value) for value in values]
    if not hashes or not groups:
        return []
    if (places := footer.filters(column)) is None:
        return groups
    start, end = min(at for at, _ in places), max(at + length for at, length in places)
    data, shift = opened.bytes_between(start, end)
    filters = Filters(data, [places[group] for group in groups], shift)
    found = np.zeros(len(groups), np.bool_)
    for hashed in hashes:
        found |= filters.may_hold(hashed)
    return [group for group, there in zip(groups, found, strict=True) if there]


def _among(column: pa.ChunkedArray, values: Iterable[bytes]) -> Any:
    found = pc.is_in(column, pa.array(sorted(values), column.type))
    return pc.and_(found, pc.is_valid(column))


def _taken(
    opened: Opened,
    table: str,
    partition: tuple[str, ...],
    group: int,
    mask: Any,
    columns: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """Return the rows of a row group that a mask says, with their partition's values; only then are other columns
    read.
    """
    if not pc.any(mask).as_py():
        return []
    schema = file_schema(table)
    rows = opened.read(group, None if columns is None else [c for c in columns if c in schema.names]).filter(
        mask
    )
    rows = pa.table({f.name: rows.column(f.name).cast(f.type) for f in schema if f.name in rows.column_names})
    values: dict[str, Any] = {}
    for key, value in zip(PARTITIONED_BY[table], partition, strict=True):
        values[key] = int(value) if pa.types.is_integer(TABLES[table].field(key).type) else value
    return [{**row, **values} for row in rows.to_pylist()]


def _between(keys: Sequence[Key], ends: tuple[Key, Key] | None) -> bool:
    """Tell whether one of the positions can lie among rows that have these ends in each column."""
    if ends is None:
        return bool(keys)
    low, high = ends
    return any(
        low[0] <= k[0] <= high[0] and low[1] <= k[1] <= high[1] and low[2] <= k[2] <= high[2] for k in keys
    )
