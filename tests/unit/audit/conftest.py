"""An installation for each test; the time-stamp authority of the tests of `integrity/` serves here, too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from audit_world import AuditWorld

sys.path.append(str(Path(__file__).parents[1] / "integrity"))


@pytest.fixture
def world(tmp_path: Path) -> AuditWorld:
    return AuditWorld(tmp_path)
