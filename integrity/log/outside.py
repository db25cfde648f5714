"""Commit to the archived rows of a commit and topic-partition that are out of scope, in groups of 32.

    file = 0x03 ‖ part*
    part = month (4 bytes) ‖ rows ‖ position* ‖ group (32 bytes)*

A group is SHA-256(0x00 ‖ the canonical forms of its rows, one after the other): whoever changes one of them changes it.
Rows are in order of month, offset and index, and no group has rows of two months, which leave the archive at different
times. The root over the groups and the SHA-256 of the file are in the log entry. Before all this a file of version 4
says of each month in which data file its rows were written, so that rows of a file that is still the same need not be
read to be compared (ADR 19):

    file = 0x04 ‖ number of months ‖ held* ‖ 0x03 ‖ part*
    held = month (4 bytes) ‖ rows ‖ rows of any kind in the data file ‖ SHA-256 of the data file (32 bytes)

A row costs two bytes, and its part of one hash. Nothing is salted: whoever guesses all rows of a group can tell that he
is right. Specified in docs/integrity.md, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.log import merkle
from lethe.integrity.log.commitment import ascends
from lethe.integrity.log.leaves import (
    FIRST_MONTH,
    LAST_MONTH,
    encode_positions,
    month_number,
    month_numbers,
    month_of,
    read_positions,
)
from lethe.integrity.log.leb128 import as_bytes, join, read_number
from lethe.integrity.log.merkle import HASH_SIZE
from lethe.integrity.log.tiles import number_path
from lethe.integrity.rows.canonical_rows import EncodedRows, encode_chunks
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.schemas.retention.calendar import Month

BY_GROUP: Final = 3
IN_FILES: Final = 4
GROUP_ROWS: Final = 32
_MONTH: Final = "month_number"

At = tuple[int, int | None]
"""Offset and index."""

DataFiles = Mapping[Month, tuple[int, bytes]]
"""The data file of each month: how many rows of any kind it has, and the SHA-256 of its bytes."""


@dataclass(frozen=True, slots=True)
class OutsideCommitment:
    """How many rows out of scope a commit put into the archive, and the RFC 9162 root over their groups."""

    count: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Made:
    """The commitment to rows out of scope, their file (empty without rows), and the first and last month of them."""

    commitment: OutsideCommitment
    file: bytes = field(repr=False)
    months: tuple[Month, Month] | None
    counts: tuple[tuple[Month, int], ...] = ()
    """How many rows are of each month."""

    def in_files(self, files: DataFiles) -> Made:
        """Return the same with what is said of the data file of each month; without it where one is not known."""
        if not self.counts or any(month not in files for month, _ in self.counts):
            return self
        head = [bytes([IN_FILES]), _number(len(self.counts))]
        for month, rows in self.counts:
            of, digest = files[month]
            head += [month_number(month).to_bytes(4, "little"), _number(rows), _number(of), digest]
        return replace(self, file=b"".join([*head, self.file]))


@dataclass(frozen=True, slots=True)
class Held:
    """The data file that the rows of one month were written to: its SHA-256, and how many rows of any kind it has."""

    month: Month
    rows: int
    of: int
    digest: bytes


NO_ROWS: Final = Made(OutsideCommitment(0, merkle.EMPTY_ROOT), b"", None)


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one month in a commit: their positions, in order, and the hash of every group of 32 of them."""

    month: Month
    positions: Sequence[At]
    groups: Sequence[bytes]


class Forms:
    """Canonical rows of any number, kept as the chunks they were encoded in."""

    def __init__(self, chunks: Sequence[EncodedRows]) -> None:
        self._chunks = chunks
        self._starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])

    def between(self, first: int, end: int) -> list[memoryview]:
        """Return the forms of rows `first` to `end`, `end` excluded, in as many pieces as they lie in."""
        found = []
        at = int(np.searchsorted(self._starts, first, "right")) - 1
        while first < end:
            chunk, start = self._chunks[at], int(self._starts[at])
            to = min(end, start + len(chunk))
            bounds = chunk.bounds[first - start], chunk.bounds[to - start]
            found.append(memoryview(chunk.data)[bounds[0] : bounds[1]])
            first, at = to, at + 1
        return found

    def groups(self, first: int, end: int) -> list[bytes]:
        """Return the hash of every group of 32 rows from `first` on, the last one of those that are left."""
        found: list[bytes] = []
        while first < end:
            number = int(np.searchsorted(self._starts, first, "right")) - 1
            chunk, start = self._chunks[number], int(self._starts[number])
            there = min(end, start + len(chunk))
            if there < end:  # the group on the edge has rows of the next chunk
                there -= (there - first) % GROUP_ROWS
            if first < there:
                found += chunk.hashes(first - start, there - start, GROUP_ROWS)
                first = there
                continue
            state = sha256(b"\x00")
            for piece in self.between(first, min(first + GROUP_ROWS, end)):
                state.update(piece)
            found.append(state.digest())
            first += GROUP_ROWS
        return found


def outside_path(first_offset: int) -> str:
    """Say where the file of the rows out of scope is kept, of the commit that begins at `first_offset`."""
    return f"outside/{number_path(first_offset)}"


def commit_outside(tables: Sequence[tuple[pa.Table, int]]) -> list[Made]:
    """Commit to the rows out of scope of several topic-partitions, each with the first offset of its commit.

    Tables are as `commitment.commit_rows` takes them; rows in scope are left aside. All are encoded together: to encode
    costs as much as 500 rows. Raises `LetheError` when a position is there twice, `IntegrityError` for a time or
    position no record can have.
    """
    ordered = [_Ordered.of(table, first) for table, first in tables]
    full = [one for one in ordered if one.table.num_rows]
    if not full:
        return [NO_ROWS for _ in tables]
    forms = Forms(list(encode_chunks(pa.concat_tables([one.table for one in full]))))
    made, start = [], 0
    for one in ordered:
        made.append(one.made(forms, start) if one.table.num_rows else NO_ROWS)
        start += one.table.num_rows
    return made


@dataclass(frozen=True, slots=True)
class _Ordered:
    """Rows out of scope in order of month, offset and index; `cuts` is where each month begins, and the end."""

    table: pa.Table
    first_offset: int
    months: Sequence[int]
    cuts: Sequence[int]

    @classmethod
    def of(cls, table: pa.Table, first_offset: int) -> Self:
        hashes = table.column("integrity_hash")
        if hashes.null_count < table.num_rows:
            table = table.filter(pc.is_null(hashes))
        table, months, cuts = by_month(table)
        for start, end in pairwise(cuts):
            part = table.slice(start, end - start)
            if not ascends(part):
                raise LetheError("a position is there twice; a commit holds every record once")
            if part.column("offset")[0].as_py() < first_offset:
                raise IntegrityError("rows lie before their commit")
        if months and not FIRST_MONTH <= months[0] <= months[-1] <= LAST_MONTH:
            raise IntegrityError("rows are of no month of the years 1 to 9999")
        return cls(table, first_offset, months, cuts)

    def made(self, forms: Forms, at: int) -> Made:
        """Commit to the rows, whose forms begin with number `at`."""
        file, groups = [bytes([BY_GROUP])], list[bytes]()
        for month, (start, end) in zip(self.months, pairwise(self.cuts), strict=True):
            mine = forms.groups(at + start, at + end)
            part = self.table.slice(start, end - start)
            file += [
                month.to_bytes(4, "little"),
                _number(end - start),
                encode_positions(
                    part.column("offset").to_numpy(),
                    part.column("index").cast(pa.int64()),
                    self.first_offset,
                ),
                *mine,
            ]
            groups += mine
        commitment = OutsideCommitment(self.table.num_rows, merkle.root(groups))
        ends = month_of(self.months[0]), month_of(self.months[-1])
        sizes = [end - start for start, end in pairwise(self.cuts)]
        return Made(
            commitment, b"".join(file), ends, tuple(zip(map(month_of, self.months), sizes, strict=True))
        )


def by_month(table: pa.Table) -> tuple[pa.Table, list[int], list[int]]:
    """Order rows by month, offset and index; returns them, their months, and where each begins, with the end."""
    if not table.num_rows:
        return table, [], [0]
    times = pc.fill_null(table.column("event_time").cast(pa.int64()), 0).to_numpy()
    lowest, highest = month_numbers(np.array([times.min(), times.max()])).tolist()
    if lowest == highest:
        return (table if ascends(table) else _sorted(table, [])), [lowest], [0, table.num_rows]
    with_month = table.append_column(_MONTH, pa.array(month_numbers(times)))
    with_month = _sorted(with_month, [(_MONTH, "ascending", "at_start")])
    numbers: npt.NDArray[np.int64] = with_month.column(_MONTH).to_numpy()
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return with_month.drop_columns([_MONTH]), [int(numbers[at]) for at in cuts[:-1]], cuts


def _sorted(table: pa.Table, before: list[tuple[str, str, str]]) -> pa.Table:
    keys = [*before, ("offset", "ascending", "at_start"), ("index", "ascending", "at_start")]
    return table.take(pc.sort_indices(table, sort_keys=keys))


def decode(data: bytes, first_offset: int) -> list[Part]:
    """Read a file of rows out of scope; raises `IntegrityError` when it is damaged. No parts for an empty file."""
    if not data:
        return []
    held, data = _split(data)
    parts = list(_parts(data, first_offset))
    if held and [(h.month, h.rows) for h in held] != [(p.month, len(p.positions)) for p in parts]:
        raise IntegrityError("file of rows out of scope: what it says of data files contradicts its rows")
    return parts


def held_in(data: bytes) -> list[Held]:
    """Return in which data files rows out of scope were written; none for a file that does not say so.

    Raises `IntegrityError` when it is damaged.
    """
    return _split(data)[0] if data else []


def _split(data: bytes) -> tuple[list[Held], bytes]:
    """Return what a file says of data files, and the file of version 3 behind it."""
    held: list[Held] = []
    at = 0
    if data[0] == IN_FILES:
        count, at = read_number(data, 1)
        for _ in range(count):
            start = at
            rows, at = read_number(data, start + 4)
            of, at = read_number(data, at)
            at += HASH_SIZE
            number = int.from_bytes(data[start : start + 4], "little")
            if at > len(data) or not FIRST_MONTH <= number <= LAST_MONTH or not 0 < rows <= of:
                raise IntegrityError("file of rows out of scope: what it says of data files is damaged")
            held.append(Held(month_of(number), rows, of, data[at - HASH_SIZE : at]))
        if not held:
            raise IntegrityError("file of rows out of scope: it says nothing of data files")
    if data[at : at + 1] != bytes([BY_GROUP]):
        raise IntegrityError("file of rows out of scope: it is of no version known here")
    return held, data[at:]


def _number(value: int) -> bytes:
    return join([as_bytes(np.array([value]))])


def _parts(data: bytes, first_offset: int) -> Iterator[Part]:
    at, before = 1, FIRST_MONTH - 1
    while at < len(data):
        month = int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data) or not before < month <= LAST_MONTH:
            raise IntegrityError("file of rows out of scope: its months do not ascend, or are none")
        count, at = read_number(data, at + 4)
        if not 0 < count <= len(data) - at:
            raise IntegrityError("file of rows out of scope: it cannot hold as many rows as it says")
        positions, at = read_positions(data, at, count, first_offset)
        end = at + HASH_SIZE * -(-count // GROUP_ROWS)
        if end > len(data):
            raise IntegrityError("file of rows out of scope: it is cut short")
        groups = [data[start : start + HASH_SIZE] for start in range(at, end, HASH_SIZE)]
        yield Part(month_of(month), positions, groups)
        at, before = end, month


def root_of(parts: Sequence[Part]) -> bytes:
    """Return the root (32 bytes) over the groups of all parts."""
    return merkle.root([group for part in parts for group in part.groups])
