"""How often somebody may try."""

from __future__ import annotations

import time
from collections import OrderedDict


class Tries:
    """How often something may be tried: `most` in `seconds`, by key; the oldest keys are forgotten first."""

    def __init__(self, most: int, seconds: float, keys: int = 10_000) -> None:
        self._most = most
        self._seconds = seconds
        self._keys = keys
        self._seen: OrderedDict[str, list[float]] = OrderedDict()

    def allowed(self, key: str) -> bool:
        """Count one more try and say whether it is one too many."""
        now = time.monotonic()
        times = [t for t in self._seen.pop(key, []) if now - t < self._seconds]
        allowed = len(times) < self._most
        self._seen[key] = [*times, now] if allowed else times
        while len(self._seen) > self._keys:
            self._seen.popitem(last=False)
        return allowed
