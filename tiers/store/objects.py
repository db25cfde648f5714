"""The objects of the warehouse: a local directory, or an object store (`object_store`). Nothing else writes there.

Locally a file is written beside its place, synced, renamed, and its directory synced: what was put is still there
after a power cut. An object store promises as much itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from lethe.keys.files import NotDurableError, create_file, make_directories, sync_directory
from lethe.keys.secret import Secret
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError

_NO_FILE: Final = {errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.ENXIO}
"""What opening says where there is no file: a folder in its place is none, nor is a link that leads to itself.

A pipe, a socket and a device are none either: who reads one waits for ever, or reads without end.
"""


class Objects(Protocol):
    """A flat store of immutable objects under relative paths."""

    root: str

    def get(self, path: str) -> bytes | None:
        """Return the object's bytes, None if there is none."""

    def get_range(self, path: str, start: int, length: int) -> bytes | None:
        """Read some of an object's bytes, fewer where it ends before; None if there is no such object."""

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing what is there."""

    def create(self, path: str, data: bytes) -> bool:
        """Write an object unless there is one already; atomic. False if there is."""

    def swap(self, path: str, old: bytes | None, new: bytes) -> bool:
        """Replace an object that holds `old` (None: there is none); atomic. False if something else is there."""

    def delete(self, *paths: str) -> None:
        """Remove objects; nothing happens where there is none."""

    def list(self, prefix: str, after: str | None = None) -> list[str]:
        """Return every path below a folder, or those that come after one, sorted."""

    def url(self, path: str) -> str:
        """Return the address of a table for a Delta reader."""

    def sync(self, path: str) -> bool:
        """Make sure an object that somebody else wrote survives a power cut. False if there is no such object.

        Raises `LetheError` when it is there but may not last.
        """


def open_objects(root: str, options: dict[str, str], what: str = "warehouse") -> Objects:
    """Return the store at a path or URL; raises `ConfigurationError` when it cannot be used. `what` names it there."""
    scheme = urlsplit(root).scheme
    if scheme in ("", "file"):
        return LocalObjects(Path(root.removeprefix("file://")), what)
    if scheme in ("s3", "s3a"):
        # Its client takes longer to bring in than a local warehouse takes to answer.
        from lethe.tiers.store.object_store import StoreObjects

        return StoreObjects(root, options, what)
    raise ConfigurationError(f"{what}: {scheme}:// is not supported; use a directory or s3://bucket/prefix")


class LocalObjects:
    """Objects in a directory of this machine."""

    def __init__(self, directory: Path, what: str = "warehouse") -> None:
        self._directory = directory.resolve()
        self._what = what
        self.root = str(self._directory)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{what} {directory}: {error.strerror}; choose another place") from None
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise ConfigurationError(f"{what} {directory}: no right to write there; choose another place")

    def get(self, path: str) -> bytes | None:
        """Return the object's bytes, None if there is none."""
        try:
            with opened(self._directory / path) as file:
                return file.read()
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise

    def get_range(self, path: str, start: int, length: int) -> bytes | None:
        """Read some of an object's bytes, fewer where it ends before; None if there is no such object."""
        try:
            with opened(self._directory / path) as file:
                return os.pread(file.fileno(), length, start)
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing what is there; raises `TransientError` when the disk refuses."""
        target = self._directory / path
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        try:
            make_directories(target.parent)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            sync_directory(target.parent)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _refused(error, self._what) from None

    def create(self, path: str, data: bytes) -> bool:
        """Write an object unless there is one already; atomic. False if there is.

        Raises `TransientError` when the disk refuses it, `LetheError` when it is there but may not last.
        """
        target = self._directory / path
        try:
            make_directories(target.parent)
            return create_file(target, Secret(data), 0o666)
        except NotDurableError as error:
            raise _not_durable(error) from error
        except OSError as error:
            raise _refused(error, self._what) from None

    def swap(self, path: str, old: bytes | None, new: bytes) -> bool:
        """Replace an object that holds `old` (None: there is none); atomic. False if something else is there.

        The lock file stays: whoever removed it could let two in at once.
        """
        target = self._directory / path
        try:
            make_directories(target.parent)
            # Opened for both, so that a pipe in its place keeps nobody waiting.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(
                os.open(target.with_name(f".{target.name}.lock"), flags, 0o666), "rb", buffering=0
            ) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self.get(path) != old:
                    return False
                self.put(path, new)
                return True
        except OSError as error:
            raise _refused(error, self._what) from None

    def delete(self, *paths: str) -> None:
        """Remove objects, durably; nothing happens where there is none."""
        targets = [self._directory / path for path in paths]
        for target in targets:
            target.unlink(missing_ok=True)
        for folder in dict.fromkeys(target.parent for target in targets):
            if folder.is_dir():
                sync_directory(folder)

    def list(self, prefix: str, after: str | None = None) -> list[str]:
        """Return every path below a folder, or those that come after one, sorted; unfinished files are not listed."""
        return sorted(path for path in self._walk(prefix) if after is None or path > after)

    def _walk(self, prefix: str) -> Iterator[str]:
        above = len(self.root) + 1
        for folder, _, files in os.walk(self._directory / prefix):
            inside = folder[above:] + "/" if len(folder) > above else ""
            yield from (inside + name for name in files if not name.startswith("."))

    def url(self, path: str) -> str:
        """Return the directory of a table."""
        return str(self._directory / path)

    def sync(self, path: str) -> bool:
        """Sync a file that the table library wrote, and its directory entry; False if there is no such file.

        Raises `LetheError` when it is there but may not last.
        """
        try:
            with opened(self._directory / path) as file:
                os.fsync(file.fileno())
            sync_directory((self._directory / path).parent)
        except OSError as error:
            if error.errno in _NO_FILE:
                return False
            raise _not_durable(error) from error
        return True


def opened(path: Path) -> BufferedReader:
    """Open a file to be read; raises `OSError` (one of `_NO_FILE` where there is none) without waiting for anybody."""
    found = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    return os.fdopen(found, "rb")


def _not_durable(error: OSError) -> LetheError:
    # Nothing to try again: what a disk failed to keep once, it may report as kept the next time.
    return LetheError(
        f"the warehouse could not make a commit durable: {error.strerror}; check the disk, then start again"
    )


def _refused(error: OSError, what: str) -> TransientError:
    return TransientError(
        f"the {what} refused a write: {error.strerror}; free space or mend the rights, then start again"
    )
