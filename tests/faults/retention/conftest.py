"""The worlds of the retention tests, and the providers of those of keys, for processes that are killed."""

from __future__ import annotations

import sys
from pathlib import Path

for room in ("retention", "keys"):
    sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / room))
