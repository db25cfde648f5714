"""A service that is told to stop before it listens to signals itself has been told all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lethe.operations.intake.ingest import ingest
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.testing.traffic import generate

SMS = "infobip/sms-report"

TOLD = """
import os, sys
import uvicorn
from lethe.console.cli.start import main

run = uvicorn.Server.run

def told(self):
    os.kill(os.getpid(), {number})
    run(self)

uvicorn.Server.run = told
sys.argv = ["lethe", "serve", "--port", "0"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_once_it_has_begun(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "one.ndjson").write_bytes(next(iter(generate(SMS, 1, 1, until=datetime.now(UTC), months=1))))
    runtime = Runtime(Settings(root=str(tmp_path / "warehouse"), keys_dir=tmp_path / "keys"))
    ingest(runtime, str(tmp_path / "one.ndjson"), SMS)
    env = {**os.environ, "LETHE_ROOT": str(tmp_path / "warehouse"), "LETHE_KEYS_DIR": str(tmp_path / "keys")}
    done = subprocess.run(
        [sys.executable, "-c", TOLD.format(number=int(number))],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
