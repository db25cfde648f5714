"""The memory of one worker over time at a steady load: `python -m bench.steady --minutes 25 --rate 30000`.

A worker as it is shipped (`lethe worker`) reads from Apache Kafka what a producer beside it makes, never one record
twice. Every ten seconds its resident memory is noted down: all of it, and the part that is its own (anonymous, not of
files mapped). What is printed at the end is the mean of each five minutes, and how the second half of the time rose, as
a line through it (least squares), in MB an hour.

`--speed 9 --from 2026-11-30T21:00` lets the clocks of the worker and of its records run nine times as fast
(`fast_clock.c`), from that instant on: in 40 minutes six hours of leases, sweeps and bundles pass, and the month
turns. The window of the thirteenth month before ends with it: the first records are of that month, so that there is
one to forget. MB an hour are of that clock.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from bench.environment import machine
from bench.peer import Request
from bench.peers.lethe import settings_of
from bench.traffic import reports
from lethe.testing.brokers.kafka.cluster import KafkaCluster

TOPIC = "delivery-reports"
PARTITIONS = 4
_EVERY = 10.0
_CHUNK = 20_000
# The topic keeps a bounded share of what went through it, more than a worker is ever behind here.
_KEEP = {"retention.bytes": str(1 << 30), "segment.bytes": str(64 << 20)}


def main() -> int:
    """Run, print what was seen as JSON; status 1 if the worker ended by itself or did not keep up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--rate", type=int, default=30_000, help="records a second")
    parser.add_argument("--samples", type=Path, help="where every sample is written, as JSON lines")
    parser.add_argument("--speed", type=int, default=1, help="how fast the clock runs")
    parser.add_argument("--from", dest="start", type=_utc, help="where the clock begins, UTC (now)")
    parser.add_argument("--produce", metavar="BOOTSTRAP", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.start = asked.start or datetime.now(UTC)
    if asked.produce:
        _produce(asked)
        return 0
    with tempfile.TemporaryDirectory(prefix="lethe-steady-") as folder:
        samples, ended = _watched(Path(folder), asked)
    if asked.samples:
        asked.samples.write_text("".join(json.dumps(one) + "\n" for one in samples))
    print(json.dumps(_summary(samples, asked), indent=1))
    return 1 if ended else 0


def _watched(folder: Path, asked: argparse.Namespace) -> tuple[list[dict[str, float]], bool]:
    with KafkaCluster() as started:
        started.create_topic(TOPIC, PARTITIONS, _KEEP)
        log = (folder / "worker.log").open("wb")
        request = Request(started.bootstrap, TOPIC, 0, 0, str(folder), "steady", 0)
        worker = subprocess.Popen(
            [str(Path(sys.executable).with_name("lethe")), "worker"],
            env={**os.environ, **settings_of(request, f"{folder}/warehouse"), **_clock(asked, folder)},
            stdout=log, stderr=log,
        )  # fmt: skip
        producer = subprocess.Popen(
            [
                *(sys.executable, "-m", "bench.steady", "--produce", started.bootstrap),
                *("--rate", str(asked.rate), "--speed", str(asked.speed), "--from", f"{asked.start:%FT%T}"),
            ],
            cwd=Path(__file__).parents[1],
        )
        try:
            return _sampled(worker, folder, 60 * asked.minutes)
        finally:
            if asked.samples:
                shutil.copy(folder / "worker.log", asked.samples.with_suffix(".log"))
            producer.kill()
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
            producer.wait()


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _clock(asked: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Return the environment in which a process's clocks run at that speed, from that instant on."""
    if asked.speed == 1:
        return {}
    library = folder / "fast_clock.so"
    source = Path(__file__).with_name("fast_clock.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return {
        "LD_PRELOAD": str(library),
        "FAST_CLOCK": f"{asked.speed} {asked.start.timestamp()} {time.time()}",
    }


def _sampled(
    worker: subprocess.Popen[bytes], folder: Path, seconds: float
) -> tuple[list[dict[str, float]], bool]:
    begun = time.monotonic()
    samples: list[dict[str, float]] = []
    while (elapsed := time.monotonic() - begun) < seconds:
        if worker.poll() is not None:
            print((folder / "worker.log").read_text()[-3000:], file=sys.stderr)
            return samples, True
        if elapsed > 30:  # what is imported and opened once is in by then
            samples.append({"seconds": round(elapsed, 1), **_memory(worker.pid), **_progress(folder)})
            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
        time.sleep(_EVERY)
    return samples, False


def _memory(pid: int) -> dict[str, float]:
    """Return resident megabytes and processor seconds of a process (Linux)."""
    said = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {
        "rss": int(said["VmRSS"].split()[0]) / 1024,
        "own": int(said["RssAnon"].split()[0]) / 1024,
        "threads": int(said["Threads"]),
        "processor": (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK"),
    }


def _progress(folder: Path) -> dict[str, float]:
    port = (folder / "worker.log").read_text().split("metrics on port ")[1].split('"')[0]
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    values: dict[str, float] = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            name = name.partition("{")[0]
            values[name] = values.get(name, 0.0) + float(value)
    return {
        "records": values.get("lethe_records_in_total", 0.0),
        "commits": values.get("lethe_commit_seconds_count", 0.0),
        "behind": values.get("lethe_lag", 0.0),
    }


def _summary(samples: list[dict[str, float]], asked: argparse.Namespace) -> dict[str, Any]:
    at, rss, own = (np.array([one[name] for one in samples]) for name in ("seconds", "rss", "own"))
    late = at >= at[-1] / 2
    spent = samples[-1]["processor"] - samples[0]["processor"]
    passed = at[-1] - at[0]
    hour = 3600 / asked.speed
    return {
        "machine": machine(),
        "minutes": round(at[-1] / 60, 1), "hours of the clock": round(at[-1] / hour, 1),
        "asked, records/s": asked.rate,
        "records/s": round((samples[-1]["records"] - samples[0]["records"]) / passed),
        "records": samples[-1]["records"], "commits": samples[-1]["commits"], "behind": samples[-1]["behind"],
        "cores": round(spent / passed, 2),
        "first, MB": round(rss[0]), "highest, MB": round(rss.max()), "last, MB": round(rss[-1]),
        "mean of five minutes, MB": [
            round(float(rss[(at >= start) & (at < start + 300)].mean()))
            for start in range(0, int(at[-1]), 300)
        ],
        "second half, MB an hour": round(float(np.polyfit(at[late], rss[late], 1)[0]) * hour, 1),
        "its own, second half, MB an hour": round(float(np.polyfit(at[late], own[late], 1)[0]) * hour, 1),
    }  # fmt: skip


def _produce(asked: argparse.Namespace) -> None:
    """Send new reports at a steady rate until killed; the first ones of the month whose window ends next."""
    producer = Producer({"bootstrap.servers": asked.produce, "linger.ms": 20, "compression.type": "lz4"})
    begun, sent, seed = time.monotonic(), 0, 0
    year_before = asked.start.replace(year=asked.start.year - 1, day=15)
    while True:
        now = asked.start + timedelta(seconds=(time.monotonic() - begun) * asked.speed)
        end = year_before if seed == 0 and asked.speed > 1 else now
        seed += 1
        for value in reports(_CHUNK, seed=seed, end_ms=int(end.timestamp() * 1000)):
            producer.produce(TOPIC, value, partition=sent % PARTITIONS)
            sent += 1
            if sent % 500 == 0:
                producer.poll(0)
                time.sleep(max(0.0, begun + sent / asked.rate - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
