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
from collections.abc import Callable
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
FLUSH, WAITING = 60_000, 8
"""Rows that a worker flushes at once, and how many such files of the newest month are not merged."""
HITS = 20
"""Rows of an ordinary subject, on average: a number of some rows a month belongs to fewer than one in twenty."""
BUSY, ONCE = 1_000, 1_000
"""Subjects of some 500 rows each, and subjects of one row each, planted among the others."""
BUSY_HITS = 500
FIRST_BUSY, FIRST_ONCE, NOBODY = 500_000_000, 600_000_000, 700_000_000
LOOKUPS, FRESH, COLD = (int(os.environ.get(f"BENCH_{name}", usual)) for name, usual in
                        (("LOOKUPS", 500), ("FRESH", 20), ("COLD", 20)))  # fmt: skip
PARTITIONS = 12
PER_SECOND = 12_000
BOTH = ("identifiers", "metadata")


def number(subject: int) -> str:
    return f"923{subject:09d}"


def names(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pa.array([f"{prefix}{n}" for n in range(int(numbers.max()) + 1)]).take(pa.array(numbers))


def months() -> list[Month]:
    this = Month.of(datetime.now(UTC))
    return [this.plus(at - MONTHS + 1) for at in range(MONTHS)]


def ordinary(rows: int) -> int:
    return max(1, rows // HITS)


def stamps(micros: np.ndarray | pa.Array) -> pa.Array:
    return pa.array(micros).cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))


def subjects_of(chance: np.random.Generator, count: int, rows: int, once: int) -> tuple[np.ndarray, int]:
    """Draw the subjects of a chunk: ordinary ones, and the planted ones in their share of all rows."""
    drawn = chance.integers(0, ordinary(rows), count)
    busy = round(count * min(BUSY * BUSY_HITS, rows // 4) / rows)
    drawn[:busy] = FIRST_BUSY + chance.integers(0, BUSY, busy)
    singles = min(-(-count * ONCE // rows), FIRST_ONCE + ONCE - once)
    drawn[busy : busy + singles] = once + np.arange(singles)
    chance.shuffle(drawn)
    return drawn, once + singles


def nothing_more(chance: np.random.Generator, count: int) -> dict[str, pa.Array]:  # noqa: ARG001
    return {}


def make(
    runtime: Runtime,
    rows: int,
    written: list[Month],
    chunk: int = CHUNK,
    only: tuple[str, ...] = BOTH,
    draw: Callable[[np.random.Generator, int, int, int], tuple[np.ndarray, int]] = subjects_of,
    more: Callable[[np.random.Generator, int], dict[str, pa.Array]] = nothing_more,
    offset: int = 0,
) -> None:
    """Write each month in chunks, subjects drawn at random, one row in the archive for each, from an offset on.

    Where only the archive is made, reports come in the order in which they were done, most within seconds of what they
    are of and one of sixty a day later, as those of `lethe generate`; times drawn at random in the month take more.
    `draw`: the subjects of a chunk; `more`: columns of its archive rows.
    """
    chance = np.random.default_rng(7)
    tables = {name: runtime.warehouse.table(name) for name in only}
    once = FIRST_ONCE
    for month in written:
        keys = runtime.ring.keys_for(month, 12, create=True)
        left = rows // len(written)
        while left > 0:
            count = min(chunk, left)
            left -= count
            drawn, once = draw(chance, count, rows, once)
            values = pl.select("923" + pl.Series(drawn).cast(pl.String).str.zfill(9)).to_series()
            place = {
                "stream": pa.repeat("cdr.sms-report", count),
                "partition": pa.array((np.arange(count) % PARTITIONS).astype(np.int32)),
                "offset": pa.array(offset + np.arange(count) // PARTITIONS),
                "index": pa.nulls(count, pa.int32()),
            }
            offset += count
            times = month.start() + timedelta(hours=1)
            when = pa.array(int(times.timestamp() * 1e6) + chance.integers(0, 6_000_000, count) * 100_000)
            done = pa.nulls(count, pa.timestamp("us", "UTC"))
            if only != BOTH:
                came = np.arange(offset - count, offset) * 1_000 // PER_SECOND
                done_at = int(times.timestamp() * 1e3) + 3 * 86_400_000 + came
                took = (2_000 * (0.3 + chance.random(count) ** 3 * 3.7)).astype(np.int64)
                took[chance.integers(0, 60, count) == 0] += 86_400_000
                done, when = stamps(done_at * 1_000), pa.array((done_at - took) * 1_000)
            when = stamps(when)
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
                **place, "event_time": when, "done_time": done, "channel": pa.repeat("sms", count),
                "direction": pa.repeat("outbound", count),
                "account": names("account-", chance.zipf(1.5, count) % 300),
                "sender": names("BRAND", chance.zipf(1.5, count) % 500),
                "mcc": pa.repeat("410", count), "mnc": names("0", chance.integers(1, 7, count)),
                "route": names("route-", chance.integers(0, 40, count)),
                "parts": pa.array(chance.integers(1, 4, count).astype(np.int32)),
                "status_group": pa.repeat("DELIVERED", count), "format": pa.repeat("infobip/sms-report", count),
                "format_version": pa.array(np.ones(count, np.int32)), **more(chance, count),
            }  # fmt: skip
            for name, columns in zip(BOTH, (identifiers, metadata), strict=True):
                if name not in only:
                    continue
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


WHO = Asker.of("bench", "F-1", "measured")


def drawn_of(kind: str, rows: int, chance: random.Random) -> str:
    """Return a number of one kind of subject: of `busy`, `ordinary` and `once` there are records, of `nobody` none."""
    subject = {
        "nobody": lambda: NOBODY + chance.randrange(10_000_000),
        "once": lambda: FIRST_ONCE + chance.randrange(ONCE // 2),
        "ordinary": lambda: chance.randrange(ordinary(rows)),
        "busy": lambda: FIRST_BUSY + chance.randrange(BUSY),
    }[kind]()
    return "+" + number(subject)


def forget(folder: Path) -> None:
    """Put the warehouse's files out of the page cache, as far as nobody has them mapped."""
    for path in (folder / "warehouse").rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(
    runtime: Runtime, text: str, since: datetime | None = None, until: datetime | None = None
) -> tuple[float, float, int]:
    """Seconds of the wall, of the processor (all threads) and hits of a look-up."""
    start, spent = time.perf_counter(), time.process_time()
    found = lookup(runtime, WHO, text, since, until)
    return time.perf_counter() - start, time.process_time() - spent, len(found.records)


def row(what: str, measured: list[tuple[float, float, int]]) -> None:
    hits = sorted(count for _, _, count in measured)
    walls, cores = [wall for wall, _, _ in measured], [core for _, core, _ in measured]
    print(
        f"| {what} | {len(measured)} | {hits[0]} - {hits[-1]} | {percentiles(walls)} | {percentiles(cores)} |",
        flush=True,
    )


def spent_on(runtime: Runtime, texts: list[str]) -> float:
    """Processor seconds of a look-up of several at once."""
    start = time.process_time()
    lookup_each(runtime, WHO, texts)
    return time.process_time() - start


def of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def started(folder: Path, text: str) -> tuple[float, float, int]:
    """Look a number up with the command, its start included; compiled files are kept, as at an installation."""
    command = [
        sys.executable,
        "-m",
        "lethe.console.cli.main",
        "--config",
        str(folder / "lethe.toml"),
        "--json",
    ]
    start, before = time.perf_counter(), of_children()
    asked = [*command, "lookup", text, "--case", "F-1", "--purpose", "measured"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(asked, env=env, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, of_children() - before, len(json.loads(done.stdout))


def measure(runtime: Runtime, folder: Path, rows: int) -> None:
    chance = random.Random(11)
    kinds = ("nobody", "once", "ordinary", "busy")
    first = timed(runtime, drawn_of("ordinary", rows, chance))
    row("the first look-up of a process", [first])
    for kind in kinds:
        row(
            f"running process, {kind}", [timed(runtime, drawn_of(kind, rows, chance)) for _ in range(LOOKUPS)]
        )
    newest = months()[-1].start()
    filled = [m for m in months() if (folder / "warehouse" / "metadata" / f"month={m}").is_dir()]
    for last in (len(filled), 6, 3, 1):
        since = filled[-last].start() if filled else newest
        few = [timed(runtime, drawn_of("ordinary", rows, chance), since) for _ in range(LOOKUPS // 4)]
        row(f"running process, ordinary, `--since` {last} month(s) back", few)
    for first_months in (len(filled), 6, 3, 1):
        until = filled[first_months - 1].plus(1).start() if filled else newest
        few = [timed(runtime, drawn_of("ordinary", rows, chance), until=until) for _ in range(LOOKUPS // 4)]
        row(f"running process, ordinary, `--until` the end of {first_months} month(s)", few)
    for kind in kinds[:1] + kinds[2:]:
        cold = []
        for _ in range(COLD):
            forget(folder)
            cold.append(timed(runtime, drawn_of(kind, rows, chance)))
        row(f"running process, cold page cache, {kind}", cold)
    started(folder, drawn_of("nobody", rows, chance))  # compiled files are there from now on
    for kind in kinds:
        row(
            f"process start included, {kind}",
            [started(folder, drawn_of(kind, rows, chance)) for _ in range(FRESH)],
        )
    cold = []
    for _ in range(COLD // 2):
        forget(folder)
        cold.append(started(folder, drawn_of("ordinary", rows, chance)))
    row("process start included, cold page cache, ordinary", cold)
    for kind in ("ordinary", "nobody"):
        spent = {
            n: sorted(spent_on(runtime, [drawn_of(kind, rows, chance) for _ in range(n)]) for _ in range(9))[
                4
            ]
            for n in (1, 50)
        }
        print(f"fifty of {kind} in one reading, of processor: {spent[50] * 1e3:.0f} ms, "
              f"{spent[50] / spent[1]:.1f} times one", flush=True)  # fmt: skip
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB", flush=True)


def main() -> None:
    rows = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 20_000_000
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else f"var/lookup-{rows}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lethe.toml").write_text(f'root = "{folder}/warehouse"\nkeys_dir = "{folder}/keys"\n')
    settings = Settings(root=f"{folder}/warehouse", keys_dir=folder / "keys")
    runtime = Runtime(settings, system_clock)
    if not (folder / "made").exists():
        start, spent = time.perf_counter(), time.process_time()
        make(runtime, rows, months())
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
        # As between two merges of a month that is being written.
        make(
            runtime, WAITING * FLUSH, months()[-1:], FLUSH, offset=rows,
            draw=lambda chance, count, _rows, _once: subjects_of(chance, count, rows, FIRST_ONCE + ONCE),
        )  # fmt: skip
        (folder / "made").touch()
        (folder / "rows").write_text(str(rows))
    for table in ("identifiers", "metadata"):
        parts = overview(runtime, Asked((table,)))
        print(f"{table}: {sum(p.rows for p in parts):,} rows, {sum(p.files for p in parts)} files, "
              f"{sum(p.bytes for p in parts) / max(1, sum(p.rows for p in parts)):.1f} bytes a row")  # fmt: skip
    print(f"load average {os.getloadavg()[0]:.1f}")
    print("| look-up | n | hits | p50 ms | p95 ms | of processor p50 | p95 |\n|---|---|---|---|---|---|---|")
    measure(Runtime(settings, system_clock), folder, rows)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # the libraries' threads need not be waited for
