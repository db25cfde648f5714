from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from access_world import World
from postgresql import server


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], str]]:
    with server() as database:
        yield database


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.database.engine.dispose()


@pytest.fixture
def on_postgresql(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[World]:
    made = World(tmp_path, new_database())
    yield made
    made.database.engine.dispose()
