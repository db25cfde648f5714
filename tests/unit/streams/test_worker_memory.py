"""What a worker's leader took for merging files goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from prometheus_client import generate_latest

from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.streams.worker import control_topic
from lethe.streams.worker.metrics import Metrics

FREED = """
import ctypes
from pathlib import Path
from lethe.streams.worker._memory import bound_memory, give_back

def resident() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) // 1024

c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.free.argtypes = [ctypes.c_void_p]
c.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
bound_memory()
before, blocks = resident(), [c.malloc(64 << 10) for _ in range(3_200)]
for block in blocks:
    c.memset(block, 1, 64 << 10)
for block in blocks[:-1]:  # the last one keeps the heap from shrinking by itself
    c.free(block)
freed = resident() - before
give_back()
print(freed, resident() - before)
"""


def test_what_is_freed_in_the_middle_goes_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREED], capture_output=True, text=True, check=True, timeout=120
    )
    freed, left = map(int, done.stdout.split())
    assert freed > 150, "the C library gave it back by itself: then nobody has to"
    assert left < 50


def test_the_metrics_page_says_how_much_is_in_use() -> None:
    (line,) = [
        x
        for x in generate_latest(Metrics().registry).decode().splitlines()
        if x.startswith("lethe_resident_bytes ")
    ]
    assert 50e6 < float(line.split()[1]) < 50e9


@pytest.mark.parametrize("fails", [False, True])
def test_it_does_so_after_each_sweep(
    make_runtime: Callable[[], Runtime], monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    given: list[int] = []
    monkeypatch.setattr(control_topic, "give_back", lambda: given.append(1))
    if fails:
        monkeypatch.setattr(control_topic, "run_sweep", lambda _: 1 // 0)
    control_topic._sweep(make_runtime(), Metrics())
    assert given == [1]


@pytest.fixture
def make_runtime(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Runtime]:
    """A new installation each time."""

    def make() -> Runtime:
        folder = tmp_path_factory.mktemp("site")
        return Runtime(Settings(root=str(folder / "warehouse"), keys_dir=folder / "keys"))

    return make
