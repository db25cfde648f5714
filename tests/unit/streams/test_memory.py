"""What a worker tells the interpreter's collector."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Loads of messages come and go, beside all that was imported; says how often everything was gone through.
LOADS = """
import gc, sys
import lethe.streams.worker.worker
from lethe.streams.worker._memory import bound_memory
if sys.argv[1] == "told":
    bound_memory()
before = gc.get_stats()[2]["collections"]
for _ in range(40):
    load = [(n, []) for n in range(24_000)]
print(gc.get_stats()[2]["collections"] - before)
"""


@pytest.mark.parametrize("told", ["told", "not told"])
def test_a_load_of_messages_does_not_have_everything_gone_through(told: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADS, told], capture_output=True, text=True, check=True)
    assert (int(done.stdout) == 0) == (told == "told")
