"""Before rows leave the archive while others of their commit stay: all leaf hashes are kept for the proof of those.

A leaf file in groups needs the rows of a group for the leaf hashes of the others. Rows leave one by one only where a
country has an archive period of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from integrity.log import CHECKPOINT, Entry, Log, log_origin
from integrity.signing import KeyHistory
from integrity.whole import Known, keep
from schemas.errors import TransientError
from schemas.retention import Month
from tiers.accounts import Place
from tiers.commit_rows import archive_rows
from tiers.logstore import LogStore
from tiers.warehouse import Warehouse


@dataclass
class LeafLists:
    """Keeps leaf hashes during one pass over a month of the archive."""

    warehouse: Warehouse
    history: KeyHistory
    month: Month
    _logs: dict[Place, Log | None] = field(default_factory=dict)

    def keep(self, rows: pa.Table, leaving: pa.Table) -> None:
        """Keep those of every commit some of whose rows in scope are among `leaving`, rows of one file of the month.

        `rows` are all rows of the file. Raises `TransientError` when such a commit is not in its log yet: its log could
        not be made without these rows. Raises `IntegrityError` when its log is damaged.
        """
        leaving = leaving.filter(pc.is_valid(leaving.column("integrity_hash")))
        places = leaving.group_by(["stream", "partition"]).aggregate([]).to_pylist()
        for place in sorted((row["stream"], row["partition"]) for row in places):
            here, mine = _of(rows, place), _of(leaving, place)
            for log, entry in self._entries(place, mine.column("offset").to_pylist()):
                self._keep(log, entry, place, _between(here, entry), _between(mine, entry))

    def _entries(self, place: Place, offsets: list[int]) -> Iterator[tuple[Log, Entry]]:
        """The log entries that cover the offsets, which ascend."""
        log, last = self._log(place), -1
        for offset in offsets:
            if offset <= last:
                continue
            found = log.covering(offset) if log else None
            if log is None or found is None:
                raise TransientError(
                    f"rows of {place[0]}/{place[1]} are to leave the archive, but offset {offset} is not in the "
                    "integrity log yet: they leave once it is; lethe doctor says what keeps it from being published"
                )
            yield log, found[1]
            last = found[1].last_offset

    def _keep(self, log: Log, entry: Entry, place: Place, here: pa.Table, leaving: pa.Table) -> None:
        known = Known.of(log, entry)
        positions = {(row.offset, row.index) for row in known.file.rows}
        gone = _positions(leaving) & positions  # what was replayed from quarantine is not
        if known.file.whole or not gone or gone == positions:
            return
        if not positions <= _positions(here):
            here = archive_rows(self.warehouse, place, self.month, entry.first_offset, entry.last_offset)
        keep(LogStore.of(self.warehouse.objects, *place), log, entry, known, here)

    def _log(self, place: Place) -> Log | None:
        if place not in self._logs:
            store = LogStore.of(self.warehouse.objects, *place)
            there = store.get(CHECKPOINT) is not None
            origin = log_origin(self.history.name, *place)
            self._logs[place] = Log(store, self.history, origin) if there else None
        return self._logs[place]


def _of(rows: pa.Table, place: Place) -> pa.Table:
    """The rows of a topic-partition, by offset."""
    stream, partition = place
    same = pc.and_(
        pc.equal(rows["stream"], stream), pc.equal(rows["partition"], pa.scalar(partition, pa.int32()))
    )
    return rows.filter(same).sort_by("offset")


def _between(rows: pa.Table, entry: Entry) -> pa.Table:
    """Of rows by offset those that an entry covers."""
    offsets = rows.column("offset").to_numpy()
    low = int(np.searchsorted(offsets, entry.first_offset, "left"))
    return rows.slice(low, int(np.searchsorted(offsets, entry.last_offset, "right")) - low)


def _positions(rows: pa.Table) -> set[tuple[int, int | None]]:
    return set(zip(rows["offset"].to_pylist(), rows["index"].to_pylist(), strict=True))
