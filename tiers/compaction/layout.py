"""How a compacted file is laid out: its name, the order of its rows, its size, and what says where rows are.

A run is what one merge has made: files that follow on each other. Files of identifiers divide the tokens evenly, so
that the name says which tokens are in a file (`0003of0016`) and nothing of any token has to be written down.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import pyarrow as pa

from lethe.tiers.compaction.constants import Noted, Run, holds_only

TOKENS: Final = 1 << 64
"""How many prefixes of eight bytes a token may have."""
FILE_BYTES: Final = {"identifiers": 128 << 20}
"""Size that files of a table grow to; of all others 256 MB. A look-up reads the footers of identifiers."""
USUAL_FILE_BYTES: Final = 256 << 20
ROW_GROUP: Final = {
    "identifiers": 16_384,
    "originals": 16,
    "quarantine": 4_096,
    "usage": 4_096,
    "metadata": 16_384,
}
"""Rows of a row group: what a look-up reads at least."""
USUAL_ROW_GROUP: Final = 65_536
SLICE_ROWS: Final = {"identifiers": 2_000_000}
"""Rows sorted at a time, at most: they are in memory."""
USUAL_SLICE_ROWS: Final = 500_000
SLICE_BYTES: Final = 64 << 20
POSITION: Final = {"originals": "first_offset", "ledger": "first_offset"}
"""The column of a table that says where in its topic-partition a row belongs; of all others `offset`."""
_SAID: Final = b"lethe.run"
"""The key of a file's own metadata under which it says what is in it, see `Contents`."""
_NAME: Final = re.compile(r"run-([0-9a-f]{16})-([0-9]{5})of([0-9]{5})-[0-9a-f]{16}\.parquet$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file stands: the job that wrote it, and the how-manieth it is of how many."""

    job: str
    number: int
    of: int

    @property
    def name(self) -> str:
        """The file's name without the digest of its bytes."""
        return f"run-{self.job}-{self.number:05d}of{self.of:05d}"

    def may_hold(self, prefix: int) -> bool:
        """Tell whether a token with this prefix (its first eight bytes) can be in the file, if it is one of
        identifiers.
        """
        return prefix * self.of // TOKENS == self.number


@dataclass(frozen=True, slots=True)
class Contents:
    """What a compacted file says of itself, so that a look-up reads one row group and no column for nothing.

    `empty`: columns without any value. `first`: stream, partition and offset of the first row of each row group, in
    ascending order; nothing for identifiers, which are in the order of their tokens. `continued`: the row groups that
    begin in the middle of the rows of one position. `constant`: of other columns the runs of row groups in which all
    rows have one value; none in files of earlier releases, which read what is noted here nevertheless.
    """

    empty: frozenset[str]
    first: Sequence[tuple[str, int, int]]
    continued: frozenset[int] = frozenset()
    constant: Mapping[str, Sequence[Run]] = field(default_factory=dict)

    def encode(self) -> dict[bytes, bytes]:
        """Return it as a Parquet file holds it."""
        streams = sorted({stream for stream, _, _ in self.first})
        numbered = {stream: number for number, stream in enumerate(streams)}
        said = {
            "empty": sorted(self.empty),
            "streams": streams,
            "continued": sorted(self.continued),
            "first": [(numbered[stream], partition, offset) for stream, partition, offset in self.first],
            "constant": {name: list(runs) for name, runs in self.constant.items()},
        }
        return {_SAID: orjson.dumps(said)}

    @classmethod
    def decode(cls, metadata: Mapping[bytes, bytes] | None) -> Contents | None:
        """Read it from what a Parquet file holds; None where it says nothing, as files of earlier releases do.

        Raises one of `LookupError`, `TypeError`, `ValueError` for what no merge has written.
        """
        if not metadata or _SAID not in metadata:
            return None
        said = orjson.loads(metadata[_SAID])
        first = [(said["streams"][number], partition, offset) for number, partition, offset in said["first"]]
        constant = {
            name: [(at, end, value) for at, end, value in runs]
            for name, runs in said.get("constant", {}).items()
        }
        return cls(frozenset(said["empty"]), first, frozenset(said["continued"]), constant)

    def groups(self, key: tuple[str, int, int]) -> range:
        """Say which row groups rows at a position can be in: more than one only where a border goes through them."""
        start, end = bisect_left(self.first, key), bisect_right(self.first, key)
        return range(max(0, start - 1) if start == end or start in self.continued else start, end)


class Notes:
    """What a compacted file says of each of its row groups, with values as a reader of its table's columns has them.

    Raises `ValueError` for what no merge has written.
    """

    def __init__(self, said: Contents, schema: pa.Schema) -> None:
        self._first = said.first
        self._noted = Noted(said.constant, schema, said.empty)

    def constants(self, group: int) -> Mapping[str, Any]:
        """Return the columns that have one value throughout a row group, as far as that was noted, with it."""
        return self._noted.values(group)

    def hold_of(self, group: int, rows: pa.Table) -> bool:
        """Tell whether they are true of the rows of a row group."""
        if self._first:
            where = (rows.column(name)[0].as_py() for name in ("stream", "partition", "offset"))
            if self._first[group] != tuple(where):
                return False
        return all(holds_only(rows.column(name), value) for name, value in self.constants(group).items())


def place_of(path: str) -> Place | None:
    """Say where the file at a path stands; None for one that no compaction wrote."""
    found = _NAME.search(path)
    return Place(found[1], int(found[2]), int(found[3])) if found else None


def offset_column(table: str) -> str:
    """Return the column that says where in its topic-partition a row of a table belongs."""
    return POSITION.get(table, "offset")
