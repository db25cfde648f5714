"""Named points at which a test lets the process die, as SIGKILL would: nothing is flushed, nothing cleaned up.

`LETHE_FAIL_POINT=name` dies at the first time the point is reached, `name:3` at the third.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_reached: Counter[str] = Counter()


def fail_point(name: str) -> None:
    """Kill the process here if the environment asks for it."""
    wanted = os.environ.get("LETHE_FAIL_POINT")
    if not wanted:
        return
    point, _, count = wanted.partition(":")
    if point == name:
        _reached[name] += 1
        if _reached[name] >= int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
