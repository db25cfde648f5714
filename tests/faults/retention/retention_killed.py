"""A process that does one thing and is killed on its way, as by SIGKILL.

The processes come from a fork server that has only imported: starting one by one costs seconds of imports each.
"""

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

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "lethe.operations.retention.sweep",
        "lethe.tiers.rights.erasure",
        "lethe.testing.traffic",
        "lethe.operations.intake.ingest",
    ]
)


def _do(
    folder: str, settings: dict[str, Any], now: str, what: str, point: str, environment: dict[str, str]
) -> None:
    from lethe.operations.asker import Asker
    from lethe.operations.keys import give_up
    from lethe.tiers.holds.release import finish_release
    from lethe.tiers.rights.erasure import erase

    os.environ.update(environment)
    if point.startswith("provider."):
        _die_after(World(Path(folder), **settings), point.removeprefix("provider."))
    elif point:
        os.environ["LETHE_FAIL_POINT"] = point
    world = World(Path(folder), **settings)
    world.now = datetime.fromisoformat(now)
    task, _, argument = what.partition(" ")
    if task == "sweep":
        world.sweep(forced=True)
    elif task == "erase":
        erase(world.maintenance_context(), person(argument))
    elif task == "write":
        for round_ in range(int(argument)):
            when = world.now - timedelta(days=20, seconds=round_)
            world.files = 1_000 + round_
            world.ingest([report(100 + round_, HER, when), report(200 + round_, HIM, when)])
    elif task == "say":
        give_up.say(world.runtime, Asker.of("amal", "case-1", "the module died"), argument, "died")
    elif task == "give-up":
        give_up.give_up(world.runtime, Asker.of("bob", "case-1", "the module died"), argument, "died")
    elif task == "release":
        maintenance = world.maintenance_context()
        finish_release(maintenance.holds, maintenance.registrar, argument, world.now)
    else:
        raise ValueError(task)


def _die_after(world: World, step: str) -> None:
    """Let the process die when the provider that makes new keys has done a step (`create` or `wrap`)."""
    provider = type(world.runtime.providers.get(world.settings.keys.provider))
    real = getattr(provider, step)

    def last(*arguments: Any) -> None:
        real(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(provider, step, last)


def start(
    world: World, what: str, point: str = "", environment: dict[str, str] | None = None
) -> multiprocessing.process.BaseProcess:
    """Do something in a process of its own."""
    process = _SERVER.Process(
        target=_do,
        args=(str(world.folder), world.settings_, world.now.isoformat(), what, point, environment or {}),
    )
    process.start()
    return process


def killed_at(point: str, world: World, what: str, environment: dict[str, str] | None = None) -> None:
    """Do something in a process of its own that dies at the point; fails if it does not get there."""
    process = start(world, what, point, environment)
    process.join(240)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"{what} hangs before {point}")
    assert process.exitcode == -signal.SIGKILL, f"{point} was not reached"
