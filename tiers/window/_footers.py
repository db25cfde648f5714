"""What the footers of a table's files lead to: the row groups that tokens or positions can be in.

A file never changes under its name, so that its footer, once read, is kept for the next look-up.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from threading import Lock
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lethe.schemas.arrow import file_schema
from lethe.schemas.errors import IntegrityError
from lethe.tiers.compaction.layout import Contents, Notes, place_of
from lethe.tiers.delta.bloom import Filters, Probe, hashes_of
from lethe.tiers.delta.files import DICTIONARY
from lethe.tiers.delta.places import Opened
from lethe.tiers.delta.rewrite import BROKEN
from lethe.tiers.store.objects import Objects
from lethe.tiers.window._picked import Chunks, chunks_of
from lethe.tiers.window._row_groups import Ends, RowGroups, row_groups

_FOOTERS: Final = 256
"""Footers kept in memory: a few hundred kilobytes each, once a month is compacted."""

_FEW: Final = 16
"""Values, each in a row group, that are asked for one by one."""

_SEEN_OF_EACH: Final = 8
"""Row groups whose ends are asked for on the way to one token, by halving."""

_NOTHING: Final[Mapping[str, Any]] = {}

Key = tuple[str, int, int]
"""Stream, partition, offset."""


class Footer:
    """A file's footer, and what was asked of it before."""

    def __init__(self, said: RowGroups, table: str, merged: bool) -> None:
        metadata = said.described
        self.said = said
        self.library: pq.FileMetaData | None = None if metadata.num_row_groups < said.count else metadata
        """The footer as the library has it, once that was needed."""
        self.contents = Contents.decode(metadata.metadata) if merged else None
        """What a merged file says of itself."""
        self._notes = None if self.contents is None else Notes(self.contents, file_schema(table))
        self.groups = range(said.count)
        self.merged = merged
        """Whether its rows are in the order of their table: a merge has written it."""
        self.columns = {metadata.schema.column(at).path: at for at in range(metadata.num_columns)}
        self.names = [name for name in file_schema(table).names if name in self.columns]
        """The columns it has of its table's, in their order there."""
        self._table = table
        self._ends: dict[tuple[str, int], Ends | None] = {}
        self._filters: dict[tuple[str, int], tuple[int, int] | None] = {}

    def chunks(self) -> Chunks:
        """Say which of its columns single values can be taken out of."""
        return self._chunks

    @cached_property
    def _chunks(self) -> Chunks:
        return chunks_of(self._table, self.said.described)

    def constants(self, group: int) -> Mapping[str, Any]:
        """Return the columns of which a merge has noted that they have one value throughout a row group, with it; the
        same object where the row groups that follow have the same.
        """
        return _NOTHING if self._notes is None else self._notes.constants(group)

    def ends(self, column: str, group: int) -> Ends | None:
        """Return the least and the greatest value of a column in a row group; None if the footer says nothing."""
        if (column, group) not in self._ends:
            at = self.columns.get(column)
            self._ends[column, group] = None if at is None else self.said.ends(group, at)
        return self._ends[column, group]

    def with_tokens(self, tokens: Iterable[bytes]) -> dict[bytes, list[int]]:
        """Return the row groups that can have each of the tokens, as their statistics say."""
        tokens, found = list(tokens), dict[bytes, list[int]]()
        if self.merged and len(tokens) * _SEEN_OF_EACH > len(self.groups) and self._token_ends is not None:
            # For many tokens it pays to have the ends of all row groups side by side.
            least, greatest = self._token_ends
            for token in tokens:
                at = bisect_left(greatest, token)
                end = bisect_right(least, token, at)
                if at < end:
                    found[token] = list(range(at, end))
            return found
        for token in tokens:
            # A merged file is in the order of tokens: halving finds the first one, and those that follow are near.
            at = self._first_reaching(token) if self.merged else 0
            for group in range(at, len(self.groups)):
                ends = self.ends("token", group)
                if ends is None or ends[0] <= token <= ends[1]:
                    found.setdefault(token, []).append(group)
                elif self.merged and token < ends[0]:
                    break
        return found

    @cached_property
    def _token_ends(self) -> tuple[list[bytes], list[bytes]] | None:
        """The least and the greatest token of each row group, both ascending; None if the footer does not say all."""
        ends = [self.ends("token", group) for group in self.groups]
        known = [e for e in ends if e is not None]
        return ([low for low, _ in known], [high for _, high in known]) if len(known) == len(ends) else None

    def _first_reaching(self, token: bytes) -> int:
        """Return the first row group whose greatest token is no less, or whose statistics are missing."""
        low, high = 0, len(self.groups)
        while low < high:
            middle = (low + high) // 2
            ends = self.ends("token", middle)
            if ends is not None and ends[1] < token:
                low = middle + 1
            else:
                high = middle
        return low

    def with_positions(self, keys: Sequence[Key]) -> list[int]:
        """Return the row groups that can have one of the positions."""
        if self.contents is not None and self.contents.first:
            return sorted({group for key in keys for group in self.contents.groups(key)})
        return [group for group in self.groups if between(keys, self._positions(group))]

    def _positions(self, group: int) -> tuple[Key, Key] | None:
        ends = [self.ends(name, group) for name in ("stream", "partition", "offset")]
        known = [e for e in ends if e is not None]
        if len(known) < len(ends):
            return None
        (s, p, o), (t, q, r) = ([e[at] for e in known] for at in (0, 1))
        return (s, p, o), (t, q, r)

    def filtered(self, opened: Opened, column: str, sought: Mapping[bytes, Sequence[int]]) -> set[int]:
        """Return which row groups can have one of the values (plain bytes), each in groups of its own, as far as they
        have filters. Of many values all groups would have one or another, if each was asked for everywhere.
        """
        groups = sorted({group for of_value in sought.values() for group in of_value})
        if not groups:
            return set()
        if opened.mapped is not None and sum(map(len, sought.values())) <= _FEW:
            return self._one_by_one(opened.mapped, column, sought)
        places = [self._filter(column, group) for group in groups]
        there = [place for place in places if place is not None]
        if len(there) < len(places):
            return set(groups)
        start, end = min(at for at, _ in there), max(at + length for at, length in there)
        data, shift = opened.bytes_between(start, end)
        filters = Filters(data, there, shift)
        # All values and their groups side by side: fifty people have thousands of tokens in a year.
        asked = np.fromiter((group for of_value in sought.values() for group in of_value), np.int64)
        times = [len(of_value) for of_value in sought.values()]
        holds = filters.may_hold(np.repeat(hashes_of(list(sought)), times), np.searchsorted(groups, asked))
        return set(asked[holds].tolist())

    def _one_by_one(self, data: memoryview, column: str, sought: Mapping[bytes, Sequence[int]]) -> set[int]:
        """Ask the filters of a file that is in memory for few values: to prepare for many takes as long as a dozen."""
        found = set()
        for hashed, of_value in zip(hashes_of(list(sought)).tolist(), sought.values(), strict=True):
            probe = Probe.of(hashed)
            for group in of_value:
                place = self._filter(column, group)
                if place is None or probe.may_be_in(data, *place):
                    found.add(group)
        return found

    def _filter(self, column: str, group: int) -> tuple[int, int] | None:
        """Say where the Bloom filter of a column in a row group is and how long it is."""
        if (column, group) not in self._filters:
            self._filters[column, group] = self.said.bloom(group, self.columns[column])
        return self._filters[column, group]


_footers: OrderedDict[tuple[str, str], Footer] = OrderedDict()
_lock = Lock()


def opened(objects: Objects, table: str, path: str, size: int) -> tuple[Opened, Footer]:
    """Open a file of a table (`path` below it, `size` in bytes), its footer as it was read before, if it was.

    Raises `FileNotFoundError` when it is gone, `IntegrityError` when it is damaged.
    """
    whole = f"{table}/{path}"
    key = objects.root, whole
    with _lock:
        known = _footers.get(key)
    try:
        file = Opened(objects, whole, size, None if known is None else known.library, _texts(table))
        footer = known or Footer(row_groups(file), table, place_of(path) is not None)
    except FileNotFoundError:
        raise
    except BROKEN as error:
        raise IntegrityError(
            f"{whole} is damaged ({type(error).__name__}); bring it back from the backup"
        ) from None
    with _lock:
        _footers[key] = footer
        _footers.move_to_end(key)
        while len(_footers) > _FOOTERS:
            _footers.popitem(last=False)
    return file, footer


def between(keys: Sequence[Key], ends: tuple[Key, Key] | None) -> bool:
    """Tell whether one of the positions can lie among rows that have these ends in each column."""
    if ends is None:
        return bool(keys)
    low, high = ends
    return any(
        low[0] <= k[0] <= high[0] and low[1] <= k[1] <= high[1] and low[2] <= k[2] <= high[2] for k in keys
    )


@cache
def _texts(table: str) -> list[str]:
    """Name the columns of texts that repeat themselves: of a row group nearly all rows are dropped again, and to make
    a text of each of them would cost most of the reading.
    """
    schema = file_schema(table)
    return [name for name in DICTIONARY[table] if pa.types.is_string(schema.field(name).type)]
