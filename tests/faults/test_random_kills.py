"""Twenty kills at random moments and steps, another twenty in every run; `make soak N=500` makes more of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("broker")
def test_twenty_random_kills() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", "--kills", "20", "--round", "10", "--at-once", "2"],
        capture_output=True, text=True, timeout=850, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    _, _, altogether = said.rpartition("altogether: ")
    assert altogether.startswith("20 kills"), said[-3000:]
    assert re.search(r"^  lost 0, doubled 0, wrong 0; [1-9]", altogether, re.MULTILINE), said[-3000:]
    assert "ledger --check: adds up" in altogether
