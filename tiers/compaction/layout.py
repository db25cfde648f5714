"""How a compacted file is laid out: its name, the order of its rows, its size, and what says where rows are.

A run is what one merge has made: files that follow on each other. Files of identifiers divide the tokens evenly, so
that the name says which tokens are in a file (`0003of0016`) and nothing of any token has to be written down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

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
    "metadata": 32_768,
}
"""Rows of a row group: what a look-up reads at least."""
USUAL_ROW_GROUP: Final = 65_536
SLICE_ROWS: Final = {"identifiers": 2_000_000}
"""Rows sorted at a time, at most: they are in memory."""
USUAL_SLICE_ROWS: Final = 500_000
SLICE_BYTES: Final = 64 << 20
POSITION: Final = {"originals": "first_offset", "ledger": "first_offset"}
"""The column of a table that says where in its topic-partition a row belongs; of all others `offset`."""
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


def place_of(path: str) -> Place | None:
    """Say where the file at a path stands; None for one that no compaction wrote."""
    found = _NAME.search(path)
    return Place(found[1], int(found[2]), int(found[3])) if found else None


def offset_column(table: str) -> str:
    """Return the column that says where in its topic-partition a row of a table belongs."""
    return POSITION.get(table, "offset")
