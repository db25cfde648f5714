"""What every peer of the benchmark agrees on: what it is asked, what it answers, and when its clock runs.

A peer is a module with `run(request) -> Result`. Each run has a process of its own (`python -m bench.peer`):
nothing is warm, no two libraries meet, and the peak memory is the peer's alone.

The clock starts when the first fetch can be sent, which is when the partitions have been assigned; where a
framework does not show that moment, it starts at the first record. Joining the group takes seconds with some
brokers and is never counted; in doubt the peer is favoured. It stops when the last record is done.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

# For every peer that is built on librdkafka, whatever its language.
LIBRDKAFKA: dict[str, str] = {
    # A full queue makes it stop fetching for a second by default, long after a fast consumer has emptied it:
    # against Apache Kafka that costs a bare consumer two thirds of its speed.
    "fetch.queue.backoff.ms": "10",
    # Some brokers hold a group's first join for the whole session time-out.
    "session.timeout.ms": "6000",
}


@dataclass(frozen=True)
class Request:
    """One run of one peer over a topic that holds exactly `count` records.

    `directory` is empty, on a local disk, the peer's own and deleted afterwards. `group` is a fresh consumer
    group. `timeout` is in seconds; a peer that gives up raises `TimeoutError`. `options` come from the table.
    """

    bootstrap: str
    topic: str
    count: int
    partitions: int
    directory: str
    group: str
    timeout: float
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a run took: wall-clock and processor seconds while the clock ran, peak resident memory in MB.

    Both `cpu` and `rss` are of the peer with all its processes, without the broker. `detail` is shown as is.
    """

    seconds: float
    records: int
    rss: float
    cpu: float
    detail: str = ""


class Clock:
    """Wall-clock and processor time of this process and the children it has waited for."""

    def __init__(self) -> None:
        self._started: tuple[float, float] | None = None
        self._stopped: tuple[float, float] | None = None

    def start(self) -> None:
        """Start; only the first call counts, so that it can stand in a loop or in a callback."""
        if self._started is None:
            self._started = _now()

    def stop(self) -> None:
        """Note the time; the last call counts."""
        self._stopped = _now()

    def result(self, records: int, *, pids: Iterable[int] = (), detail: str = "") -> Result:
        """Return the result of this process, with the memory of `pids` (still running) added to its own."""
        if self._started is None or self._stopped is None:
            raise RuntimeError("the clock was never started or never stopped")
        seconds = self._stopped[0] - self._started[0]
        cpu = self._stopped[1] - self._started[1]
        return Result(seconds, records, peak_rss(os.getpid(), *pids), cpu, detail)


def peak_rss(*pids: int) -> float:
    """Return the sum of the peak resident memory of running processes in MB (Linux).

    Not `getrusage`: its peak survives exec, so a small child would inherit the peak of a large parent.
    """
    return sum(_status_kb(pid, "VmHWM") for pid in pids) / 1000


def check_complete(records: int, request: Request) -> None:
    """Refuse the figure of a peer that lost or repeated records."""
    if records != request.count:
        raise RuntimeError(f"{records} records were done, {request.count} are in the topic")


def used() -> float:
    """Return the processor seconds of this process and of the children it has waited for."""
    own, waited = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + waited.ru_utime + waited.ru_stime


def _now() -> tuple[float, float]:
    return time.perf_counter(), used()


def _status_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise RuntimeError(f"no {name} of process {pid}")


def main() -> None:
    """Run one peer in this process: `python -m bench.peer MODULE REQUEST.json RESULT.json`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("module")
    parser.add_argument("request", type=Path)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    request = Request(**json.loads(arguments.request.read_text()))
    os.chdir(request.directory)  # whatever a framework leaves behind goes with it
    status = 1
    try:
        result: Result = importlib.import_module(arguments.module).run(request)
        check_complete(result.records, request)
        arguments.result.write_text(json.dumps(asdict(result)))
        status = 0
    except Exception:  # noqa: BLE001 - shown, and then the process has to end all the same
        traceback.print_exc()
    # Frameworks leave threads and event loops behind that would keep the process for seconds or for ever.
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
