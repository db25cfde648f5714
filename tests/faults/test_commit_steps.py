"""SIGKILL at every numbered step of the commit, before and after every durable action; then another start."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from checker import Message
from plant import Plant
from workers import SMS, Site, traffic

from lethe.operations.intake.ingest import ingest
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Flush, Settings

POINTS = [
    "commit.begin",
    "identifiers.written", "identifiers.committed",
    "originals.written", "originals.committed",
    "quarantine.written", "quarantine.committed",
    "metadata.written", "metadata.committed",
    "ledger.written", "ledger.committed",
    "commit.end",
]  # fmt: skip
VALUES = [(label, v) for label, v in traffic(900, seed=5, malformed=0.05, envelope=0.05) if b"\n" not in v]


def ingesting(site: Site, point: str) -> subprocess.Popen[bytes]:
    file = site.directory / "records.ndjson"
    file.write_bytes(b"".join(value + b"\n" for _, value in VALUES))
    settings = {"LETHE_FLUSH__RECORDS": "300", "LETHE_FLUSH__BATCH": "100", "LETHE_FAIL_POINT": point}
    process = site.start("ingest", str(file), "--format", SMS, **settings)
    return process.popen


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Site]:
    """For every step a warehouse whose second commit was killed there. All at once: each takes seconds to start."""
    found = {}
    directories = {point: tmp_path_factory.mktemp(point) for point in POINTS}
    for some in (POINTS[:6], POINTS[6:]):
        running = {}
        for point in some:
            found[point] = Site(directories[point])
            running[point] = ingesting(found[point], f"{point}:2")
        for point, process in running.items():
            # As long as it takes: six start at once, and nothing is measured here. The suite's own limit stays.
            assert process.wait() == -signal.SIGKILL, (point, found[point].processes[0].text())
    return found


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("records", [300, 170], ids=["same cut", "other cut"])
def test_killed_at_a_step_and_started_again(
    point: str, records: int, killed: dict[str, Site], tmp_path: Path
) -> None:
    # A copy, so that both cuts find what the kill left behind.
    subprocess.run(["cp", "-a", f"{killed[point].directory}/.", str(tmp_path)], check=True)
    runtime = Runtime(
        Settings(
            root=str(tmp_path / "warehouse"),
            keys_dir=tmp_path / "keys",
            flush=Flush(records=records, batch=70),
        )
    )
    counted = POINTS.index(point) >= POINTS.index("metadata.committed")
    assert (
        sum("lethe.ledger" in entry for entry in runtime.warehouse.metadata.stored.history()) == 1 + counted
    )
    report = ingest(runtime, str(tmp_path / "records.ndjson"), SMS)
    assert 0 < report.already < len(VALUES)
    plant = Plant(tmp_path)
    plant.produced = [
        Message(report.stream, 0, offset, value, good=label in ("good", "late", "envelope"))
        for offset, (label, value) in enumerate(VALUES)
    ]
    plant.judge()


def test_killed_again_and_again_at_the_same_and_at_the_next_step(tmp_path: Path) -> None:
    site = Site(tmp_path)
    points = "identifiers.committed", "originals.written", "identifiers.committed:2", "metadata.written"
    for point in (*points, "ledger.written"):
        assert ingesting(site, point).wait() == -signal.SIGKILL, point
    assert ingesting(site, "none").wait() == 0, site.processes[-1].text()
    assert "LETHE_FAIL_POINT" not in os.environ
    stream = site.checker().rows("ledger", ["stream"])[0]["stream"]
    for offset, (label, value) in enumerate(VALUES):
        site.remember(stream, 0, offset, value, label)
    site.judge()
