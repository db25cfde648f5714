from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "retention"))

import pytest
from retention_world import World, report
from web_site import HER, HIM, Site

from lethe.console.web.service import Service


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    world = World(tmp_path / "site", serve={"second_factor": "choice"})
    world.now = datetime(2025, 3, 31, tzinfo=UTC)
    march = datetime(2025, 3, 10, 12, tzinfo=UTC)
    world.ingest([report(i, n, march) for i, n in enumerate((HER, HIM, HER))])
    service = Service.open(world.runtime)
    yield Site(world, service)
    service.database.engine.dispose()
