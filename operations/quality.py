"""What changed in the formats that are taken in, as every commit of every process has found it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from lethe.operations.runtime import Runtime
from lethe.tiers.quality.compare import KINDS
from lethe.tiers.quality.past import Found, read_changes

DAYS: Final = 35
EXPLAINED: Final = KINDS


def listed(runtime: Runtime, days: int = DAYS, of: str | None = None) -> list[Found]:
    """List what commits of the last days showed to be different, the newest first; of one format or all."""
    oldest = runtime.clock() - timedelta(days=days)
    found = [one for one in read_changes(runtime.objects) if one.last >= oldest]
    return [one for one in reversed(found) if of in (None, one.format)]
