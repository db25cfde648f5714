"""Processes that compact, erase, sweep or write in one warehouse, and may be killed at a named point."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from retention_world import World, person, report

HER = "+923001234567"
HIM = "+4915112345678"
TABLES = ("identifiers", "originals", "quarantine", "metadata", "ledger")
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "lethe.operations.compact",
        "lethe.tiers.rights.erasure",
        "lethe.operations.intake.ingest",
        "retention_world",
    ]
)


def rows_of(world: World) -> dict[str, list[str]]:
    """All rows of all tables, in one order."""
    return {table: sorted(map(repr, world.rows(table))) for table in TABLES}


def compacted(world: World, whole: bool = True) -> int:
    """Merge what there is here and now; returns how many merges that were."""
    from lethe.operations.compact import Asked, compact

    return len(compact(world.runtime, Asked(whole=whole)))


def _do(folder: str, settings: dict[str, Any], now: str, what: str, point: str) -> None:
    from lethe.schemas.errors import FencedError
    from lethe.tiers.rights.erasure import erase

    if point:
        os.environ["LETHE_FAIL_POINT"] = point
    world = World(Path(folder), **settings)
    world.now = datetime.fromisoformat(now)
    task, _, argument = what.partition(" ")
    if task == "compact":
        compacted(world)
    elif task == "compact-often":
        for _ in range(int(argument)):
            compacted(world)
    elif task == "erase":
        try:
            erase(world.maintenance_context(), person(argument))
        except FencedError:
            erase(world.maintenance_context(), person(argument))
    elif task == "sweep":
        world.sweep(forced=True)
    elif task == "write":
        for round_ in range(int(argument)):
            when = world.now - timedelta(days=20, seconds=round_)
            world.files = 1_000 + round_
            world.ingest([report(100 + round_, HER, when), report(200 + round_, HIM, when)])
    else:
        raise ValueError(task)


def start(world: World, what: str, point: str = "") -> multiprocessing.process.BaseProcess:
    """Do something in a process of its own."""
    arguments = (str(world.folder), world.settings_, world.now.isoformat(), what, point)
    process = _SERVER.Process(target=_do, args=arguments)
    process.start()
    return process


def killed_at(point: str, world: World, what: str = "compact") -> None:
    """Do something in a process of its own that dies at the point; fails if it does not get there."""
    process = start(world, what, point)
    process.join(240)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"{what} hangs before {point}")
    assert process.exitcode == -signal.SIGKILL, f"{point} was not reached"
