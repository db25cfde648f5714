"""Named points at which a test lets the process die, as SIGKILL would: nothing is flushed, nothing cleaned up.

`LETHE_FAIL_POINT=name` dies at the first time the point is reached, `name:3` at the third. It does so in a checkout
alone, which has the tests beside it; an installed product has no such points, and refuses the variable as it does any
other that it does not know.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Final

FOR_TESTS: Final = (Path(__file__).resolve().parents[2] / "tests" / "conftest.py").is_file()
"""Whether this is a checkout with the tests beside it."""

_reached: Counter[str] = Counter()


def fail_point(name: str) -> None:
    """Kill the process here if the environment asks for it."""
    wanted = os.environ.get("LETHE_FAIL_POINT") if FOR_TESTS else None
    if not wanted:
        return
    point, _, count = wanted.partition(":")
    if point == name:
        _reached[name] += 1
        if _reached[name] >= int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
