"""The world of the retention tests, for key directories beside a whole warehouse."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "retention"))
