"""A warehouse whose clock the test moves, filled with made-up traffic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from retention_world import World


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """Worlds of their own below the test's directory."""
    made: list[World] = []

    def make(**settings: object) -> World:
        made.append(World(tmp_path / f"world{len(made)}", **settings))
        return made[-1]

    return make
