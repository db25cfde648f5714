"""A Dask cluster as docs/scale.md starts it: a scheduler and two workers, processes of their own."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lethe.testing.brokers.process import free_ports

GUIDE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text("utf-8")
BIN = Path(sys.executable).parent


def commands(title: str) -> list[list[str]]:
    """The commands of docs/scale.md in the block after a line in bold."""
    (block,) = re.findall(rf"^\*\*{re.escape(title)}\*\*\n\n((?:    .*\n)+)", GUIDE, re.M)
    return [shlex.split(line) for line in block.splitlines()]


def slow(text: str) -> str:
    """A task that takes its time."""
    time.sleep(0.3)
    return text.upper()


class DaskCluster:
    """Its processes, and everything they keep below a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (self.port,) = free_ports(1)
        self.folder, self.started = folder, list[subprocess.Popen[bytes]]()
        self.environment = {n: v for n, v in os.environ.items() if not n.startswith("LETHE_")}
        self.environment["PYTHONPATH"] = str(Path(__file__).parent)  # where workers find `slow`
        self.start()

    @property
    def address(self) -> str:
        """What `--address` is given."""
        return f"tcp://127.0.0.1:{self.port}"

    def here(self, words: list[str]) -> list[str]:
        """A command of the guide with the names that this machine has."""
        found = [w.replace("scheduler:8786", f"127.0.0.1:{self.port}") for w in words]
        return [str(BIN / found[0]), *found[1:]]

    def start(self) -> None:
        """Start the scheduler and the workers and wait for them."""
        scheduler, worker, again = commands("A Dask cluster")
        assert worker == again
        mine = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self._run([*self.here(scheduler), *mine])
        self._says("Scheduler at:", 1)
        for number in range(2):
            kept = ["--local-directory", str(self.folder / f"worker-{number}"), "--no-dashboard"]
            self._run([*self.here(worker), *kept])
        self._says("Registered to:", 2)

    def kill_scheduler(self) -> None:
        """End the scheduler as a machine does that loses its power."""
        self.started[0].kill()
        self.started[0].wait(60)

    def kill_a_worker(self, draw: random.Random) -> None:
        """Kill the process in which a worker does its tasks; its nanny starts another."""
        nanny = psutil.Process(draw.choice(self.started[1:]).pid)
        for one in nanny.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                one.kill()

    def close(self) -> None:
        """Kill what is left of it."""
        for process in self.started:
            with suppress(psutil.NoSuchProcess):
                mine = psutil.Process(process.pid)
                for one in (*mine.children(recursive=True), mine):
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
            process.wait(60)
        self.started.clear()

    def _run(self, command: list[str]) -> None:
        with (self.folder / f"{len(list(self.folder.glob('*.log')))}.log").open("wb") as log:
            self.started.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=self.environment, cwd=self.folder)
            )

    def _says(self, words: str, times: int) -> None:
        end = time.monotonic() + 90
        logs = [self.folder / f"{n}.log" for n in range(len(list(self.folder.glob("*.log"))))][-2:]
        while sum(log.read_text("utf-8", "replace").count(words) for log in logs) < times:
            assert time.monotonic() < end, f"no {words!r} in {self.folder}"
            time.sleep(0.1)


@contextmanager
def dask_cluster(folder: Path) -> Iterator[DaskCluster]:
    """Start a cluster, and end it."""
    made = DaskCluster(folder)
    try:
        yield made
    finally:
        made.close()
