"""Memory for keys: pages that are never written to swap or into a core dump, wiped when a key is dropped.

The copy that lives as long as a key is open lies in such pages. Libraries that use a key make copies of their own for
as long as they use it; core dumps are off for the whole process, and swap where keys are held (deploy/README.md).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import sys
import threading
from typing import Final

SLOT: Final = 64
"""The longest secret that is kept here, in bytes; every key is shorter. Longer ones are files under way."""
_BYTES: Final = 1 << 15
_PR_SET_DUMPABLE: Final = 4


class _Pages:
    """One mapping, cut into slots. Safe to use from several threads: a slot is taken and given back in one step."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, _BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.free = [*range(0, _BYTES, SLOT)]
        self.locked = False
        self.lock()

    def lock(self) -> None:
        """Keep the pages out of swap and dumps, as far as the system lets this process."""
        if sys.platform == "linux":
            self.map.madvise(mmap.MADV_DONTDUMP)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        mlock = getattr(ctypes.CDLL(None), "mlock", None)
        self.locked = mlock is not None and mlock(ctypes.c_void_p(begin), ctypes.c_size_t(_BYTES)) == 0


class Slot:
    """A secret in locked memory; wiped when the last reference to it is dropped."""

    __slots__ = ("_at", "_length", "_pages")

    def __init__(self, value: bytes) -> None:
        self._pages, self._at = _taken()
        self._length = len(value)
        self._pages.map[self._at : self._at + self._length] = value

    def read(self) -> bytes:
        """Return a copy of the secret."""
        return self._pages.map[self._at : self._at + self._length]

    def __del__(self) -> None:
        pages: _Pages | None = getattr(self, "_pages", None)
        if pages is not None:
            pages.map[self._at : self._at + SLOT] = bytes(SLOT)
            pages.free.append(self._at)


_all: Final[list[_Pages]] = []
_adding: Final = threading.Lock()


def locked() -> bool:
    """Tell whether the pages keys lie in are locked: the system's limit (`ulimit -l`) may be too low."""
    with _adding:
        if not _all:
            _all.append(_Pages())
    return all(pages.locked for pages in _all)


def forbid_dumps() -> None:
    """Let this process write no core dump, and let no other process of its user read its memory.

    Its children write none either; the rest they ask for themselves.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _taken() -> tuple[_Pages, int]:
    while True:
        for pages in _all:
            try:
                return pages, pages.free.pop()
            except IndexError:
                continue
        with _adding:
            if not any(pages.free for pages in _all):
                _all.append(_Pages())


def _lock_again() -> None:
    for pages in _all:  # a child has the pages and not their locks
        pages.lock()


os.register_at_fork(after_in_child=_lock_again)
