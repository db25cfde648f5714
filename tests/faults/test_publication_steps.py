"""SIGKILL at every step of publishing the integrity log; the next start brings it to what it would have been."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from workers import SMS, Site, traffic

from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.store import log_origin
from lethe.operations.intake.ingest import ingest
from lethe.operations.proof.signer import load_signer
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Flush, Settings
from lethe.tiers.evidence.log_store import LogStore
from lethe.tiers.evidence.verification import Verifier

POINTS = [
    "log.begin",
    "log.put",
    "log.put:3",
    "log.put:5",
    "log.swap",
    "log.swapped",
    "log.published",
    "log.end",
]
VALUES = [v for _, v in traffic(400, seed=6, malformed=0.05) if b"\n" not in v]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Site]:
    """For every step a warehouse whose publication was killed there, a few at a time: each takes seconds to start."""
    found = {point: Site(tmp_path_factory.mktemp("killed")) for point in POINTS}
    for some in (POINTS[:4], POINTS[4:]):
        running = {}
        for point in some:
            file = found[point].directory / "records.ndjson"
            file.write_bytes(b"".join(value + b"\n" for value in VALUES))
            settings = {"LETHE_FLUSH__RECORDS": "100", "LETHE_FLUSH__BATCH": "100", "LETHE_FAIL_POINT": point}
            running[point] = found[point].start("ingest", str(file), "--format", SMS, **settings)
        for point, process in running.items():
            assert process.wait() == -signal.SIGKILL, (point, process.text())
    return found


def log_of(runtime: Runtime, stream: str) -> list[Entry]:
    signer = load_signer(runtime.settings.keys_dir)
    assert signer is not None
    log = Log(LogStore.of(runtime.objects, stream, 0), signer.history, log_origin(signer.name, stream, 0))
    return list(log.entries())


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("same", [True, False], ids=["the same file again", "another file"])
def test_killed_and_started_again(point: str, same: bool, killed: dict[str, Site], tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", f"{killed[point].directory}/.", str(tmp_path)], check=True)
    runtime = Runtime(
        Settings(
            root=str(tmp_path / "warehouse"), keys_dir=tmp_path / "keys", flush=Flush(records=100, batch=100)
        )
    )
    file = tmp_path / "records.ndjson"
    if not same:
        file = tmp_path / "other.ndjson"
        file.write_bytes(VALUES[0] + b"\n")
    report = ingest(runtime, str(file), SMS)
    assert report.log_error is None
    streams = [s for s in runtime.warehouse.sources().values() if s != report.stream or same]
    entries = log_of(runtime, streams[0])
    assert [e.first_offset for e in entries] == [0, *(e.last_offset + 1 for e in entries[:-1])]
    assert entries[-1].last_offset == len(VALUES) - 1
    signer = load_signer(tmp_path / "keys")
    assert signer is not None
    found = Verifier(runtime.warehouse, signer.history, runtime.settings.retention, runtime.clock())
    assert list(found.run()) == []
    assert found.report.logs == (1 if same else 2)
