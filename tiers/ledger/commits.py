"""What commits said of each topic-partition, as far as the log's entries go: from the ledger or the commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.log.commitment import Commitment
from lethe.integrity.log.entries import REPLAYS
from lethe.tiers.commit import ledger_entries as ledger
from lethe.tiers.delta.table import Table
from lethe.tiers.warehouse import Warehouse

TopicPartition = tuple[str, int]
"""A topic-partition: stream and partition."""

_COLUMNS: Final = (
    "stream", "partition", "first_offset", "last_offset", "in_scope", "merkle_root", "rows_sha3_512", "version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """What a commit said of one topic-partition. `version` is that of the metadata table."""

    stream: str
    partition: int
    first: int
    last: int
    commitment: Commitment
    version: int

    @property
    def place(self) -> TopicPartition:
        """The topic-partition."""
        return self.stream, self.partition


def accounts(
    warehouse: Warehouse, after: int = -1, only: TopicPartition | None = None
) -> dict[TopicPartition, list[Account]]:
    """What the ledger says of versions later than `after`, of one topic-partition or all, in order of the offsets.

    What was replayed has a log of its own: see `replays`.
    """
    chosen = (pc.field("version") > after) & (pc.field("source") != ledger.REPLAYED)
    if only is not None:
        partition = pa.scalar(only[1], pa.int32())
        chosen = chosen & (pc.field("stream") == only[0]) & (pc.field("partition") == partition)
    rows = warehouse.ledger.delta.to_pyarrow_dataset().to_table(columns=list(_COLUMNS), filter=chosen)
    return _by_place(_account(row, row["version"]) for row in rows.to_pylist())


def said_accounts(metadata: Table, version: int) -> dict[TopicPartition, list[Account]]:
    """The same, of the commits after `version`, from what they said themselves."""
    return _by_place(
        _account({**entry, "merkle_root": bytes.fromhex(entry["merkle_root"]),
                  "rows_sha3_512": bytes.fromhex(entry["rows_sha3_512"])}, at)
        for at, said in metadata.info_since(version, ledger.COMMIT_INFO)
        for entry in said
        if entry["source"] != ledger.REPLAYED
    )  # fmt: skip


def replays(warehouse: Warehouse) -> list[Account]:
    """What the ledger says of replays from quarantine, in the order their log has."""
    chosen = pc.field("source") == ledger.REPLAYED
    rows = warehouse.ledger.delta.to_pyarrow_dataset().to_table(columns=list(_COLUMNS), filter=chosen)
    found = (_account(row, row["version"]) for row in rows.to_pylist())
    return sorted(found, key=lambda a: (a.version, a.stream, a.partition, a.first))


def places(warehouse: Warehouse) -> list[TopicPartition]:
    """What has a log: every topic-partition the ledger knows, in order, and the replays if there were any."""
    rows = warehouse.ledger.delta.to_pyarrow_dataset().to_table(columns=["stream", "partition", "source"])
    replayed = pc.equal(rows.column("source"), ledger.REPLAYED)
    distinct = rows.group_by(["stream", "partition"]).aggregate([]).to_pylist()
    found = sorted((row["stream"], row["partition"]) for row in distinct)
    return [REPLAYS, *found] if pc.any(replayed).as_py() else found


def _account(row: Mapping[str, Any], version: int) -> Account:
    commitment = Commitment(row["in_scope"], row["merkle_root"], row["rows_sha3_512"])
    return Account(
        row["stream"], row["partition"], row["first_offset"], row["last_offset"], commitment, version
    )


def _by_place(found: Iterable[Account]) -> dict[TopicPartition, list[Account]]:
    grouped: dict[TopicPartition, list[Account]] = {}
    for account in sorted(found, key=lambda a: (a.stream, a.partition, a.first)):
        grouped.setdefault(account.place, []).append(account)
    return grouped
