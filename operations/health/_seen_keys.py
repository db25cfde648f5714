"""Wrapped keys as a check saw them last, so that it need not ask an object store for each month's again.

A list of the store says with which mark (ETag) each object lies there. One that lies as it was read is not read again:
what was read is tried with the provider. Nobody can open a copy that could not open the object itself, and with the
month's key-encryption key it ends as every other copy; of what is listed no more none is kept.
"""

from __future__ import annotations

import builtins
import json
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from lethe.keys.blobs import Blobs
from lethe.keys.files import replace_file
from lethe.keys.secret import Secret
from lethe.schemas.errors import LetheError

_NAME: Final = ".wrapped-seen.json"
"""In the key directory; with a dot, so that it makes no key directory of an empty mount point."""


class Marked(Blobs, Protocol):
    """A store that says how objects lie in it."""

    def marks(self, prefix: str) -> dict[str, str]:
        """Return the paths below a folder, each with a mark that another content does not have; empty: unknown."""


class SeenKeys:
    """`Blobs` of a store: an object that lies there as it was read before is not read again."""

    def __init__(self, store: Marked, directory: Path) -> None:
        self._store = store
        self._file = directory / _NAME
        self._marks: dict[str, str] = {}
        self._seen = _read(self._file)
        self._before = dict(self._seen)

    def list(self, prefix: str) -> builtins.list[str]:
        """See `Blobs.list`."""
        self._marks = self._store.marks(prefix)
        return sorted(self._marks)

    def get(self, path: str) -> bytes | None:
        """See `Blobs.get`."""
        mark = self._marks.get(path)
        if mark and self._seen.get(path, ("", ""))[0] == mark:
            return self._seen[path][1].encode()
        data = self._store.get(path)
        if mark and data is not None:
            with suppress(UnicodeDecodeError):  # damaged: it is read each time
                self._seen[path] = mark, data.decode()
        return data

    def create(self, path: str, data: bytes) -> bool:
        """See `Blobs.create`."""
        return self._store.create(path, data)

    def delete(self, path: str) -> None:
        """See `Blobs.delete`."""
        self._store.delete(path)

    def keep(self) -> None:
        """Keep what was read, as far as it is still listed; where that cannot be, it is read again the next time."""
        kept = {path: seen for path, seen in self._seen.items() if self._marks.get(path) == seen[0]}
        if kept != self._before:
            with suppress(LetheError, OSError):
                replace_file(self._file, Secret(json.dumps(kept).encode()), 0o600)


def _read(file: Path) -> dict[str, tuple[str, str]]:
    """Return mark and content by path; nothing where there is no such file, or none that can be read."""
    try:
        return {
            str(path): (str(mark), str(text)) for path, (mark, text) in json.loads(file.read_bytes()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
