"""The samples of tests/unit/integrity are used here too, and no example is timed: the machine may be busy."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "integrity"))
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
