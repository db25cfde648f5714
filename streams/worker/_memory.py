"""The memory of a worker: allocators told to give back what is not needed, and a collector told what not to look at.

Batches come and go in many threads. Left to itself every thread's arena, and Arrow's own pool beside them, keeps what
its largest batch took: a third of the worker's memory, measured (bench/PROFILE.md).
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Final

import pyarrow as pa

_PAGES: Final = Path("/proc/self/statm")
_M_ARENA_MAX: Final = -8  # malloc.h of the GNU C library
_ARENAS: Final = 2
_NEW_OBJECTS: Final = 50_000


def bound_memory() -> None:
    """Bound what allocators keep. Call before the threads start; does nothing to another C library's allocator."""
    # Every message is an object the collector counts: each few hundred thousand of them it would go through all that
    # was ever imported, for a tenth of a second in which no thread of this process runs.
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def resident_bytes() -> int:
    """Return how much memory of this process is in use; 0 where the system does not say."""
    try:
        return int(_PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def give_back() -> None:
    """Give memory that is not needed any more back to the system: after merges, which take hundreds of megabytes.

    Their buffers are freed in the middle of the arenas, from where the C library gives back nothing by itself: a leader
    grew by some 250 MB with the merges of each hour (bench/RESULTS.md).
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
