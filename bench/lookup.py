"""What a look-up costs over many months: `python -m bench.lookup [ROWS] [FOLDER]` (20,000,000 rows).

Tables are made once, through the product's own writers, and compacted as `lethe compact --whole` does;
a second call with the same folder only measures.
Looked up are random subjects, by `lethe.operations.window.lookup`: tokens, files, join with
the archive and the audit entry included; in a process that runs already, and in fresh ones, their start included.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from lethe.keys.tokens import subject_tokens
from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact, overview
from lethe.operations.engines import open_engine
from lethe.operations.engines.tasks import Cluster
from lethe.operations.runtime import Runtime, system_clock
from lethe.operations.settings import Settings
from lethe.operations.window.lookup import lookup, lookup_each
from lethe.schemas.arrow import TABLES
from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.files import write_files

MONTHS = 13
CHUNK = 500_000
SUBJECTS = 1_000_000
LOOKUPS, FRESH = 500, 20
SPENT: list[float] = []
"""Processor time of each look-up in this process: what it costs where nobody else computes."""
PARTITIONS = 12


def number(subject: int) -> str:
    return f"923{subject:09d}"


def names(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pa.array([f"{prefix}{n}" for n in range(int(numbers.max()) + 1)]).take(pa.array(numbers))


def months() -> list[Month]:
    this = Month.of(datetime.now(UTC))
    return [this.plus(at - MONTHS + 1) for at in range(MONTHS)]


def make(runtime: Runtime, rows: int) -> None:
    """Write each month in chunks, subjects drawn at random, one row in the archive for each."""
    chance = np.random.default_rng(7)
    tables = {name: runtime.warehouse.table(name) for name in ("identifiers", "metadata")}
    offset = 0
    for month in months():
        keys = runtime.ring.keys_for(month, 12, create=True)
        left = rows // MONTHS
        while left > 0:
            count = min(CHUNK, left)
            left -= count
            drawn = pl.Series(chance.integers(0, SUBJECTS, count))
            values = pl.select("923" + drawn.cast(pl.String).str.zfill(9)).to_series()
            place = {
                "stream": pa.repeat("cdr.sms-report", count),
                "partition": pa.array((np.arange(count) % PARTITIONS).astype(np.int32)),
                "offset": pa.array(offset + np.arange(count) // PARTITIONS),
                "index": pa.nulls(count, pa.int32()),
            }
            offset += count
            times = month.start() + timedelta(hours=1)
            when = pa.array(int(times.timestamp() * 1e6) + chance.integers(0, 6_000_000, count) * 100_000)
            when = when.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
            identifiers = {
                **place, "event_time": when, "role": pa.repeat("recipient", count),
                "kind": pa.repeat("msisdn", count),
                "sealed": pa.nulls(count, pa.binary()),
                "token": subject_tokens(keys, pl.repeat("msisdn", count, eager=True), values),
                "message_token": pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(16), count, [None, pa.py_buffer(chance.bytes(16 * count))]
                ),
            }  # fmt: skip
            metadata = {
                **place, "event_time": when, "channel": pa.repeat("sms", count),
                "direction": pa.repeat("outbound", count),
                "account": names("account-", chance.zipf(1.5, count) % 300),
                "sender": names("BRAND", chance.zipf(1.5, count) % 500),
                "mcc": pa.repeat("410", count), "mnc": names("0", chance.integers(1, 7, count)),
                "route": names("route-", chance.integers(0, 40, count)),
                "parts": pa.array(chance.integers(1, 4, count).astype(np.int32)),
                "status_group": pa.repeat("DELIVERED", count), "format": pa.repeat("infobip/sms-report", count),
                "format_version": pa.array(np.ones(count, np.int32)),
            }  # fmt: skip
            for name, columns in (("identifiers", identifiers), ("metadata", metadata)):
                columns |= {
                    "month": pa.repeat(str(month), count),
                    "window_months": pa.array(np.full(count, 12, np.int32)),
                }
                schema = TABLES[name]
                table = pa.table({f.name: columns.get(f.name, pa.nulls(count, f.type)) for f in schema}).cast(
                    schema
                )
                files = write_files(
                    runtime.objects, name, table, f"bench{offset:012d}", int(time.time() * 1000)
                )
                tables[name].commit(files, {"bench": offset}, {})


def percentiles(times: list[float]) -> str:
    ordered = sorted(times)
    return f"{ordered[len(ordered) // 2] * 1e3:.0f} | {ordered[int(len(ordered) * 0.95)] * 1e3:.0f}"


def timed(runtime: Runtime, text: str) -> tuple[float, int]:
    """Seconds and hits of a look-up; the processor's seconds are kept beside."""
    start, spent = time.perf_counter(), time.process_time()
    found = lookup(runtime, Asker.of("bench", "F-1", "measured"), text)
    SPENT.append(time.process_time() - spent)
    return time.perf_counter() - start, len(found.records)


def spent_on(runtime: Runtime, subjects: list[int]) -> float:
    """Processor seconds of a look-up of several at once, the median of nine."""
    who = Asker.of("bench", "F-1", "measured")
    texts = ["+" + number(subject) for subject in subjects]
    spent = []
    for _ in range(9):
        start = time.process_time()
        lookup_each(runtime, who, texts)
        spent.append(time.process_time() - start)
    return sorted(spent)[4]


def of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(runtime: Runtime, folder: Path) -> None:
    chance = random.Random(11)
    subjects = [chance.randrange(SUBJECTS) for _ in range(LOOKUPS)]
    first, _ = timed(runtime, "+" + number(chance.randrange(SUBJECTS)))
    SPENT.clear()
    known = [timed(runtime, "+" + number(s)) for s in subjects]
    spent = percentiles(SPENT)
    SPENT.clear()
    hits = sorted(count for _, count in known)
    strange = [timed(runtime, "+" + number(SUBJECTS + s))[0] for s in subjects[:100]]
    mine = percentiles([t for t, _ in known])
    print(
        f"| warm process, {LOOKUPS} subjects, {hits[0]} to {hits[-1]} hits | {mine} | {spent} |", flush=True
    )
    print(f"| warm process, 100 numbers nobody has | {percentiles(strange)} | {percentiles(SPENT)} |")
    print(f"| the first look-up of a process | {first * 1e3:.0f} | | | |", flush=True)
    for whom, beyond in (("subjects", 0), ("numbers nobody has", SUBJECTS)):
        one, fifty = (
            spent_on(runtime, [chance.randrange(SUBJECTS) + beyond for _ in range(n)]) for n in (1, 50)
        )
        print(f"| fifty {whom} in one reading, of processor | {fifty / one:.1f} times one |", flush=True)
    fresh: list[float] = []
    cores: list[float] = []
    command = [
        sys.executable,
        "-m",
        "lethe.console.cli.main",
        "--config",
        str(folder / "lethe.toml"),
        "--json",
        "lookup",
    ]
    for _ in range(FRESH):
        start, spent_before = time.perf_counter(), of_children()
        asked = [*command, "+" + number(chance.randrange(SUBJECTS)), "--case", "F-1", "--purpose", "measured"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        fresh.append(time.perf_counter() - start)
        cores.append(of_children() - spent_before)
        assert isinstance(json.loads(done.stdout), list)
    print(
        f"| `lethe lookup`, process start included | {percentiles(fresh)} | {percentiles(cores)} |",
        flush=True,
    )


def main() -> None:
    rows = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 20_000_000
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else f"var/lookup-{rows}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lethe.toml").write_text(f'root = "{folder}/warehouse"\nkeys_dir = "{folder}/keys"\n')
    settings = Settings(root=f"{folder}/warehouse", keys_dir=folder / "keys")
    runtime = Runtime(settings, system_clock)
    if not (folder / "made").exists():
        start, spent = time.perf_counter(), time.process_time()
        make(runtime, rows)
        seconds, cores = time.perf_counter() - start, time.process_time() - spent
        print(f"made: {2 * rows / seconds:,.0f} rows/s, {2 * rows / cores:,.0f} a core", flush=True)
        start, spent = time.perf_counter(), time.process_time()
        merges = compact(
            runtime,
            Asked(("identifiers", "metadata"), whole=True),
            Cluster(open_engine("local", workers=1), settings.root, folder / "lethe.toml"),
        )
        seconds, cores = time.perf_counter() - start, time.process_time() - spent
        written = sum(m.rows for m in merges)
        print(f"compacted: {written / seconds:,.0f} rows/s, {written / cores:,.0f} a core; "
              f"{sum(m.bytes_before for m in merges):,} bytes became {sum(m.bytes_after or 0 for m in merges):,}; "
              f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB at most", flush=True)  # fmt: skip
        (folder / "made").touch()
    for table in ("identifiers", "metadata"):
        parts = overview(runtime, Asked((table,)))
        print(f"{table}: {sum(p.rows for p in parts):,} rows, {sum(p.files for p in parts)} files, "
              f"{sum(p.bytes for p in parts) / max(1, sum(p.rows for p in parts)):.1f} bytes a row")  # fmt: skip
    print(f"load average {os.getloadavg()[0]:.1f}")
    print("| look-up | p50 ms | p95 ms | of processor p50 | p95 |\n|---|---|---|---|---|", flush=True)
    measure(Runtime(settings, system_clock), folder)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # the libraries' threads need not be waited for
