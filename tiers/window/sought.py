"""Rows of a table found without reading the rest: planned from the log and the footers, then read in places.

The plan says which files can have the rows, by partition, by their place in a run, by positions in the log; then which
row groups, by their statistics and Bloom filters. Files of a store are read side by side: it takes its time for each.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np

from lethe.schemas.arrow import PARTITIONED_BY
from lethe.schemas.compiled import native
from lethe.schemas.errors import TransientError
from lethe.tiers.compaction.layout import place_of
from lethe.tiers.delta.rewrite import actions_of
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import Objects
from lethe.tiers.window._footers import Key, between
from lethe.tiers.window._footers import opened as open_file
from lethe.tiers.window._groups import Group, GroupReader

_AT_ONCE: Final = 32
_TRIES: Final = 5
_PREFIX: Final = 8
_NOTHING: Final = np.empty(0, np.int64)

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
            prefixes = [(int.from_bytes(t[:_PREFIX], "big"), t) for t in tokens.subjects]
            for file in listed.files(partition):
                near = tokens
                if (place := place_of(file.path)) is not None:
                    near = Tokens(frozenset(t for p, t in prefixes if place.may_hold(p)), tokens.messages)
                if near.subjects or near.messages:
                    work.append(_work(_tokens_in, objects, table.name, partition, file, near))
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
            local = Path(objects.root).is_dir()
            # Single values are taken out of mapped files by one thread: two would keep each other waiting.
            if len(work) < 2 or (local and native() is not None):
                return [row for one in work for row in one()]
            readers = _readers(local)
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
    reader = GroupReader(opened, footer, table)
    subjects, messages = sorted(wanted.subjects), sorted(wanted.messages)
    found: list[dict[str, Any]] = []
    for number in sorted(groups):
        group = Group(reader, number)
        found += group.taken(group.carrying(subjects, messages), partition, group.names)
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
    names = [name for name in footer.names if columns is None or name in columns]
    reader = GroupReader(opened, footer, table)
    found: list[dict[str, Any]] = []
    for number in groups:
        group = Group(reader, number)
        # Topic-partitions have the same offsets: of a group that has rows of one only that one's are sought.
        rows, offsets = group.at(anywhere if group.of is None else within.get(group.of, _NOTHING), names)
        if group.of is None:
            of = group.values(["stream", "partition"], rows)
            places = zip(of["stream"], of["partition"], strict=True)
            mine = [offset in where.get(place, ()) for place, offset in zip(places, offsets, strict=True)]
            rows = rows[np.array(mine, np.bool_)]
            offsets = [offset for offset, is_mine in zip(offsets, mine, strict=True) if is_mine]
        found += group.taken(rows, partition, names, offsets)
    return found
