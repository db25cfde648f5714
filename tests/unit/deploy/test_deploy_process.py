"""Children end when they are told to, when they do not listen, and when their parent is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from lethe.testing.brokers.process import free_ports, port_is_open, spawn, stop

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF_CODE = """\
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
DEAF = [sys.executable, "-c", DEAF_CODE]
# A parent that starts a child, tells its process id and is then killed as by `kill -9`.
PARENT = """\
import os, signal, sys
from lethe.testing.brokers.process import spawn
print(spawn([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def gone(pid: int) -> bool:
    """No such process, or one that is dead and only waits to be collected."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_ports_are_different_and_nobody_listens_there() -> None:
    ports = free_ports(6)
    assert len(set(ports)) == 6
    assert not any(port_is_open(port) for port in ports)


def test_a_child_is_stopped_with_sigterm() -> None:
    assert stop(spawn(SLEEP)) == -signal.SIGTERM


def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    child = spawn(DEAF, log=log)
    while "up" not in log.read_text():
        time.sleep(0.01)
    assert stop(child, grace=0.2) == -signal.SIGKILL


def test_stopping_twice_gives_the_same_status() -> None:
    child = spawn([sys.executable, "-c", "raise SystemExit(3)"])
    assert [stop(child, grace=60), stop(child)] == [3, 3] or child.returncode == -signal.SIGTERM


def test_output_of_several_runs_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "folder" / "child.log"
    for word in ("one", "two"):
        spawn([sys.executable, "-c", f"print('{word}')"], log=log).wait(60)
    assert log.read_text() == "one\ntwo\n"


def test_no_child_outlives_a_killed_parent() -> None:
    assert sys.platform == "linux", "only Linux tells a child of its parent's death: run the tests there"
    parent = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, timeout=120)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    child = int(parent.stdout)
    deadline = time.monotonic() + 60
    while not gone(child):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.02)
