"""Which commit of a topic-partition accounts for an offset, as the ledger says."""

from __future__ import annotations

from bisect import bisect_right

import pyarrow.compute as pc

from lethe.schemas.position import Position
from lethe.tiers.commit import ledger_entries as ledger
from lethe.tiers.ledger.reading import require_ledger
from lethe.tiers.warehouse import Warehouse


class Covered:
    """Which commit accounts for an offset, as the ledger says: a replay says of each commit what it moved of it."""

    def __init__(self, ranges: dict[tuple[str, int], list[tuple[int, int]]]) -> None:
        self._ranges = ranges

    @classmethod
    def by(cls, warehouse: Warehouse) -> Covered:
        """Read as far as the ledger is now."""
        warehouse.publish()
        rows = require_ledger(warehouse, pc.field("source") != ledger.REPLAYED)
        rows = rows.select(["stream", "partition", "first_offset", "last_offset"])
        ranges: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for stream, partition, first, last in zip(
            *(rows.column(n).to_pylist() for n in rows.column_names), strict=True
        ):
            ranges.setdefault((stream, partition), []).append((first, last))
        return cls({topic_partition: sorted(mine) for topic_partition, mine in ranges.items()})

    def commit(self, position: Position) -> int | None:
        """Return the first offset of the commit that accounts for a position; None if none does."""
        mine = self._ranges.get((position.stream, position.partition), [])
        at = bisect_right(mine, (position.offset, 1 << 63)) - 1
        return mine[at][0] if at >= 0 and position.offset <= mine[at][1] else None
