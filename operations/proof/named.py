"""Compare whom the window's rows name with whom the originals of the same records name.

A token is not bound to its row: whoever writes the window can exchange those of two records of a month, and look-ups,
exports and erasures then take one person for the other. Where the original was kept it shows whose record it is, and
its tokens are made again from it. Tokens alone are compared; nothing of an original leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.verify.findings import Finding, Kind
from lethe.schemas.position import Position
from lethe.tiers.window.records import Part, rows_of

Names = frozenset[tuple[str, bytes | None, bytes | None]]
"""What the rows of one record name: role, token and message token of each."""

_AT_ONCE: Final = 1 << 16
"""Records that are compared in one reading of the month: its rows are sorted by token, so each reads all of them."""
_COLUMNS: Final = ["stream", "partition", "offset", "index", "role", "token", "message_token"]
_TEXT: Final = "its identifiers are not those that declaration and settings of today make of its original"


class Named:
    """Whom the originals of one part of the window name, gathered until `compare`."""

    def __init__(self, table: Any, part: Part) -> None:
        self._table, self._part = table, part
        self._said: dict[Position, Names] = {}

    def add(self, position: Position, rows: Iterable[dict[str, Any]]) -> None:
        """Take the identifier rows that are made of a record's original.

        Passed over when one of them is for other keys than the part's: the periods were changed since.
        """
        rows = list(rows)
        mine = (str(self._part.month), self._part.window_months)
        if all((row["month"], row["window_months"]) == mine for row in rows):
            self._said[position] = frozenset(map(_name, rows))

    @property
    def full(self) -> bool:
        """Whether there are as many as are compared at one time."""
        return len(self._said) >= _AT_ONCE

    def compare(self) -> Iterator[Finding]:
        """Yield every record whose rows name others than its original does, and start anew."""
        said, self._said = self._said, {}
        if not said:
            return
        found: dict[Position, set[tuple[str, bytes | None, bytes | None]]] = {}
        for batch in rows_of(self._table, self._part.rows & _near(said), _COLUMNS):
            for row in batch.to_pylist():
                position = Position(row["stream"], row["partition"], row["offset"], row["index"])
                if position in said:
                    found.setdefault(position, set()).add(_name(row))
        for position, names in said.items():
            if found.get(position, set()) != names:
                yield Finding(Kind.NOT_PROVEN, str(position), _TEXT)


def _name(row: dict[str, Any]) -> tuple[str, bytes | None, bytes | None]:
    return row["role"], row["token"], row["message_token"]


def _near(said: Iterable[Position]) -> Any:
    """Return the condition that a row lies between the first and the last of its topic-partition."""
    ends: dict[tuple[str, int], tuple[int, int]] = {}
    for position in said:
        place, offset = (position.stream, position.partition), position.offset
        first, last = ends.get(place, (offset, offset))
        ends[place] = min(first, offset), max(last, offset)
    return reduce(
        or_,
        (
            (pc.field("stream") == stream)
            & (pc.field("partition") == pa.scalar(partition, pa.int32()))
            & (pc.field("offset") >= first)
            & (pc.field("offset") <= last)
            for (stream, partition), (first, last) in ends.items()
        ),
    )
