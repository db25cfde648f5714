"""What the detectors cost over a month: `python -m bench.detection [ROWS] [FOLDER] [--dense] [--all]`.

A month (10,000,000 records) is made once, through the product's own writers, in files of 500,000 records: 500,000
adjacent numbers and 1,000 busy ones, 300 accounts, two currencies, a tenth without a price, 6 of 100 failed for good.
`--dense`: 1,000 numbers of one block have the whole month, which is the worst case of `ait` and `otp`. Each pattern is
measured in a process of its own, which is told apart from what starting it took; `--all` measures all of them in one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.lookup import make, months
from lethe.operations.asker import Asker
from lethe.operations.detection.detect import KINDS, detect
from lethe.operations.runtime import Runtime, system_clock
from lethe.operations.settings import Settings

ROWS = 10_000_000
PRICES = pa.array([Decimal(n).scaleb(-4) for n in range(20, 900)], pa.decimal128(18, 6))


def one_block(chance: np.random.Generator, count: int, rows: int, once: int) -> tuple[np.ndarray, int]:  # noqa: ARG001
    return chance.integers(0, 1_000, count), once


def said(chance: np.random.Generator, count: int) -> dict[str, pa.Array]:
    """Draw how messages ended, and what they cost."""
    dead, priced = chance.random(count) < 0.06, chance.random(count) >= 0.1
    prices = pa.array(chance.integers(0, len(PRICES), count), mask=~priced)
    currencies = pa.array(chance.integers(0, 2, count), mask=~priced)
    return {
        "status_group": pa.array(["DELIVERED", "UNDELIVERABLE"]).take(pa.array(dead.astype(np.int8))),
        "permanent_error": pa.array(dead),
        "charge": PRICES.take(prices),
        "currency": pa.array(["EUR", "USD"]).take(currencies),
    }


def opened(folder: Path) -> Runtime:
    return Runtime(Settings(root=f"{folder}/warehouse", keys_dir=folder / "keys"), system_clock)


def most_memory() -> int:
    """MB this process had at most; `getrusage` also counts what the process that started it had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise OSError("/proc/self/status does not say VmHWM")


def measured(folder: Path, kinds: list[str]) -> None:
    """Measure in this process, and print what it took as JSON."""
    runtime = opened(folder)
    wall, cpu = time.perf_counter(), time.process_time()
    found = detect(runtime, Asker.of("bench", "F-1", "measured"), kinds, months()[-2])
    took = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "memory": most_memory(),
        "rows": sum(len(f.rows) for f in found),
        "hidden": sum(f.hidden for f in found),
    }
    print(json.dumps(took))


def main() -> None:
    flags = {a for a in sys.argv[1:] if a.startswith("--")}
    given = [a for a in sys.argv[1:] if not a.startswith("--")]
    rows = int(given[0].replace(",", "")) if given else ROWS
    name = "dense" if "--dense" in flags else "month"
    folder = Path(given[1] if len(given) > 1 else f"var/detection-{rows}").resolve() / name
    if only := [f.removeprefix("--only=") for f in flags if f.startswith("--only=")]:
        measured(folder, only[0].split(","))
        return
    if not (folder / "made").exists():
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        draw = {"draw": one_block} if "--dense" in flags else {}
        make(opened(folder), rows, [months()[-2]], more=said, **draw)
        print(f"made: {rows / (time.perf_counter() - start):,.0f} records/s", flush=True)
        (folder / "made").touch()
    print(f"{rows:,} records, load average {os.getloadavg()[0]:.1f}\n")
    print("| pattern | s | CPU s | cores used | µs of CPU a record | peak memory | shown | not shown |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for kinds in [*([k] for k in KINDS), *([list(KINDS)] if "--all" in flags else [])]:
        command = [
            sys.executable,
            "-m",
            "bench.detection",
            str(rows),
            str(folder.parent),
            f"--only={','.join(kinds)}",
        ]
        done = subprocess.run([*command, *(flags & {"--dense"})], capture_output=True, text=True, check=True)
        took = json.loads(done.stdout.splitlines()[-1])
        called = f"`{kinds[0]}`" if len(kinds) == 1 else "`all`"
        print(f"| {called} | {took['wall']:.1f} | {took['cpu']:.1f} | {took['cpu'] / took['wall']:.2f} "
              f"| {took['cpu'] * 1e6 / rows:.2f} | {took['memory']:,} MB | {took['rows']:,} | {took['hidden']:,} |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
