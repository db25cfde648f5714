"""The allocators of a worker, told to give back what is not needed.

Batches come and go in many threads. Left to itself every thread's arena, and Arrow's own pool beside them, keeps what
its largest batch took: a third of the worker's memory, measured (bench/PROFILE.md).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

import pyarrow as pa

_M_ARENA_MAX: Final = -8  # malloc.h of the GNU C library
_ARENAS: Final = 2


def bound_memory() -> None:
    """Call before the threads start. Does nothing to the allocator of another C library."""
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
