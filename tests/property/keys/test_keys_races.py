"""Workers that race for a month end with the same keys; what was destroyed stays destroyed in every race."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lethe.keys.blobs import LocalBlobs
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.schemas.errors import ExpiredKeyError
from lethe.schemas.retention.calendar import Month

ROOT = Path(__file__).parents[3]
NOW = datetime(2025, 6, 1, tzinfo=UTC)
MONTH = Month(2025, 1)
WORKERS, ROUNDS = 4, 25


def ring(place: Path) -> KeyRing:
    return KeyRing(LocalProvider(place / "keys"), LocalBlobs(place / "warehouse"), lambda: NOW)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    LocalProvider.initialise(tmp_path / "keys")
    return tmp_path


def at_once(actions: list[Callable[[], object]]) -> list[object]:
    """The results of actions that start together, each on its own thread."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> object:
        barrier.wait(120)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def token_key(ring: KeyRing, window: int) -> bytes | None:
    try:
        return ring.keys_for(MONTH, window, create=True).token_key.reveal()
    except ExpiredKeyError:
        return None


@pytest.mark.parametrize("shared", [False, True])
def test_threads_end_with_the_same_keys(place: Path, shared: bool) -> None:
    for window in range(ROUNDS):
        one = ring(place)
        rings = [one if shared else ring(place) for _ in range(WORKERS)]
        window += 12
        keys = at_once([lambda r=r, w=window: token_key(r, w) for r in rings])  # type: ignore[misc]
        assert len(set(keys)) == 1
        assert keys[0] == token_key(ring(place), window)
    assert len(os.listdir(place / "keys")) == ROUNDS


def test_threads_that_make_and_destroy_end_with_it_destroyed(place: Path) -> None:
    for window in range(12, 12 + ROUNDS):
        rings = [ring(place) for _ in range(WORKERS)]
        made = at_once(
            [
                *(lambda r=r, w=window: token_key(r, w) for r in rings[1:]),  # type: ignore[misc]
                lambda r=rings[0], w=window: r.destroy(MONTH, w, early=True),  # type: ignore[misc]
            ]
        )
        assert len(set(made) - {None}) <= 1  # whoever was early got the same keys
        assert token_key(ring(place), window) is None
    nothing_is_left(place, ROUNDS)


def test_keys_that_go_just_as_they_are_read_are_destroyed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no directory notes what was ended, a mark of a live month is in doubt as long as something is there."""
    late = ring(place)
    assert token_key(late, 12) is not None
    late.evict()
    ring(place)._store.mark_destroyed("2025-01.w12", NOW)
    read = late._store.read

    def gone(key_id: str, generation: int) -> object:
        ring(place).destroy(MONTH, 12, early=True)
        return read(key_id, generation)

    monkeypatch.setattr(late._store, "read", gone)
    assert token_key(late, 12) is None


def nothing_is_left(place: Path, destroyed: int) -> None:
    keys, blobs = os.listdir(place / "keys"), LocalBlobs(place / "warehouse").list("_keys/")
    assert [name for name in keys if not name.endswith(".destroyed")] == []
    assert [path for path in blobs if not path.endswith(".destroyed.json")] == []
    assert len(keys) == len(blobs) == destroyed


# A worker says that it is ready, waits for the word, then makes (or destroys) one month after the other.
WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import test_keys_races as races
ring = races.ring(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for window in range(12, 12 + races.ROUNDS):
    if sys.argv[2] == "destroy":
        ring.destroy(races.MONTH, window, early=True)
    else:
        key = races.token_key(ring, window)
        print(key.hex() if key else "destroyed", flush=True)
"""


def processes(place: Path, roles: list[str]) -> list[list[str]]:
    """What workers of these roles printed, having run at the same time in processes of their own."""
    code = WORKER.format(here=str(Path(__file__).parent))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(place), role],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for role in roles
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    printed = [worker.communicate(timeout=240)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers)
    return printed


def test_processes_end_with_the_same_keys(place: Path) -> None:
    printed = processes(place, ["make"] * WORKERS)
    keys = [token_key(ring(place), window) for window in range(12, 12 + ROUNDS)]
    assert printed == [[key.hex() for key in keys if key]] * WORKERS
    assert len(set(keys)) == ROUNDS


def test_processes_that_make_and_destroy_end_with_it_destroyed(place: Path) -> None:
    *printed, _ = processes(place, ["make"] * (WORKERS - 1) + ["destroy"])
    for made in zip(*printed, strict=True):
        assert len(set(made) - {"destroyed"}) <= 1
    assert [token_key(ring(place), window) for window in range(12, 12 + ROUNDS)] == [None] * ROUNDS
    nothing_is_left(place, ROUNDS)
