"""The log of a table on an object store, copied in few requests and opened from the copy.

The library asks some fifteen times to open a table, one after the other; the log since the last checkpoint is three
requests: which checkpoint, what came after it, and those side by side. A copy is for reading: what commits, or looks at
what lies in the store, opens the table there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from lethe.schemas.errors import TransientError
from lethe.tiers.delta.log import checkpoint_path, log_path
from lethe.tiers.store.objects import Objects

_COMMIT: Final = re.compile(r"[0-9]{20}\.json")
_AT_ONCE: Final = 16
_MOST: Final = 256
"""Commits after the last checkpoint beyond which the library reads the log itself."""
_SMALL: Final = 1 << 20
"""A file of no more bytes is fetched as a whole."""
_MEMORY: Final = "/dev/shm"  # noqa: S108  (a folder of its own is made there)


def copied(objects: Objects, table: str) -> tuple[DeltaTable, TemporaryDirectory[str]] | None:
    """Open a table from a copy of its log, and return the folder that it stays in; it goes with its last reference.

    None where the store is this machine's disk, where the log is not as Lethe writes it, or where it changed meanwhile:
    then the library has to open the table itself. The copy lies in memory where there is such a folder: bounds of
    tokens are in it.
    """
    if "://" not in objects.root:
        return None
    try:
        found = _log(objects, table)
        if found is None:
            return None
        folder = TemporaryDirectory(prefix="lethe-log-", dir=_MEMORY if Path(_MEMORY).is_dir() else None)
        (Path(folder.name) / "_delta_log").mkdir()
        for path, data in found.items():
            (Path(folder.name) / "_delta_log" / Path(path).name).write_bytes(data)
        return DeltaTable(folder.name), folder
    except (DeltaError, OSError, TransientError):
        return None


def _log(objects: Objects, table: str) -> dict[str, bytes] | None:
    """Fetch the last checkpoint and the commits after it; None where they are not whole."""
    last = objects.get(checkpoint_path(table))
    wanted = []
    first = 0
    if last is not None:
        said = orjson.loads(last)
        if said.keys() & {"parts", "v2Checkpoint"}:
            return None
        first = int(said["version"]) + 1
        wanted.append(f"{table}/_delta_log/{first - 1:020d}.checkpoint.parquet")
    after = log_path(table, first - 1) if first else None
    names = {p for p in objects.list(f"{table}/_delta_log", after) if _COMMIT.fullmatch(Path(p).name)}
    commits = [log_path(table, first + number) for number in range(len(names))]
    if not names <= set(commits) or len(commits) > _MOST or not (wanted or commits):
        return None
    wanted += commits
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        fetched = dict(zip(wanted, threads.map(objects.get, wanted), strict=True))
    if any(data is None for data in fetched.values()):
        return None
    kept = {path: data for path, data in fetched.items() if data is not None}
    return kept if last is None else {checkpoint_path(table): last, **kept}


def file_system(
    objects: Objects, table: str, url: str, storage: Mapping[str, str], sizes: Mapping[str, int]
) -> Any:
    """Return what a dataset reads files of a table through: on an object store a small one is one request."""
    if "://" not in objects.root:
        return None
    # Not above: look-ups do without datasets, and start without what these bring in.
    from deltalake.fs import DeltaStorageHandler
    from pyarrow.fs import PyFileSystem

    class Handler(DeltaStorageHandler):
        def open_input_file(self, path: str) -> Any:
            size = sizes.get(path)
            data = objects.get(f"{table}/{path}") if size is not None and size <= _SMALL else None
            return super().open_input_file(path) if data is None else pa.BufferReader(data)

    return PyFileSystem(Handler(url, dict(storage) or None, dict(sizes)))
