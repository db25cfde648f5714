"""A warehouse whose clock the test moves, filled with made-up traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from retention_world import World

THROUGH_USE_CASES = {"test_audit_tokens"}
"""Modules whose tests act as people do, through use cases: what the audit says of that is looked at after each."""


@pytest.fixture
def make_world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """Worlds of their own below the test's directory."""
    made: list[World] = []

    def make(**settings: object) -> World:
        made.append(World(tmp_path / f"world{len(made)}", **settings))
        made[-1].watched = request.module.__name__.rpartition(".")[2] in THROUGH_USE_CASES
        return made[-1]

    yield make
    for world in made:
        if world.watched:
            world.check_audit()
