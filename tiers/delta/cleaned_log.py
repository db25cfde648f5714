"""The log of a table whose older commits others have removed: what is left, and what its checkpoint keeps.

An engine that maintains a table makes commits of its own (OPTIMIZE, VACUUM) and removes old ones of anybody.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lethe.tiers.delta.log import Commit, checkpoint_path, log_path, read_checkpoint, read_commit
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import Objects


def info_left(objects: Objects, table: Table, version: int, key: str) -> list[tuple[int, Any]]:
    """Say what the commits after `version` that are left said under a key: (version, parsed JSON), oldest first."""
    left = reversed(list(_newest_first(objects, table, version)))
    return [(at, json.loads(commit.info[key])) for at, commit in left if key in commit.info]


def transactions(objects: Objects, table: Table) -> dict[str, int] | None:
    """Return the last version of every transaction id of a table, from its newest checkpoint and the commits after it.

    None where the checkpoint is of a kind that is not read here, in several parts for one.
    """
    newest = read_checkpoint(objects.get(checkpoint_path(table.name)) or b"")
    data = (
        None if newest is None else objects.get(f"{table.name}/_delta_log/{newest:020d}.checkpoint.parquet")
    )
    if newest is None or data is None:
        return None
    try:
        rows = pq.read_table(io.BytesIO(data), columns=["txn"]).column("txn").to_pylist()
        known = {str(row["appId"]): int(row["version"]) for row in rows if row and row["appId"] is not None}
    except (pa.ArrowException, LookupError, TypeError, ValueError):
        return None
    after = list(_newest_first(objects, table, newest))
    if len(after) != table.version - newest:
        return None
    for _, commit in reversed(after):
        known |= commit.transactions
    return known


def _newest_first(objects: Objects, table: Table, version: int) -> Iterator[tuple[int, Commit]]:
    """Yield the commits that a handle has seen, from the newest down to the first that is gone, or to `version`."""
    for at in range(table.version, version, -1):
        data = objects.get(path := log_path(table.name, at))
        if data is None:
            return
        yield at, read_commit(data, path)
