"""Workers of the former version and of this one side by side under load, up and down again: nothing lost or doubled."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from workers import Process, Site, traffic, until

ROOT = Path(__file__).parents[2]
FORMER = "2e9882e79d5e3f79a25283b11761fb8b294ef73e"
"""The last version that others run: its commit until it is tagged. docs/upgrading.md says when this line moves."""
pytestmark = [
    pytest.mark.needs_kafka,  # the embedded broker does not bring a group of two to rest in time
    pytest.mark.needs_history(FORMER),
]
PARTITIONS = 4


@pytest.fixture(scope="session")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The former version's sources, without its compiled part: it reads every record the general way."""
    done = subprocess.run(["git", "archive", FORMER], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 0, f"the history is needed (git fetch --unshallow): {done.stderr.decode()}"
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="tar")
    return folder


def old_worker(site: Site, former: Path) -> Process:
    log = site.directory / f"process-{len(site.processes)}.log"
    main = "import sys; sys.path.insert(0, sys.argv.pop(1)); from lethe.console.cli.main import main; main()"
    with log.open("wb") as file:
        popen = subprocess.Popen(
            [sys.executable, "-P", "-c", main, str(former), "worker"], stdin=subprocess.DEVNULL, stdout=file,
            stderr=file, cwd=site.directory, env=site.environment(PYTHONSAFEPATH="1", PYTHONPATH=str(former)),
        )  # fmt: skip
    process = Process(popen, log)
    site.processes.append(process)
    return process


def load(site: Site, topic: str, seed: int) -> None:
    for partition in range(PARTITIONS):
        site.produce(topic, traffic(150, seed * 10 + partition), partition)


def taken_in(site: Site, more: int) -> None:
    """Wait until so many records have been archived in all."""
    until(lambda: site.root.exists() and site.archived() >= more, 90, f"{more} records are archived")


def good(site: Site) -> int:
    return sum(message.good for message in site.produced)


def test_up_and_down_again_under_load(site: Site, former: Path) -> None:
    """Old alone, both, new alone, both, old alone: each joins a running group and takes partitions over."""
    topic = site.topic(partitions=PARTITIONS)
    load(site, topic, 1)
    old = old_worker(site, former)
    taken_in(site, good(site))
    new = site.worker()
    new.says("metrics on port")
    for seed in (2, 3):
        load(site, topic, seed)
    taken_in(site, good(site))
    assert old.stop() == 0, old.text()
    load(site, topic, 4)
    taken_in(site, good(site))
    back = old_worker(site, former)
    back.says("metrics on port")
    load(site, topic, 5)
    taken_in(site, good(site))
    assert new.stop() == 0, new.text()
    load(site, topic, 6)
    taken_in(site, good(site))
    assert back.stop() == 0, back.text()
    site.drain()  # this version publishes what the former one could not: it does not know today's log entries
    site.judge()
    done = site.run("verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
