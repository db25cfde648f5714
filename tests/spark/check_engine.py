"""Spark as an engine of compaction: a standalone cluster of two workers on this machine, some of which are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from delta import PYSPARK

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "retention"))

from retention_world import World, report

from lethe.operations.compact import Asked, compact
from lethe.operations.proof.verify import Wanted, verify
from lethe.testing.brokers.process import free_ports
from lethe.tiers.certificates import certificates
from lethe.tiers.ledger import reconcile

LETHE = str(Path(sys.executable).with_name("lethe"))
MARCH = datetime(2025, 3, 10, 12, tzinfo=UTC)
HERS = "+923001234567"


@dataclass
class Cluster:
    """A master and two workers, as processes, and everything they leave behind below a folder."""

    folder: Path
    port: int
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """What `--address` is given."""
        return f"spark://127.0.0.1:{self.port}"

    def environment(self, **more: str) -> dict[str, str]:
        """What its processes and those that use it are started with."""
        small = "--conf spark.executor.memory=512m --conf spark.driver.memory=512m --driver-memory 512m"
        here = "--conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1"
        return {
            **{n: v for n, v in os.environ.items() if not n.startswith(("LETHE_", "PYSPARK_"))},
            "SPARK_HOME": str(PYSPARK / "pyspark"),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder / "local"),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": f"{small} {here} pyspark-shell",
            **more,
        }

    def start(self, kind: str, *arguments: str) -> None:
        """Start a master or a worker."""
        log = (self.folder / f"{kind}-{len(self.started)}.log").open("wb")
        command = [PYSPARK / "pyspark" / "bin" / "spark-class", f"org.apache.spark.deploy.{kind}", *arguments]
        with log:
            self.started.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=self.environment(), cwd=self.folder)
            )

    def says(self, words: str, times: int = 1) -> None:
        """Wait until its logs hold these words so many times."""
        end = time.monotonic() + 90
        while sum(p.read_text("utf-8", "replace").count(words) for p in self.folder.glob("*.log")) < times:
            assert time.monotonic() < end, f"no {words!r} in {self.folder}"
            time.sleep(0.2)

    def executors(self) -> list[psutil.Process]:
        """The processes that run tasks."""
        found = []
        for process in self.started[1:]:
            for one in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if any("CoarseGrainedExecutorBackend" in word for word in one.cmdline()):
                        found.append(one)
        return found

    def close(self) -> None:
        """Kill what is left of it."""
        for process in self.started:
            family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait(10)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    (port,) = free_ports(1)
    made = Cluster(tmp_path_factory.mktemp("cluster"), port)
    try:
        made.start("master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        made.says("Starting Spark master")
        for number in range(2):
            made.start(
                "worker.Worker", "--host", "127.0.0.1", "--cores", "1", "--memory", "600m", "--webui-port", "0",
                "--work-dir", str(made.folder / f"work-{number}"), made.address,
            )  # fmt: skip
        made.says("Successfully registered with master", 2)
        yield made
    finally:
        made.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "world", integrity={"scope": "all"})
    for number in range(5):
        made.ingest(
            report(at, HERS if at % 10 == 0 else f"+92300{2_000_000 + at}", MARCH + timedelta(seconds=at))
            for at in range(number * 30, number * 30 + 30)
        )
    (made.folder / "lethe.toml").write_text(f'root = "{made.root}"\nkeys_dir = "{made.keys}"\n')
    return made


def run(world: World, cluster: Cluster, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `lethe compact --engine spark` in a process of its own."""
    return run_command(world, cluster, "compact", "--whole", "--engine", "spark", *arguments, **more)


def run_command(
    world: World, cluster: Cluster, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    command = [LETHE, "--config", str(world.folder / "lethe.toml")]
    return subprocess.run(
        [*command, *arguments], env=cluster.environment(**more), cwd=world.folder,
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip


def merged(world: World) -> dict[str, bytes]:
    return {
        p: (world.root / p).read_bytes() for p in world.paths() if "/run-" in p and p.endswith(".parquet")
    }


def test_the_same_bytes_as_here_whoever_dies(world: World, cluster: Cluster) -> None:
    """The coordinator is killed when the first tables' files are written; who comes next ends what it began."""
    copy = world.copied("copy")
    compact(world.runtime, Asked(whole=True))
    here = merged(world)
    assert len(here) == 4
    world.restored(copy)
    died = run(world, cluster, "--address", cluster.address, LETHE_FAIL_POINT="compact.performed:2")
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    assert len(merged(world)) == 2
    done = run(world, cluster, "--address", cluster.address)
    assert done.returncode == 0, done.stderr[-2000:]
    assert merged(world) == here
    assert verify(world.runtime, Wanted(), lambda _done, _of: None).findings == []
    assert reconcile.check(world.runtime.warehouse) == []
    assert len(world.found(HERS)) == 15
    nothing_is_left_of_anybody(world, cluster.folder)


def test_an_erasure_comes_to_the_same_as_here_whoever_dies(tmp_path: Path, cluster: Cluster) -> None:
    """The coordinator is killed when the originals are written anew; asked again, one certificate is for all of it."""
    world = World(tmp_path / "erasing", integrity={"scope": "all"})
    world.now = datetime.now(UTC)  # workers open keys, and have the clock of the machine
    then = world.now - timedelta(days=40)
    world.ingest(report(at, HERS if at % 5 == 0 else f"+92300{2_000_000 + at}", then) for at in range(40))
    (world.folder / "lethe.toml").write_text(f'root = "{world.root}"\nkeys_dir = "{world.keys}"\n')
    (world.folder / "people.txt").write_text(f"{HERS}\n")
    copy = world.copied("copy")
    erasing = ("--from", "people.txt", "--yes")
    here = run_command(world, cluster, "erase", *erasing)
    assert here.returncode == 0, here.stderr[-2000:]
    expected = window(world)
    world.restored(copy)
    there = ("--engine", "spark", "--address", cluster.address)
    died = run_command(
        world, cluster, "erase", *erasing, *there, LETHE_FAIL_POINT="erase.committed.originals"
    )
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    done = run_command(world, cluster, "erase", *erasing, *there)
    assert done.returncode == 0, done.stderr[-2000:]
    assert window(world) == expected
    (certificate,) = certificates.every(world.runtime.objects)
    assert (certificate["counts"]["identifiers"], certificate["counts"]["originals"]) == (8, 8)
    assert world.found(HERS) == []
    assert world.paths("_erasing") == world.paths("_forgetting") == []
    nothing_is_left_of_anybody(world, cluster.folder)


def test_verification_and_adjustments_come_to_the_same_as_here(world: World, cluster: Cluster) -> None:
    """Both as commands, here and on the cluster: the same answer, and the same rows in the month's list."""
    world.now = datetime.now(UTC)  # workers open keys, and have the clock of the machine
    then = world.now - timedelta(days=40)
    for again in range(2):
        world.ingest(
            report(200 + at, f"+92300{3_000_000 + at}", then + timedelta(seconds=at))
            for at in range(0, 40, 1 + 9 * again)
        )
    (world.folder / "lethe.toml").write_text(
        f'root = "{world.root}"\nkeys_dir = "{world.keys}"\nintegrity.scope = "all"\n'
    )
    copy = world.copied("copy")
    told: dict[str, list[Any]] = {"verify": [], "adjustments": []}
    lists = []
    for there in ((), ("--engine", "spark", "--address", cluster.address)):
        world.restored(copy)
        for command in (("adjustments", "run"), ("verify",)):
            done = run_command(world, cluster, "--json", *command, *there)
            assert done.returncode == 0, done.stderr[-2000:]
            told[command[0]].append(json.loads(done.stdout))
        found = world.rows("adjustments")
        lists.append([{n: v for n, v in row.items() if n != "found_time"} for row in found])
    assert told["adjustments"][0] == told["adjustments"][1]
    assert sum(month["new"] for month in told["adjustments"][0]) == 4
    assert lists[0] == lists[1] != []
    assert told["verify"][0] == told["verify"][1]
    assert (told["verify"][0]["ok"], told["verify"][0]["rows"]) == (True, 194)
    nothing_is_left_of_anybody(world, cluster.folder)


def window(world: World) -> dict[str, bytes]:
    paths = [p for table in ("identifiers", "originals") for p in world.paths(table)]
    return {
        p: (world.root / p).read_bytes() for p in paths if p.endswith(".parquet") and "_delta_log" not in p
    }


def nothing_is_left_of_anybody(world: World, folder: Path) -> None:
    """No key, token or value in what the cluster spilled, logged or kept."""
    keys = [p.read_bytes() for p in world.keys.rglob("*") if p.is_file() and p.stat().st_size >= 16]
    tokens = [t for row in world.rows("identifiers") if (t := row["token"]) is not None]
    secrets = {*keys, *tokens, *(t.hex().encode() for t in tokens), HERS[1:].encode()}
    looked = [p for p in folder.rglob("*") if p.is_file()]
    assert len(looked) > 5
    for path in looked:
        data = path.read_bytes()
        assert not any(secret in data for secret in secrets), f"{path} holds a key, a token or a number"


def test_a_worker_that_is_killed_is_replaced(cluster: Cluster) -> None:
    program = [sys.executable, str(Path(__file__).with_name("spark_driver.py")), cluster.address]
    with subprocess.Popen(
        program, env=cluster.environment(), cwd=cluster.folder, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as driver:  # fmt: skip
        end = time.monotonic() + 90
        while len(mine := cluster.executors()) < 2:
            assert time.monotonic() < end, "no executors"
            time.sleep(0.1)
        assert driver.stdout is not None
        assert driver.stdout.readline() == "begun\n"
        time.sleep(1.5)
        mine[0].kill()
        out, errors = driver.communicate(timeout=120)
    assert out.splitlines() == [
        "ABCDEFGHIJKLMNOPQRSTUVWX",
        "a worker has the settings of another warehouse; give all of them the same lethe.toml",
    ], errors[-2000:]


@pytest.mark.parametrize(
    ("more", "what"),
    [({"PYSPARK_PYTHON": "/usr/bin/python3"}, "run another Python|have no Lethe"),
     ({"PATH": "/nowhere", "JAVA_HOME": ""}, "Spark does not start")],
    ids=["workers without Lethe", "no Java"],
)  # fmt: skip
def test_what_is_missing_is_said_in_a_line(
    world: World, cluster: Cluster, more: dict[str, str], what: str
) -> None:
    before = world.paths("metadata")
    done = run(world, cluster, "--workers", "1", **more)
    assert done.returncode == 1
    assert re.search(what, done.stderr), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert world.paths("metadata") == before
