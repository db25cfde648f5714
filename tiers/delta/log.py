"""The log of a Delta table as far as appending needs it: what a commit in it says to others, and the bytes of one more.

Format: Delta transaction log protocol, commits of tables with reader version 1 and writer version 2. Such a commit is a
file of JSON actions, one a line, whose name is its version; whoever creates the file has made the commit.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson

from lethe.schemas.errors import LetheError

WRITER_VERSION: Final = 2
"""The last writer version whose appends need nothing but what is written here."""

_INFO: Final = "commitInfo"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file ready to be added: its path below the table, its size in bytes and where it belongs.

    `sha256` (hexadecimal) is that of its bytes where they were written here, else empty.
    """

    path: str
    size: int
    partition: Mapping[str, str]
    rows: int
    modified_ms: int
    stats: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that is in the log: its transaction ids with their versions, and what it says of itself.

    `changes_table`: schema, configuration or protocol may be others from here on.
    """

    transactions: Mapping[str, int]
    info: Mapping[str, Any]
    changes_table: bool


def log_path(table: str, version: int) -> str:
    """Say where a commit of a table is, below the root of the warehouse."""
    return f"{table}/_delta_log/{version:020d}.json"


def checkpoint_path(table: str) -> str:
    """Say where it says which checkpoint of a table's log is the newest."""
    return f"{table}/_delta_log/_last_checkpoint"


def read_checkpoint(data: bytes) -> int | None:
    """Return the version of the newest checkpoint; None where that cannot be read."""
    try:
        return int(orjson.loads(data)["version"])
    except (ValueError, TypeError, LookupError):
        return None


def read_commit(data: bytes, where: str) -> Commit:
    """Read a commit; raises `LetheError` that names `where` when it is damaged."""
    transactions: dict[str, int] = {}
    info: dict[str, Any] = {}
    changes = False
    try:
        for line in data.splitlines():
            action = orjson.loads(line) if line.strip() else {}
            if (transaction := action.get("txn")) is not None:
                transactions[str(transaction["appId"])] = int(transaction["version"])
            info |= action.get(_INFO) or {}
            changes |= "metaData" in action or "protocol" in action
    except (ValueError, TypeError, LookupError, AttributeError):
        raise LetheError(f"{where} is damaged; bring it back from a backup") from None
    return Commit(transactions, info, changes)


def append_commit(
    add: Sequence[DataFile],
    transactions: Mapping[str, int],
    said: Mapping[str, str],
    partitioned_by: Sequence[str],
) -> bytes:
    """Return the bytes of a commit that adds files. No two are the same: who finds these in the log has written
    them.
    """
    info = {
        "timestamp": time.time_ns() // 1_000_000,
        "operation": "WRITE",
        "operationParameters": {
            "mode": "Append",
            "partitionBy": orjson.dumps(list(partitioned_by)).decode(),
        },
        "isBlindAppend": True,
        "engineInfo": "lethe",
        "txnId": secrets.token_hex(16),
    }
    actions: list[dict[str, Any]] = [{_INFO: {**said, **info}}]
    actions += (
        {
            "add": {
                "path": quote(file.path, safe="/="),
                "partitionValues": dict(file.partition),
                "size": file.size,
                "modificationTime": file.modified_ms,
                "dataChange": True,
                "stats": file.stats,
            }
        }
        for file in add
    )
    actions += ({"txn": {"appId": source, "version": last}} for source, last in transactions.items())
    return b"\n".join(map(orjson.dumps, actions)) + b"\n"
