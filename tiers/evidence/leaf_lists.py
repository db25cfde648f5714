"""Before rows leave the archive while others of their commit stay: all leaf hashes are kept for the proof of those.

A leaf file in groups needs the rows of a group for the leaf hashes of the others. Rows leave one by one only where a
country has an archive period of its own. Forgetting on time comes first: nothing that is damaged, missing or forged
keeps a row here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.verify.whole import Known, keep
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import STREAM_PATTERN
from lethe.schemas.retention.calendar import Month
from lethe.tiers.archive.commit_rows import archive_rows
from lethe.tiers.evidence.log_store import LogStore, published_log
from lethe.tiers.evidence.publication import noted_version
from lethe.tiers.evidence.replay_log import unpublished
from lethe.tiers.ledger.commits import LedgerEntry, TopicPartition, ledger_entries, topic_partitions
from lethe.tiers.warehouse import Warehouse

log = logging.getLogger("lethe.sweep")

_ROW: Final = "row"
At = tuple[int, int | None]
"""Offset and index."""


@dataclass
class LeafLists:
    """Keeps leaf hashes during one pass over a month of the archive.

    `patient`: rows of commits that are not published yet wait for it. `waiting` counts those rows, `unkept` names the
    commits whose leaf hashes could not be kept, by stream, partition and first offset.
    """

    warehouse: Warehouse
    history: KeyHistory
    month: Month
    patient: bool
    waiting: int = 0
    unkept: set[tuple[str, int, int]] = field(default_factory=set)
    _logs: dict[TopicPartition, Log | None] = field(default_factory=dict)
    _known: dict[TopicPartition, list[LedgerEntry]] | None = None
    _noted: int = -1
    _replays: list[LedgerEntry] | None = None

    def keep(self, rows: pa.Table, leaving: pa.Table) -> pa.Array:
        """Keep the hashes of every commit some of whose rows in scope are among `leaving`, rows of one file.

        `rows` are all rows of the file. Returns which of `leaving` have to wait (booleans): rows of a commit that is
        not in its log yet, which could not be made without them. What no commit accounts for waits for nothing, nor
        does what a damaged log or leaf file has to prove. Raises what the log's store raises.
        """
        waits = np.zeros(leaving.num_rows, np.bool_)
        leaving = leaving.append_column(_ROW, pa.array(np.arange(leaving.num_rows)))
        leaving = leaving.filter(pc.is_valid(leaving.column("integrity_hash")))
        distinct = leaving.group_by(["stream", "partition"]).aggregate([]).to_pylist()
        for topic_partition in sorted(
            {(one["stream"], one["partition"]) for one in distinct} & self._places().keys()
        ):
            here, mine = _of(rows, topic_partition), _of(leaving, topic_partition)
            for account in _covering(self._accounts(topic_partition), mine.column("offset").to_numpy()):
                some = _between(mine, account)
                waits[some.filter(self._keep(account, _between(here, account), some))[_ROW].to_numpy()] = True
        self.waiting += int(waits.sum())
        return pa.array(waits)

    def _keep(self, account: LedgerEntry, here: pa.Table, leaving: pa.Table) -> pa.Array:
        """Keep the hashes of one commit; returns which of its leaving rows wait."""
        try:
            positions: set[At] = set()
            if account.commitment.count:
                log = self._log(account.topic_partition)
                found = log.covering(account.first) if log else None
                if log is None or found is None:
                    return self._unpublished(account, leaving)
                known = Known.of(log, found[1])
                positions = {(row.offset, row.index) for row in known.file.rows}
                gone = set(_positions(leaving)) & positions  # what was replayed from quarantine is not
                if gone and gone != positions and not known.file.whole:
                    self._keep_logged(log, found[1], known, positions, here)
            return self._replayed(account, positions, leaving)
        except IntegrityError as error:
            self._not_kept(account, str(error))
        return _all(leaving, False)

    def _keep_logged(self, log: Log, entry: Entry, known: Known, positions: set[At], here: pa.Table) -> None:
        topic_partition = entry.stream, entry.partition
        if not positions <= set(_positions(here)):
            here = archive_rows(
                self.warehouse, topic_partition, self.month, entry.first_offset, entry.last_offset
            )
        keep(LogStore.of(self.warehouse.objects, *topic_partition), log, entry, known, here)

    def _unpublished(self, account: LedgerEntry, leaving: pa.Table) -> pa.Array:
        """Tell whether the rows of a commit that its log does not have wait: not if it had it, and not for ever."""
        if account.version <= self._noted:
            raise IntegrityError("its log had it, and has it no more")
        if not self.patient:
            raise IntegrityError("it is not in its log, and its rows have waited long enough")
        return _all(leaving, True)

    def _replayed(self, account: LedgerEntry, positions: set[At], leaving: pa.Table) -> pa.Array:
        """Say which rows wait because a replay may have added them that is not in the log of replays yet.

        Which ones it has added only its rows tell: those in its offsets that the commit was logged without wait.
        """
        pending = [
            one
            for one in self._unpublished_replays()
            if one.topic_partition == account.topic_partition
            and one.first <= account.last
            and account.first <= one.last
        ]
        if not pending or not self.patient:
            return _all(leaving, False)
        return pa.array(
            [
                at not in positions and any(one.first <= at[0] <= one.last for one in pending)
                for at in _positions(leaving)
            ],
            pa.bool_(),
        )

    def _not_kept(self, account: LedgerEntry, why: str) -> None:
        commit = *account.topic_partition, account.first
        if commit not in self.unkept:
            self.unkept.add(commit)
            log.warning(
                "rows of offsets %d to %d of %s/%d leave the archive, and the leaf hashes for the proof of those that "
                "stay could not be kept: %s", account.first, account.last, *account.topic_partition, why,
            )  # fmt: skip

    def _places(self) -> dict[TopicPartition, list[LedgerEntry]]:
        """Return the topic-partitions that there were commits of, with what was read of them."""
        if self._known is None:
            # The version first: what is published meanwhile is taken for unpublished, not for lost.
            self._noted = noted_version(self.warehouse)
            self.warehouse.publish()
            # Names go into paths: what no stream can be called was not committed, whatever the ledger says.
            known = (
                topic_partition
                for topic_partition in topic_partitions(self.warehouse)
                if STREAM_PATTERN.fullmatch(topic_partition[0])
            )
            self._known = {topic_partition: [] for topic_partition in known}
        return self._known

    def _accounts(self, topic_partition: TopicPartition) -> list[LedgerEntry]:
        known = self._places()
        if not known[topic_partition]:
            known[topic_partition] = ledger_entries(self.warehouse, only=topic_partition).get(
                topic_partition, []
            )
        return known[topic_partition]

    def _log(self, topic_partition: TopicPartition) -> Log | None:
        if topic_partition not in self._logs:
            self._logs[topic_partition] = published_log(self.warehouse.objects, self.history, topic_partition)
        return self._logs[topic_partition]

    def _unpublished_replays(self) -> list[LedgerEntry]:
        if self._replays is None:
            try:
                pending = unpublished(self.warehouse, self.history)
            except IntegrityError:
                pending = []  # a log that is damaged had hashes of all rows: nothing is kept of them
            self._replays = [a for a in pending if a.commitment.count and a.version > self._noted]
        return self._replays


def _covering(known: list[LedgerEntry], offsets: npt.NDArray[np.int64]) -> Iterator[LedgerEntry]:
    """Yield the accounts that cover some of the offsets, which ascend."""
    for account in known:
        low, high = np.searchsorted(offsets, account.first), np.searchsorted(offsets, account.last, "right")
        if low < high:
            yield account


def _of(rows: pa.Table, topic_partition: TopicPartition) -> pa.Table:
    """Return the rows of a topic-partition, by offset."""
    stream, partition = topic_partition
    same = pc.and_(
        pc.equal(rows["stream"], stream), pc.equal(rows["partition"], pa.scalar(partition, pa.int32()))
    )
    return rows.filter(same).sort_by("offset")


def _between(rows: pa.Table, account: LedgerEntry) -> pa.Table:
    """Choose of rows by offset those that a commit accounts for."""
    offsets = rows.column("offset").to_numpy()
    low = int(np.searchsorted(offsets, account.first, "left"))
    return rows.slice(low, int(np.searchsorted(offsets, account.last, "right")) - low)


def _positions(rows: pa.Table) -> list[At]:
    return list(zip(rows["offset"].to_pylist(), rows["index"].to_pylist(), strict=True))


def _all(rows: pa.Table, value: bool) -> pa.Array:
    return pa.array([value] * rows.num_rows, pa.bool_())
