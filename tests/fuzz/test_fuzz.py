"""A short run of each fuzz target from its committed seeds; `python tests/fuzz/fuzz_targets.py` runs them for long."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUNS = {"batch": 150, "address": 300, "declaration": 100, "line": 5_000}


def _bounded_memory() -> None:
    """Bound the address space of the process to come to 8 GB (what is mapped and never touched counts in it)."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


@pytest.mark.parametrize("target", RUNS)
def test_no_law_is_broken_in_a_short_run(target: str, tmp_path: Path) -> None:
    seeds = HERE / "seeds" / target
    assert len(list(seeds.iterdir())) >= 10, "a fuzzer that starts from nothing finds nothing"
    done = subprocess.run(
        [
            sys.executable,
            str(HERE / "fuzz_targets.py"),
            target,
            f"-runs={RUNS[target]}",
            "-seed=1",
            "-max_len=4096",
            "-timeout=20",
            # A process starts with the peak of the one that started it (ru_maxrss outlives exec), and a long run of
            # tests has had more than the fuzzer's bound before it: the address space is bounded instead.
            "-rss_limit_mb=0",
            f"-artifact_prefix={tmp_path}/",
            str(tmp_path),
            str(seeds),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=HERE.parents[1],
        preexec_fn=_bounded_memory,
        env={"PYTHONPATH": str(HERE.parents[1])},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done " in done.stderr
