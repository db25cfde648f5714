"""What a log needs of storage, and the one in memory that tests and short-lived checks use.

Paths are relative, with `/`; a log has a store of its own (a directory, a prefix of a bucket).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from lethe.schemas.errors import FencedError, IntegrityError


class Reader(Protocol):
    """What reading and verifying a log needs."""

    def get(self, path: str) -> bytes | None:
        """Return the bytes at `path` or None. Raises `TransientError` when the store does not answer."""

    def list(self, folder: str) -> list[str]:
        """Return the paths of everything below `folder`, at any depth, sorted."""


class Store(Reader, Protocol):
    """What publishing a log needs. A write that has returned is durable, and seen whole or not at all."""

    def put(self, path: str, data: bytes) -> None:
        """Create an immutable object. The same bytes again is success; others raise `IntegrityError`."""

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        """Replace `old` (None: nothing there) by `new`. Raises `FencedError` when something else is there."""

    def delete(self, path: str) -> None:
        """Remove an object; success when there is none."""


class Memory(Protocol):
    """What keeps, away from the store, which checkpoint of each log was signed or seen last."""

    def signed(self, origin: str) -> bytes | None:
        """Return the signed checkpoint of a log that was noted last, None when there is none."""

    def alone(self, origin: str) -> AbstractContextManager[Callable[[bytes], None]]:
        """Give what notes another one, while nobody else does."""


class MemoryStore:
    """A `Store` in memory."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})

    def get(self, path: str) -> bytes | None:
        """See `Reader.get`."""
        return self.objects.get(path)

    def list(self, folder: str) -> list[str]:
        """See `Reader.list`."""
        return sorted(path for path in self.objects if path.startswith(folder + "/"))

    def put(self, path: str, data: bytes) -> None:
        """See `Store.put`."""
        if self.objects.setdefault(path, data) != data:
            raise IntegrityError(
                f"{path} is there already with other bytes; nothing of a log is ever rewritten"
            )

    def swap(self, path: str, old: bytes | None, new: bytes) -> None:
        """See `Store.swap`."""
        if self.objects.get(path) != old:
            raise FencedError(f"{path} was changed by someone else meanwhile")
        self.objects[path] = new

    def delete(self, path: str) -> None:
        """See `Store.delete`."""
        self.objects.pop(path, None)
