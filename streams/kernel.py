"""The kernel: one batch of raw values in, rows for the tables out. No I/O but the key ring; safe to run in a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from keys.ring import KeyRing
from schemas.errors import ExpiredKeyError
from schemas.format import Format
from streams.batch import Batch
from streams.decode import decode
from streams.seal import seal
from streams.split import Rules, split
from tiers.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Kernel:
    """Decode, split and seal under fixed rules."""

    ring: KeyRing
    rules: Rules
    max_bytes: int
    clock: Callable[[], datetime]

    def process(self, batch: Batch, fmt: Format) -> Prepared:
        """Every record of the batch ends in the metadata (and the window, unless it is late) or in the quarantine."""
        decoded = decode(batch.values, fmt, self.max_bytes)
        for last_try in (False, False, True):
            now = self.clock()
            parts = split(decoded.frame, fmt, self.rules, now)
            try:
                return seal(batch, fmt, parts, decoded.rejects + parts.rejects, self.ring, self.rules, now)
            except ExpiredKeyError:
                # A month ended between the split and its keys: split again, it is late now.
                if last_try:
                    raise
        raise AssertionError("unreachable")
