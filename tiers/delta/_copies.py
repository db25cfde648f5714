"""The log of a table on an object store, copied in few requests and opened from the copy.

The library asks some fifteen times to open a table, one after the other; the log since the last checkpoint is three
requests: which checkpoint, what came after it, and those side by side. A copy is for reading: what commits, or looks at
what lies in the store, opens the table there.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp
from threading import Lock
from typing import Any, Final
from weakref import finalize

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
_KEPT: Final = 32 << 20
_MEMORY: Final = "/dev/shm"  # noqa: S108  (a folder of its own is made there)
_PREFIX: Final = "lethe-log-"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNLOCKED_SECONDS: Final = 60
_MOST_SWEPT: Final = 10_000
_swept: set[Path] = set()


class Copy:
    """The folder of a copied log, for its owner alone; it goes with the last reference to this, or with the process.

    What a process leaves that is killed goes with the first copy of the next one: a folder is locked as long as it is
    used, whatever process number it is used under.
    """

    def __init__(self) -> None:
        base = Path(_MEMORY if Path(_MEMORY).is_dir() else gettempdir())
        if base not in _swept:
            _swept.add(base)
            _sweep(base)
        self.folder = Path(mkdtemp(prefix=_PREFIX, dir=base))
        lock = os.open(self.folder, _FOLDER)
        fcntl.flock(lock, fcntl.LOCK_SH)
        finalize(self, _end, self.folder, lock)
        self.log = self.folder / "_delta_log"
        self.log.mkdir()


def _end(folder: Path, lock: int) -> None:
    rmtree(folder, ignore_errors=True)
    os.close(lock)


def _sweep(base: Path) -> None:
    """Remove this user's copies that nobody uses. One made a moment ago may not be locked yet."""
    latest = time.time() - _UNLOCKED_SECONDS
    for folder in islice(base.glob(f"{_PREFIX}*"), _MOST_SWEPT):
        try:
            status = folder.lstat()
            if status.st_uid != os.getuid() or status.st_mtime > latest:
                continue
            lock = os.open(folder, _FOLDER)
        except OSError:
            continue  # gone, or no folder
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            rmtree(folder, ignore_errors=True)
        os.close(lock)


def copied(objects: Objects, table: str) -> tuple[DeltaTable, Copy] | None:
    """Open a table from a copy of its log, and return the copy, which the table needs as long as it is used.

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
        copy = Copy()
        for path, data in found.items():
            (copy.log / Path(path).name).write_bytes(data)
        return DeltaTable(str(copy.folder)), copy
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


class SmallFiles:
    """The small files of a table that were read last, 32 MB at most: they are asked for once, whoever reads them again.

    A file never changes: its name has a digest of what is in it.
    """

    def __init__(self, objects: Objects, table: str) -> None:
        self.remote = "://" in objects.root
        self._objects, self._table = objects, table
        self._kept: dict[str, bytes] = {}
        self._lock = Lock()

    def get(self, path: str) -> bytes | None:
        """Return the bytes of a file; None when it is gone."""
        with self._lock:
            if (data := self._kept.pop(path, None)) is not None:
                self._kept[path] = data  # the last that was read
                return data
        data = self._objects.get(f"{self._table}/{path}")
        if data is not None:
            with self._lock:
                self._kept[path] = data
                while sum(map(len, self._kept.values())) > _KEPT:
                    del self._kept[next(iter(self._kept))]
        return data


def file_system(files: SmallFiles, url: str, storage: Mapping[str, str], actions: Any) -> Any:
    """Return what a dataset reads files of a table through: on an object store a small one is one request.

    `actions` are the files as the library lists them; on this machine's disk nobody goes through them.
    """
    if not files.remote:
        return None
    listed = pa.RecordBatchReader.from_stream(actions).read_all()
    sizes = dict(zip(*(listed.column(n).to_pylist() for n in ("path", "size_bytes")), strict=True))
    # Not above: look-ups do without datasets, and start without what these bring in.
    from deltalake.fs import DeltaStorageHandler
    from pyarrow.fs import PyFileSystem

    class Handler(DeltaStorageHandler):
        def open_input_file(self, path: str) -> Any:
            size = sizes.get(path)
            data = files.get(path) if size is not None and size <= _SMALL else None
            return super().open_input_file(path) if data is None else pa.BufferReader(data)

    return PyFileSystem(Handler(url, dict(storage) or None, sizes))
