"""The worlds of the retention tests, whose files are merged here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "retention"))

from retention_world import World


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """Worlds of their own below the test's directory."""
    made: list[World] = []

    def make(**settings: object) -> World:
        made.append(World(tmp_path / f"world{len(made)}", **settings))
        return made[-1]

    return make
