"""What commits said of each topic-partition, as far as the log's entries go: from the ledger or the commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.log.commitment import Commitment
from lethe.integrity.log.entries import Entry
from lethe.integrity.log.outside import DataFiles, OutsideCommitment
from lethe.integrity.log.store import REPLAYS
from lethe.keys.anchors import LedgerKey
from lethe.schemas.errors import IntegrityError
from lethe.tiers.commit import ledger_entries as ledger
from lethe.tiers.ledger.reading import read_ledger, require_ledger
from lethe.tiers.warehouse import Warehouse

TopicPartition = tuple[str, int]
"""A topic-partition: stream and partition."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What a commit said of one topic-partition. `version` is that of the metadata table.

    `authentic`: it is what a holder of the ledger key committed; False without a key. `outside` is what it said of rows
    out of scope; None for a commit of a release that said nothing.
    """

    stream: str
    partition: int
    first: int
    last: int
    commitment: Commitment
    version: int
    authentic: bool = False
    outside: OutsideCommitment | None = None
    declarations: tuple[bytes, ...] = ()
    data_files: DataFiles = field(default_factory=dict)
    """Those that rows out of scope were written to; none in rows of a release that did not say so."""

    @property
    def topic_partition(self) -> TopicPartition:
        """The topic-partition."""
        return self.stream, self.partition

    @property
    def declared(self) -> tuple[bytes, ...] | None:
        """The declarations that its log entry names, None if that is of version 1 and names none."""
        return None if self.outside is None else self.declarations

    def is_of(self, entry: Entry) -> bool:
        """Tell whether a log entry commits to the very rows that the commit said it had."""
        outside = None if entry.outside is None else entry.outside.commitment
        return (entry.commitment, outside) == (self.commitment, self.outside)


def ledger_entries(
    warehouse: Warehouse, after: int = -1, only: TopicPartition | None = None
) -> dict[TopicPartition, list[LedgerEntry]]:
    """Read the ledger's rows of versions later than `after`, of one topic-partition or all, in order of the offsets.

    What was replayed has a log of its own: see `replays`.
    """
    chosen = (pc.field("version") > after) & (pc.field("source") != ledger.REPLAYED)
    if only is not None:
        partition = pa.scalar(only[1], pa.int32())
        chosen = chosen & (pc.field("stream") == only[0]) & (pc.field("partition") == partition)
    rows = require_ledger(warehouse, chosen)
    key = warehouse.ledger_key
    return _by_place(_entry(row, row["version"], key) for row in rows.to_pylist())


def committed_since(warehouse: Warehouse, version: int) -> dict[TopicPartition, list[LedgerEntry]]:
    """Read the same of the commits after `version`, from their commit info."""
    key = warehouse.ledger_key
    return _by_place(
        _entry({**entry, **ledger.from_hex(entry)}, at, key)
        for at, info in warehouse.metadata.info_since(version, ledger.COMMIT_INFO)
        for entry in info
        if entry["source"] != ledger.REPLAYED
    )


def replays(warehouse: Warehouse) -> list[LedgerEntry]:
    """Read the ledger's rows of replays from quarantine, in the order their log has."""
    chosen = pc.field("source") == ledger.REPLAYED
    rows = require_ledger(warehouse, chosen)
    key = warehouse.ledger_key
    found = (_entry(row, row["version"], key) for row in rows.to_pylist())
    return sorted(found, key=lambda a: (a.version, a.stream, a.partition, a.first))


def topic_partitions(warehouse: Warehouse) -> list[TopicPartition]:
    """Name what has a log: every topic-partition the ledger knows, in order, and the replays if there were any."""
    rows, _ = read_ledger(warehouse)
    replayed = pc.equal(rows.column("source"), ledger.REPLAYED)
    distinct = rows.group_by(["stream", "partition"]).aggregate([]).to_pylist()
    found = sorted((row["stream"], row["partition"]) for row in distinct)
    return [REPLAYS, *found] if pc.any(replayed).as_py() else found


def require_authentic(warehouse: Warehouse, entries: Iterable[LedgerEntry], begins: bool) -> None:
    """Demand that a holder of the ledger key has committed what is going to be signed.

    What an earlier release committed may continue a log, but begin none. Raises `IntegrityError` otherwise.
    """
    key = warehouse.ledger_key
    for one in entries if key else ():
        where = f"offsets {one.first} to {one.last} of {one.stream}/{one.partition}"
        if key and not one.authentic and one.version >= key.since:
            raise IntegrityError(
                f"what the ledger says of {where} is not what was committed: bring the ledger and the archive back "
                "from the backup; nothing was signed"
            )
        if begins and not one.authentic:
            raise IntegrityError(
                f"the log that had {where} is gone: bring its folder back from the backup; nothing was signed"
            )


def _entry(row: Mapping[str, Any], version: int, key: LedgerKey | None) -> LedgerEntry:
    commitment = Commitment(row["in_scope"], row["merkle_root"], row["rows_sha3_512"])
    authentic = key is not None and ledger.authentic(row, key)
    return LedgerEntry(
        row["stream"],
        row["partition"],
        row["first_offset"],
        row["last_offset"],
        commitment,
        version,
        authentic,
        OutsideCommitment(row["out_of_scope"], row["out_of_scope_root"])
        if row.get("out_of_scope_root")
        else None,
        tuple(bytes.fromhex(digest) for digest in (row.get("declarations") or "").split()),
        _files(row.get("data_files")),
    )


def _files(text: str | None) -> DataFiles:
    try:
        return ledger.files_of_text(text)
    except ValueError:  # somebody has changed the row, which is not authentic then
        return {}


def _by_place(found: Iterable[LedgerEntry]) -> dict[TopicPartition, list[LedgerEntry]]:
    grouped: dict[TopicPartition, list[LedgerEntry]] = {}
    for entry in sorted(found, key=lambda e: (e.stream, e.partition, e.first)):
        grouped.setdefault(entry.topic_partition, []).append(entry)
    return grouped
