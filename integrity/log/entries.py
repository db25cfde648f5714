"""The log of one topic-partition: what an entry is, and reading a published log without trusting its storage.

Specified in docs/integrity.md, sections 3 and 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from lethe.integrity.log import leaves as leaf_files
from lethe.integrity.log import outside as outside_files
from lethe.integrity.log.commitment import NOTHING, Commitment
from lethe.integrity.log.leaves import FIRST_MONTH, LAST_MONTH, month_number, month_of
from lethe.integrity.log.outside import NO_ROWS, DataFiles, Made, OutsideCommitment
from lethe.integrity.log.store import REPLAYS, TileLog, log_origin
from lethe.integrity.log.tiles import WIDTH
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import STREAM_PATTERN, Position
from lethe.schemas.retention.calendar import Month

ENTRY_VERSIONS = (1, 2)

_HEAD = struct.Struct("<IQQQ")  # partition, first offset, last offset, count
_TAIL = struct.Struct("<32s64s32sIIQ")  # root, SHA3-512, leaf file, first and last month, table version
_OUTSIDE = struct.Struct("<Q32s32sIIB")  # rows, root, file, first and last month, declarations
MOST_DECLARATIONS = 255
_HASH = 32


@dataclass(frozen=True, slots=True)
class Outside:
    """What an entry says of the rows out of scope of its commit.

    `file` is the SHA-256 of their file, `months` are the first and the last of them (None without rows).
    """

    commitment: OutsideCommitment
    file: bytes
    months: tuple[Month, Month] | None

    @classmethod
    def of(cls, made: Made) -> Outside:
        """Return it for rows that were committed to."""
        return cls(made.commitment, leaf_files.digest(made.file), made.months)


def _further(outside: Outside, declarations: Sequence[bytes]) -> bytes:
    c = outside.commitment
    head = _OUTSIDE.pack(c.count, c.root, outside.file, *_numbers(outside.months), len(declarations))
    return head + b"".join(declarations)


def _read_further(data: bytes) -> tuple[Outside, tuple[bytes, ...]]:
    """Read the last part of an entry of version 2; raises `IntegrityError` when it is none."""
    if len(data) < _OUTSIDE.size or len(data) != _OUTSIDE.size + _HASH * data[_OUTSIDE.size - 1]:
        raise IntegrityError("log entry: it is of the wrong length")
    count, root, file, first, last, _ = _OUTSIDE.unpack_from(data)
    declarations = tuple(data[at : at + _HASH] for at in range(_OUTSIDE.size, len(data), _HASH))
    commitment = OutsideCommitment(count, root)
    nothing = commitment == NO_ROWS.commitment and file == leaf_files.digest(b"") and first == last == 0
    dated = FIRST_MONTH <= first <= last <= LAST_MONTH
    if not (dated if count else nothing) or list(declarations) != sorted(set(declarations)):
        raise IntegrityError(
            "log entry: what it says of rows out of scope contradicts itself; bring the log back from the backup"
        )
    return Outside(commitment, file, (month_of(first), month_of(last)) if count else None), declarations


def _numbers(months: tuple[Month, Month] | None) -> tuple[int, int]:
    return (month_number(months[0]), month_number(months[1])) if months else (0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit of one topic-partition, as its log holds it.

    Offsets are those the commit covers, both ends included. `leaves` is the SHA-256 of the leaf file,
    `months` are the first and the last of its rows (None without rows), `version` is that of the metadata
    table. `outside` is what it says of rows out of scope, `declarations` the SHA-256 of each declaration that a row was
    made by, ascending. An entry of version 1 has None, and says nothing of both.
    """

    stream: str
    partition: int
    first_offset: int
    last_offset: int
    commitment: Commitment
    leaves: bytes
    months: tuple[Month, Month] | None
    version: int
    outside: Outside | None = None
    declarations: tuple[bytes, ...] = ()

    def __bytes__(self) -> bytes:
        stream = self.stream.encode()
        c = self.commitment
        return b"".join(
            (
                bytes([1 if self.outside is None else 2, len(stream)]),
                stream,
                _HEAD.pack(self.partition, self.first_offset, self.last_offset, c.count),
                _TAIL.pack(c.root, c.sha3_512, self.leaves, *_numbers(self.months), self.version),
                b"" if self.outside is None else _further(self.outside, self.declarations),
            )
        )

    @classmethod
    def parse(cls, data: bytes) -> Entry:
        """Read an entry; raises `IntegrityError` when it is none."""
        if len(data) < 2 or data[0] not in ENTRY_VERSIONS:
            raise IntegrityError("log entry: it is of no version known here")
        end = 2 + data[1]
        tail = end + _HEAD.size + _TAIL.size
        if len(data) < tail or (data[0] == 1 and len(data) != tail):
            raise IntegrityError("log entry: it is of the wrong length")
        stream = data[2:end].decode("ascii", "replace")
        partition, first, last, count = _HEAD.unpack_from(data, end)
        root, sha3_512, leaves, first_month, last_month, version = _TAIL.unpack_from(data, end + _HEAD.size)
        commitment = Commitment(count, root, sha3_512)
        nothing = (
            commitment == NOTHING and leaves == leaf_files.digest(b"") and first_month == last_month == 0
        )
        dated = FIRST_MONTH <= first_month <= last_month <= LAST_MONTH
        if not (
            STREAM_PATTERN.fullmatch(stream) and first <= last < 1 << 63 and (dated if count else nothing)
        ):
            raise IntegrityError(
                "log entry: its offsets, counts or months contradict each other; bring the log back from the backup"
            )
        months = (month_of(first_month), month_of(last_month)) if count else None
        further = _read_further(data[tail:]) if data[0] == 2 else (None, ())
        return cls(stream, partition, first, last, commitment, leaves, months, version, *further)


@dataclass(frozen=True, slots=True)
class LogCommit:
    """A commit ready to be published: its log entry, and its leaf file (empty when no row is in scope).

    `whole` makes the leaf file of all leaf hashes, if the rows are at hand. `outside_file` is that of the rows out of
    scope (empty when there is none, and with an entry of version 1).
    """

    entry: Entry
    leaf_file: bytes
    whole: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)
    outside_file: bytes = field(default=b"", repr=False)

    @classmethod
    def of(
        cls,
        table: pa.Table,
        stream: str,
        partition: int,
        offsets: tuple[int, int],
        version: int,
        whole: bool = False,
        declarations: Sequence[bytes] | None = None,
        data_files: DataFiles | None = None,
    ) -> LogCommit:
        """Make it of the archive rows of one commit, as `commitment.commit_rows` takes them, in or out of scope.

        `offsets` are the first and the last the commit covers; the leaf file has all leaf hashes if `whole`. The entry
        is of version 2 with the `declarations` given, of version 1 (of rows in scope alone) if they are None.
        `data_files` are those the rows were written to, as far as known. Raises `LetheError` as `commit_rows` does.
        """
        commitment, leaf_file, months = leaf_files.commit_with_leaves(table, offsets[0], whole)
        leaves = leaf_files.digest(leaf_file)
        made, outside = NO_ROWS, None
        if declarations is not None:
            (made,) = outside_files.commit_outside([(table, offsets[0])])
            made = made.in_files(data_files or {})
            outside = Outside.of(made)
        entry = Entry(
            stream, partition, *offsets, commitment, leaves, months, version, outside,
            tuple(sorted(set(declarations or ()))),
        )  # fmt: skip
        return cls(
            entry, leaf_file, lambda: leaf_files.commit_with_leaves(table, offsets[0], True)[1], made.file
        )


def of_replays(origin: str) -> bool:
    """Tell whether an origin is that of the log of replays, which holds entries of every topic-partition."""
    return origin.endswith(log_origin("", *REPLAYS))


def replay_order(entry: Entry) -> tuple[int, str, int, int]:
    """Say what ascends from entry to entry in the log of replays: their offsets do not, and may overlap."""
    return entry.version, entry.stream, entry.partition, entry.first_offset


def leaf_path(origin: str, entry: Entry) -> str:
    """Say where the leaf file of an entry is kept: by its first offset, or by its digest where offsets come again."""
    return (
        f"leaves/{entry.leaves.hex()}" if of_replays(origin) else leaf_files.leaves_path(entry.first_offset)
    )


def outside_path(origin: str, entry: Entry) -> str:
    """Say where the file of the rows out of scope of an entry of version 2 is kept."""
    if of_replays(origin):
        return f"outside/{entry.outside.file.hex() if entry.outside else ''}"
    return outside_files.outside_path(entry.first_offset)


class Log(TileLog):
    """The log of a topic-partition, read-only: every hash and entry it returns is authenticated by its checkpoint.

    Raises `IntegrityError` naming what is missing or altered.
    """

    def entry(self, index: int) -> Entry:
        """Return entry `index`; raises `ValueError` when the log has none."""
        if not 0 <= index < self.size:
            raise ValueError(f"the log has no entry {index}")
        entry = Entry.parse(self.bundle(index // WIDTH)[index % WIDTH])
        # The origin ends with the log's stream and partition: a log holds no other's entries.
        mine = of_replays(self.origin) or self.origin.endswith(log_origin("", entry.stream, entry.partition))
        if not mine:
            raise IntegrityError(f"entry {index} of the log {self.origin} is of another log")
        return entry

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """Return all entries from `start` on, in order."""
        return (self.entry(index) for index in range(start, self.size))

    def covering(self, offset: int) -> tuple[int, Entry] | None:
        """Return the entry whose commit covers the offset, with its index in the log; None when there is none.

        Not for the log of replays, where offsets do not ascend.
        """
        low, high = 0, self.size
        while low < high:
            middle = (low + high) // 2
            entry = self.entry(middle)
            if entry.last_offset < offset:
                low = middle + 1
            elif entry.first_offset > offset:
                high = middle
            else:
                return middle, entry
        return None

    def holding(self, position: Position) -> tuple[int, Entry] | None:
        """Return the entry of the commit a record belongs to, with its index; None when there is none.

        In the log of replays that is the one whose leaf file has the record, elsewhere the one that covers its offset.
        """
        if not of_replays(self.origin):
            return self.covering(position.offset)
        place, at = (position.stream, position.partition), (position.offset, position.index)
        for index, entry in enumerate(self.entries()):
            if (entry.stream, entry.partition) != place:
                continue
            if entry.first_offset <= position.offset <= entry.last_offset:
                rows = leaf_files.decode(self.leaf_file(entry), entry.first_offset).rows
                if any((row.offset, row.index) == at for row in rows):
                    return index, entry
        return None

    def leaf_file(self, entry: Entry) -> bytes:
        """Return the leaf file of a commit, empty when no row of it is in scope."""
        if not entry.commitment.count:
            return b""
        return self._file(leaf_path(self.origin, entry), entry.leaves)

    def outside_file(self, entry: Entry) -> bytes:
        """Return the file of the rows out of scope of a commit, empty without one, and with an entry of version 1."""
        if entry.outside is None or not entry.outside.commitment.count:
            return b""
        return self._file(outside_path(self.origin, entry), entry.outside.file)

    def _file(self, path: str, digest: bytes) -> bytes:
        data = self.reader.get(path)
        if data is None:
            raise IntegrityError(f"{path} of the log {self.origin} is missing")
        if leaf_files.digest(data) != digest:
            raise IntegrityError(f"{path} of the log {self.origin} is altered")
        return data
