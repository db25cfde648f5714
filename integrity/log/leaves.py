"""The leaf file of a commit: position and month of every row in scope, and what its leaf hash is known by.

    file = 0x01 ‖ first month (4 bytes) ‖ (offset ‖ index ‖ month ‖ leaf hash (32 bytes))*
         | 0x02 ‖ month (4 bytes) ‖ rows ‖ position* ‖ (root (32 bytes) ‖ parity (32 bytes))*

It lets a verifier name the very row that is missing, and do without rows that have outlived the archive. The second
form, a twelfth in size, is for rows of one month, which leave the archive together: its hashes are those of groups of
32 rows, see `lethe.integrity.log.groups`. The log entry holds the SHA-256 of the file. A leaf hash reveals nothing of
its row,
which holds `integrity_hash`: nobody can guess that without the salt. Specified in docs/integrity.md, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.log import groups, merkle
from lethe.integrity.log.commitment import Commitment, commit_each, ordered_scope
from lethe.integrity.log.groups import Group
from lethe.integrity.log.leb128 import Numbers, as_bytes, join, read_number
from lethe.integrity.log.merkle import HASH_SIZE
from lethe.integrity.log.tiles import number_path
from lethe.schemas.errors import IntegrityError
from lethe.schemas.retention.calendar import Month

WHOLE, GROUPED = 1, 2
FIRST_MONTH, LAST_MONTH = 12, 119_999
"""Months of the years 1 to 9999, as `month_number` counts them."""
_JANUARY_1970 = 12 * 1970
_MOST_OFFSET, _MOST_INDEX = (1 << 63) - 1, (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the leaf file has it: where it was read, and the month it is of."""

    offset: int
    index: int | None
    month: Month


@dataclass(frozen=True, slots=True)
class LeafFile:
    """The rows of a commit in the order of its tree, and their groups: of a file of all leaf hashes, one a row."""

    rows: Sequence[Row]
    groups: Sequence[Group]

    def root(self) -> bytes:
        """Return the root of the tree (32 bytes)."""
        return merkle.root([group.root for group in self.groups])

    @property
    def whole(self) -> bool:
        """Whether the leaf hash of every row is there."""
        return len(self.groups) == len(self.rows)


def leaves_path(first_offset: int) -> str:
    """Say where the leaf file of the commit that begins at `first_offset` is kept."""
    return f"leaves/{number_path(first_offset)}"


def commit_with_leaves(
    table: pa.Table, first_offset: int, whole: bool = False
) -> tuple[Commitment, bytes, tuple[Month, Month] | None]:
    """Return the commitment of `commitment.commit_rows`, the leaf file, and its first and last month.

    The file is empty and the months are None when no row is in scope. It has all leaf hashes if `whole`, or if the
    rows are of several months; else those of groups.

    `first_offset` is the first offset the commit covers, in scope or not. Raises `LetheError` as `commit_rows` does,
    and `IntegrityError` for rows whose time or position no record can have: who tampers with a file may leave any.
    """
    return commit_each_with_leaves([(table, first_offset)], whole)[0]


def commit_each_with_leaves(
    tables: Sequence[tuple[pa.Table, int]], whole: bool = False
) -> list[tuple[Commitment, bytes, tuple[Month, Month] | None]]:
    """Return the same for several partitions, each with its first offset, at the cost of little more than one."""
    if not tables:
        return []
    scopes = [ordered_scope(table) for table, _ in tables]
    return [
        (commitment, *_leaf_file(scope, leaves, roots, first_offset, whole))
        for scope, (commitment, leaves, roots), (_, first_offset) in zip(
            scopes, commit_each(scopes), tables, strict=True
        )
    ]


def _leaf_file(
    in_scope: pa.Table, leaves: list[bytes], roots: list[bytes], first_offset: int, whole: bool
) -> tuple[bytes, tuple[Month, Month] | None]:
    if not leaves:
        return b"", None
    times = in_scope.column("event_time").cast(pa.int64()).to_numpy()
    first, last = month_numbers(np.array([times.min(), times.max()])).tolist()
    offsets = in_scope.column("offset").to_numpy()
    if not FIRST_MONTH <= first <= last <= LAST_MONTH or offsets[0] < first_offset:
        raise IntegrityError("rows are of no month of the years 1 to 9999, or lie before their commit")
    indexes = in_scope.column("index").cast(pa.int64())
    if first == last and not whole:
        head = bytes([GROUPED]) + first.to_bytes(4, "little") + join([as_bytes(np.array([len(leaves)]))])
        file = head + encode_positions(offsets, indexes, first_offset) + groups.encode_groups(leaves, roots)
    else:
        file = _whole(
            offsets, pc.fill_null(indexes, -1).to_numpy(), month_numbers(times), leaves, first_offset
        )
    return file, (month_of(first), month_of(last))


def encode_whole(rows: Sequence[Row], leaves: Sequence[bytes], first_offset: int) -> bytes:
    """Return the leaf file of all leaf hashes, of at least one row."""
    indexes = [-1 if row.index is None else row.index for row in rows]
    columns = ([row.offset for row in rows], indexes, [month_number(row.month) for row in rows])
    offsets, index, months = (np.array(column, np.int64) for column in columns)
    return _whole(offsets, index, months, leaves, first_offset)


def decode(data: bytes, first_offset: int) -> LeafFile:
    """Read a leaf file; raises `IntegrityError` when it is damaged. No rows for an empty file."""
    if not data:
        return LeafFile([], [])
    if data[0] not in (WHOLE, GROUPED) or len(data) < 5:
        raise IntegrityError("leaf file: it is of no version known here")
    month = int.from_bytes(data[1:5], "little")
    return (_read_whole if data[0] == WHOLE else _read_grouped)(data, month, first_offset)


def _read_whole(data: bytes, month: int, offset: int) -> LeafFile:
    rows: list[Row] = []
    leaves: list[bytes] = []
    at = 5
    while at < len(data):
        step, at = read_number(data, at)
        index, at = read_number(data, at)
        change, at = read_number(data, at)
        offset += step
        month += change >> 1 if not change & 1 else -(change + 1 >> 1)
        if at + HASH_SIZE > len(data) or not FIRST_MONTH <= month <= LAST_MONTH:
            raise IntegrityError("leaf file: it is cut short")
        rows.append(Row(offset, index - 1 if index else None, month_of(month)))
        leaves.append(data[at : at + HASH_SIZE])
        at += HASH_SIZE
    return LeafFile(rows, groups.alone(leaves))


def _read_grouped(data: bytes, number: int, first_offset: int) -> LeafFile:
    if not FIRST_MONTH <= number <= LAST_MONTH:
        raise IntegrityError("leaf file: its month is none")
    count, at = read_number(data, 5)
    if not 0 < count <= len(data) - at:
        raise IntegrityError("leaf file: it cannot hold as many rows as it says")
    positions, at = read_positions(data, at, count, first_offset)
    month = month_of(number)
    rows = [Row(offset, index, month) for offset, index in positions]
    if len(data) - at != groups.groups_size(count):
        raise IntegrityError("leaf file: it is cut short, or goes on behind its end")
    return LeafFile(rows, groups.decode_groups(data[at:], count))


def read_positions(
    data: bytes, at: int, count: int, first_offset: int
) -> tuple[list[tuple[int, int | None]], int]:
    """Read as many positions as `encode_positions` wrote, from byte `at` on; return them and where they end.

    Raises `IntegrityError` when they do not ascend, or are none.
    """
    found: list[tuple[int, int | None]] = []
    last = first_offset, -2
    for _ in range(count):
        step, at = read_number(data, at)
        index = -1
        if step & 1:
            index, at = read_number(data, at)
        here = last[0] + (step >> 1), index
        if here <= last or here[0] > _MOST_OFFSET or index > _MOST_INDEX:
            raise IntegrityError("leaf file: its positions do not ascend, or are none")
        found.append((here[0], None if index < 0 else index))
        last = here
    return found, at


def digest(data: bytes) -> bytes:
    """Say what a log entry holds of the leaf file: its SHA-256."""
    return sha256(data).digest()


def month_numbers(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count the months since January of year 0 of instants in microseconds since 1970, in UTC."""
    return times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) + _JANUARY_1970


def month_of(number: int) -> Month:
    """Return the month that is `number` months after January of year 0."""
    return Month(number // 12, number % 12 + 1)


def month_number(month: Month) -> int:
    """Count the months since January of year 0."""
    return month.year * 12 + month.number - 1


def _whole(
    offsets: Numbers, indexes: Numbers, months: Numbers, leaves: Sequence[bytes], first_offset: int
) -> bytes:
    """Return the groups of which nothing is missing; `indexes` are -1 for none."""
    changes = np.diff(months, prepend=months[:1])
    numbers = [
        np.diff(offsets, prepend=first_offset),
        indexes + 1,
        np.where(changes >= 0, changes * 2, -changes * 2 - 1),
    ]
    hashes = groups.as_array(leaves)
    rows = join([*map(as_bytes, numbers), (hashes, np.ones(hashes.shape, np.bool_))])
    return bytes([WHOLE]) + int(months[0]).to_bytes(4, "little") + rows


def encode_positions(offsets: Numbers, indexes: pa.ChunkedArray, first_offset: int) -> bytes:
    """Write positions, at least one: steps of the offsets, doubled; with an index 1 more, and the index after it."""
    steps = np.diff(offsets, prepend=first_offset).astype(np.uint64) * np.uint64(2)
    if indexes.null_count == len(indexes):
        return join([as_bytes(steps)])
    indexed = pc.is_valid(indexes).to_numpy()
    data, there = as_bytes(pc.fill_null(indexes, 0).to_numpy())
    return join([as_bytes(steps + indexed), (data, there & indexed[:, None])])
