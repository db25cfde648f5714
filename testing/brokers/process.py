"""Child processes that never outlive their parent, and free loopback ports for them."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

LOOPBACK = "127.0.0.1"
# Below those from which systems give one to each outgoing connection: such a connection may take a port between our
# look and its use, or while what listens there is started again, and one to a port where nobody listens yet may
# even be given that very port, and reach itself.
_PORTS = range(15_000, 32_000)

# Asks the kernel for SIGKILL on the parent's death, then becomes the real program. A program of its own and
# no `preexec_fn`: nothing may run between fork and exec in a process with threads, and librdkafka has many.
# If the parent is gone already, nobody would ever send the signal.
_SHIM = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def free_ports(count: int) -> list[int]:
    """Return `count` different loopback TCP ports that were free a moment ago, none of which systems give away."""
    draw, found = random.SystemRandom(), set[int]()  # no seed: processes that begin alike are to find others
    while len(found) < count:
        port = draw.choice(_PORTS)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind((LOOPBACK, port))
            found.add(port)
    return list(found)


def port_is_open(port: int) -> bool:
    """Tell whether something on loopback accepts connections on `port`."""
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex((LOOPBACK, port)) == 0


def spawn(
    argv: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    detached: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `argv` in its own session, its output appended to `log` (or discarded).

    On Linux the kernel kills it when the *thread* that called this ends, so that a test run or a demo that
    is itself killed with SIGKILL leaves no broker behind. Call it from a thread that lives as long as the
    child should; elsewhere than on Linux only `stop` ends it. A `detached` child outlives this process.
    """
    with _output(log) as output:
        return subprocess.Popen(  # noqa: S603 - argv comes from this package, never from outside
            list(argv) if detached else _dying_with_parent(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            # Away from the terminal's process group: Ctrl-C stops the parent, which then stops the child.
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], *, grace: float = 5.0) -> int:
    """End `process` with SIGTERM, with SIGKILL after `grace` seconds, and return its exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            return process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


@contextlib.contextmanager
def _output(log: Path | None) -> Iterator[IO[bytes] | int]:
    if log is None:
        yield subprocess.DEVNULL
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        yield file


def _dying_with_parent(argv: Sequence[str]) -> list[str]:
    if sys.platform != "linux":
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), *argv]
