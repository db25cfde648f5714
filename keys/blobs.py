"""Small immutable objects beside the tables: where wrapped data keys are kept."""

from __future__ import annotations

import builtins
import os
import re
from pathlib import Path
from typing import Protocol

from lethe.keys.files import create_file, explained, make_directories, sync_directory
from lethe.keys.secret import Secret

_PATH = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*")


class Blobs(Protocol):
    """A store of objects by path (parts separated by `/`), strongly consistent.

    `TransientError` when it does not answer, `ConfigurationError` when a setting or a right is wrong.
    """

    def get(self, path: str) -> bytes | None:
        """Return the object, or None."""

    def create(self, path: str, data: bytes) -> bool:
        """Store an object, whole and durably; False when there is one already, which stays as it is."""

    def delete(self, path: str) -> None:
        """Remove the object, durably; nothing to remove is success."""

    def list(self, prefix: str) -> builtins.list[str]:
        """Return the paths that start with `prefix`, sorted."""


def _unless_missing(error: OSError) -> None:
    # Left alone, `os.walk` passes over what it may not read, and a list would be short without a word.
    if not isinstance(error, FileNotFoundError):
        raise error


class LocalBlobs:
    """`Blobs` as files under a directory, which is made when the first object is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, path: str) -> bytes | None:
        """Return the object, or None."""
        with explained(f"cannot read {path} in {self._directory}"):
            try:
                return self._file(path).read_bytes()
            except FileNotFoundError:
                return None

    def create(self, path: str, data: bytes) -> bool:
        """Store an object, whole and durably; False when there is one already, which stays as it is."""
        file = self._file(path)
        with explained(f"cannot write {path} in {self._directory}"):
            make_directories(file.parent)
            return create_file(file, Secret(data), 0o666)

    def delete(self, path: str) -> None:
        """Remove the object, durably; nothing to remove is success."""
        file = self._file(path)
        with explained(f"cannot remove {path} in {self._directory}"):
            file.unlink(missing_ok=True)
            if file.parent.exists():
                sync_directory(file.parent)

    def list(self, prefix: str) -> builtins.list[str]:
        """Return the paths that start with `prefix`, sorted. Temporary files are no objects."""
        start = self._directory / prefix.rpartition("/")[0]
        with explained(f"cannot list {prefix} in {self._directory}"):
            paths = [
                (Path(folder) / name).relative_to(self._directory).as_posix()
                for folder, _, names in os.walk(start, onerror=_unless_missing)
                for name in names
                if not name.startswith(".")
            ]
        return sorted(path for path in paths if path.startswith(prefix))

    def _file(self, path: str) -> Path:
        if not _PATH.fullmatch(path):
            raise ValueError("a blob's path is made of letters, digits, '_', '=', '-', '.' and '/'")
        return self._directory / path
