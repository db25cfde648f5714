"""The log of replays: published from what the ledger says of them, like every other log.

Its entries are in the order of the commits, because their offsets lie among those of commits that came before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

import pyarrow as pa

from lethe.integrity.log import leaves, outside
from lethe.integrity.log.entries import Log, LogCommit, replay_order
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import KeyHistory, Signer
from lethe.integrity.log.store import CHECKPOINT, REPLAYS
from lethe.integrity.verify.replays import At
from lethe.schemas.errors import IntegrityError
from lethe.tiers.archive.commit_rows import rows_of_commit
from lethe.tiers.commit.ledger_entries import Hashed
from lethe.tiers.evidence.log_store import LogStore, published_log
from lethe.tiers.ledger.commits import LedgerEntry, replays, require_authentic
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.warehouse import Warehouse

_AT_ONCE: Final = 256
_LEAVES: Final = "leaves"
_OUTSIDE: Final = "outside"


def replay_log(warehouse: Warehouse, history: KeyHistory) -> Log | None:
    """Return the log of replays as it is published; None when nothing was ever replayed and published."""
    return published_log(warehouse.objects, history, REPLAYS)


def unpublished(warehouse: Warehouse, history: KeyHistory) -> list[LedgerEntry]:
    """Say what the ledger says of replays and their log lacks, in its order. Raises `IntegrityError` as `Log` does."""
    log = replay_log(warehouse, history)
    end = replay_order(log.entry(log.size - 1)) if log and log.size else (-1, "", -1, -1)
    return [a for a in replays(warehouse) if (a.version, a.stream, a.partition, a.first) > end]


def publish_replays(warehouse: Warehouse, signer: Signer, now: int) -> int:
    """Publish what the ledger says of replays and their log lacks; returns how many entries were added.

    The logs of the topic-partitions come first. Raises as `publish` does, and `IntegrityError` when rows are not
    those that were committed.
    """
    todo = unpublished(warehouse, signer.history)
    store = LogStore.of(warehouse.objects, *REPLAYS)
    require_authentic(warehouse, todo, begins=store.get(CHECKPOINT) is None)
    for start in range(0, len(todo), _AT_ONCE):
        commits = [_commit(warehouse, a) for a in todo[start : start + _AT_ONCE]]
        publish(store, signer, *REPLAYS, commits, now, warehouse.anchors)
        fail_point("log.published")
    return len(todo)


def keep_leaves(warehouse: Warehouse, hashes: Iterable[Hashed]) -> None:
    """Put the leaf files, and files of rows out of scope, of a replay that is about to be committed.

    Nothing refers to them before it is published. Its rows lie among those of earlier commits: once they are compacted,
    only these files say which they were.
    """
    store = LogStore.of(warehouse.objects, *REPLAYS)
    for one in hashes:
        for folder, file in ((_LEAVES, one.leaf_file), (_OUTSIDE, one.outside.file)):
            if file:
                store.put(f"{folder}/{leaves.digest(file).hex()}", file)


def _commit(warehouse: Warehouse, account: LedgerEntry) -> LogCommit:
    topic_partition, offsets = account.topic_partition, (account.first, account.last)
    where = f"offsets {account.first} to {account.last} of {account.stream}/{account.partition}"
    try:
        rows = rows_of_commit(warehouse, *topic_partition, *offsets, account.version)
        told = account.declared
        commit = LogCommit.of(rows, *topic_partition, offsets, account.version, True, told)
        if not account.is_of(commit.entry):
            # Its files were rewritten meanwhile: these are the rows of other commits, too.
            rows = _its_own(warehouse, account, rows)
            commit = LogCommit.of(rows, *topic_partition, offsets, account.version, True, told)
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(
            f"the replayed rows of {where} cannot be read back ({type(error).__name__}): nothing was signed"
        ) from None
    if not account.is_of(commit.entry):
        raise IntegrityError(
            f"the replayed rows of {where} are not those that were committed: nothing was signed"
        )
    return commit


def _its_own(warehouse: Warehouse, account: LedgerEntry, rows: pa.Table) -> pa.Table:
    """Return the rows at the positions of the files that lead to the roots the commit said.

    Nothing has signed them yet: a file that is not called by its digest is not as it was put.
    """
    store = LogStore.of(warehouse.objects, *REPLAYS)
    mine: set[At] = set()
    for data in _as_put(store, _LEAVES):
        with suppress(IntegrityError):
            logged = leaves.decode(data, account.first)
            if logged.root() == account.commitment.root:
                mine |= {(row.offset, row.index) for row in logged.rows}
    for data in _as_put(store, _OUTSIDE) if account.outside else ():
        with suppress(IntegrityError):
            parts = outside.decode(data, account.first)
            if account.outside and outside.root_of(parts) == account.outside.root:
                mine |= {at for part in parts for at in part.positions}
    at = zip(rows.column("offset").to_pylist(), rows.column("index").to_pylist(), strict=True)
    return rows.filter(pa.array([position in mine for position in at], pa.bool_()))


def _as_put(store: LogStore, folder: str) -> Iterator[bytes]:
    for path in store.list(folder):
        data = store.get(path) or b""
        if path == f"{folder}/{leaves.digest(data).hex()}":
            yield data
