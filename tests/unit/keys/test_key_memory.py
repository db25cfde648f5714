"""Keys lie in locked memory, are wiped when dropped, and a process that opens them writes no core dump."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lethe.keys.memory import SLOT, Slot
from lethe.keys.secret import Secret

_PR_CAPBSET_DROP, _CAP_IPC_LOCK = 24, 14

OPENS_KEYS = """
import ctypes, os, resource, sys
from pathlib import Path
from lethe.keys.memory import locked
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
folder = Path(sys.argv[1])
keys = Runtime(Settings(root=str(folder / "warehouse"), keys_dir=folder / "keys")).ring.named("probe", create=True)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), status["VmLck"].split()[0],
      locked(), len(keys.token_key.reveal()), flush=True)
os.abort()
"""


def opens_keys(folder: Path, begin: Callable[[], None]) -> tuple[str, int]:
    """What a process says that opens keys and then dies as a fault would kill it; and how it ended."""
    done = subprocess.Popen(
        [sys.executable, "-c", OPENS_KEYS, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        preexec_fn=begin,
    )
    assert done.stdout is not None
    said = done.stdout.read().strip()
    _, status = os.waitpid(done.pid, 0)
    done.returncode = status
    done.stdout.close()
    return said, status


def test_a_process_that_opens_keys_locks_them_and_leaves_no_core(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    said, status = opens_keys(tmp_path, lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)))
    limits, dumpable, in_place, locked, length = said.rsplit(" ", 4)
    assert (limits, dumpable, locked, length) == ("(0, 0)", "0", "True", "32")
    assert int(in_place) >= 32
    assert os.WIFSIGNALED(status)
    assert not os.WCOREDUMP(status)


def test_where_nothing_may_be_locked_keys_open_all_the_same_and_it_is_known(tmp_path: Path) -> None:
    def begin() -> None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        if os.geteuid() == 0:
            ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_IPC_LOCK, 0, 0, 0)

    said, _ = opens_keys(tmp_path, begin)
    assert said.rsplit(" ", 3)[1:] == ["0", "False", "32"]


def test_a_key_that_is_dropped_is_wiped() -> None:
    secret = Secret(b"k" * 32)
    slot = secret._value
    assert isinstance(slot, Slot)
    pages, at = slot._pages, slot._at
    assert pages.map[at : at + 32] == b"k" * 32
    del secret, slot
    gc.collect()
    assert pages.map[at : at + SLOT] == bytes(SLOT)


def test_every_key_has_a_place_of_its_own() -> None:
    """More than a page holds, made and dropped by several threads."""

    def work(seed: int) -> list[Secret]:
        made = [Secret(bytes([seed]) * (1 + n % SLOT)) for n in range(600)]
        return made[::2]

    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(work, range(8)))
    for seed, secrets in enumerate(kept):
        for n, secret in enumerate(secrets):
            assert secret.reveal() == bytes([seed]) * (1 + 2 * n % SLOT)


def test_a_longer_secret_is_kept_whole() -> None:
    assert Secret(b"x" * (SLOT + 1)).reveal() == b"x" * (SLOT + 1)
    assert Secret(b"").reveal() == b""


def test_a_forked_child_has_the_keys_and_its_own_locks() -> None:
    secret = Secret(b"s" * 32)
    child = os.fork()
    if child == 0:
        os._exit(0 if secret.reveal() == b"s" * 32 and secret._value._pages.locked else 1)  # type: ignore[union-attr]
    assert os.waitpid(child, 0)[1] == 0
