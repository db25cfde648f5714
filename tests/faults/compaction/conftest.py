"""The worlds of the retention tests, whose files are merged here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "retention"))
