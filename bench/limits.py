"""What a single worker does at its limits: `python -m bench.limits backlog|partitions|visibility|startup`.

backlog     ten times the backlog takes ten times as long, in the same memory
partitions  a thousand partitions on one worker
visibility  at a steady load, how long after it was sent a record is in both tiers
startup     from the start of the process to the first record read, and to the first one committed
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from confluent_kafka import Producer

from bench.environment import ROOT, broker
from bench.peer import Request
from bench.peers.lethe import settings_of
from bench.traffic import produce, reports

TOPIC = "delivery-reports"


def main() -> None:
    """Run one of the trials and print its figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trial", choices=("backlog", "partitions", "visibility", "startup"))
    parser.add_argument("--broker", choices=("embedded", "kafka"), default="kafka")
    parser.add_argument("--count", type=int, default=100_000, help="records (of the smaller backlog)")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rate", type=int, default=20_000, help="records a second, of the visibility trial")
    parser.add_argument("--seconds", type=float, default=30, help="how long the visibility trial sends")
    parser.add_argument("--flush", type=float, default=5, help="flush.seconds of the visibility trial")
    asked = parser.parse_args()
    print(json.dumps(globals()[f"_{asked.trial}"](asked), indent=1))


def _backlog(asked: argparse.Namespace) -> Any:
    found = {}
    for count in (asked.count, 10 * asked.count):
        with broker(asked.broker, TOPIC, asked.partitions) as started:
            found[count] = _work_off(started.bootstrap, count, asked.partitions)
    small, large = found.values()
    return {**found, "time ratio": round(large["seconds"] / small["seconds"], 2)}


def _partitions(asked: argparse.Namespace) -> Any:
    number = 1000 if asked.partitions == 4 else asked.partitions
    with broker(asked.broker, TOPIC, number) as started:
        return {"partitions": number, **_work_off(started.bootstrap, asked.count, number)}


def _startup(asked: argparse.Namespace) -> Any:
    rounds = []
    with broker(asked.broker, TOPIC, asked.partitions) as started:
        produce(started.bootstrap, TOPIC, 1000, partitions=asked.partitions, end_ms=_now_ms())
        for _ in range(5):
            begun = time.monotonic()
            with _worker(started.bootstrap) as worker:
                worker["process"].wait(120)
                said = json.loads(worker["report"].read_text())
            rounds.append((said["read"][0] - begun, said["commits"][0][0] - begun))
    read, committed = zip(*rounds, strict=True)
    return {"first record read, s": round(median(read), 2), "committed, s": round(median(committed), 2)}


def _visibility(asked: argparse.Namespace) -> Any:
    with broker(asked.broker, TOPIC, asked.partitions) as started:
        flush = {"LETHE_FLUSH__SECONDS": str(asked.flush)}
        with _worker(started.bootstrap, flush, forever=True) as worker:
            time.sleep(8)  # the worker has joined by then
            sent = _send(started.bootstrap, asked)
            time.sleep(asked.flush + 4)
            worker["process"].send_signal(signal.SIGTERM)
            worker["process"].wait(60)
            said = json.loads(worker["report"].read_text())
    delays = []
    for number in range(asked.partitions):
        times = np.array(sent[number])
        commits = [(at, last[str(number)]) for at, _, _, last in said["commits"] if str(number) in last]
        place = np.searchsorted([last for _, last in commits], np.arange(len(times)))
        if place.max() >= len(commits):
            raise RuntimeError("not everything that was sent was committed")
        delays.append(np.array([at for at, _ in commits])[place] - times)
    every = np.concatenate(delays)
    return {
        "records/s": asked.rate, "records": len(every), "flush.seconds": asked.flush,
        **{f"p{p}, s": round(float(np.percentile(every, p)), 2) for p in (50, 99, 100)},
        "rss, MB": round(said["rss"]),
    }  # fmt: skip


def _send(bootstrap: str, asked: argparse.Namespace) -> dict[int, list[float]]:
    """Send at a steady rate; returns when each record of each partition was handed to the producer."""
    sent: dict[int, list[float]] = {number: [] for number in range(asked.partitions)}
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all"})
    values = list(reports(50_000, end_ms=_now_ms()))
    begun, done = time.monotonic(), 0
    while (elapsed := time.monotonic() - begun) < asked.seconds:
        for n in range(done, int(elapsed * asked.rate)):
            producer.produce(TOPIC, values[n % len(values)], partition=n % asked.partitions)
            sent[n % asked.partitions].append(time.monotonic())
        done = max(done, int(elapsed * asked.rate))
        producer.poll(0)
        time.sleep(0.01)
    producer.flush(30)
    return sent


def _work_off(bootstrap: str, count: int, partitions: int) -> dict[str, float]:
    produce(bootstrap, TOPIC, count, partitions=partitions, end_ms=_now_ms())
    with _worker(bootstrap) as worker:
        worker["process"].wait(280)
        said = json.loads(worker["report"].read_text())
    done = sum(commit[2] for commit in said["commits"])
    if done != count:
        raise RuntimeError(f"{done} of {count} records are committed")
    seconds = said["last"] - said["first"]
    return {
        "seconds": round(seconds, 2), "records/s": round(count / seconds), "rss, MB": round(said["rss"]),
        "processor µs a record": round(said["cpu"] / count * 1e6, 1), "commits": len(said["commits"]),
    }  # fmt: skip


@contextmanager
def _worker(
    bootstrap: str, settings: dict[str, str] | None = None, forever: bool = False
) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        request = Request(bootstrap, TOPIC, 0, 0, folder, f"bench-{uuid.uuid4().hex[:12]}", 0)
        report = Path(folder, "report.json")
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", str(report), *(["forever"] if forever else [])],
            env={**os.environ, **settings_of(request, f"{folder}/warehouse"), **(settings or {})},
            cwd=ROOT,
        )
        try:
            yield {"process": process, "report": report}
        finally:
            process.kill()
            process.wait()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
