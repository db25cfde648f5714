"""All of a large warehouse, in one command: `python -m bench.whole [ROWS] [FOLDER]` (100,000,000 rows, 13 months).

Identifiers and as many rows of the archive are made, merged by `lethe compact --whole` in two processes, looked up
(`bench.lookup`), and the oldest month is forgotten (`bench.expiry`). Each step is a process of its own; beside its
seconds stands the most memory that one of its processes had, and all of them together, looked at twice a second.
A second call in the same folder goes on after the steps that are done. It takes 60 bytes of disk a row and table.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from bench.lookup import make, months
from lethe.operations.runtime import Runtime, system_clock
from lethe.operations.settings import Settings

ROWS = 100_000_000
WORKERS = "2"
MB = 1 << 20


def step(what: str, *command: str) -> None:
    """Run a step and print what it took; its own output goes on as it comes."""
    print(f"\n## {what}\n", flush=True)
    start, most, together = time.perf_counter(), 0, 0
    process = psutil.Popen([sys.executable, "-m", *command])
    while process.poll() is None:
        sizes = []
        with suppress(psutil.Error):
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    memory = one.memory_info()
                    sizes.append(memory.rss - memory.shared)  # files that are mapped are the page cache's
        most, together = max([most, *sizes]), max(together, sum(sizes))
        time.sleep(0.5)
    seconds = time.perf_counter() - start
    print(f"{what}: {seconds:.0f} s, memory at most {most // MB} MB a process, {together // MB} MB together; "
          f"load average {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
    if process.returncode:
        raise SystemExit(f"{what} ended with {process.returncode}")


def made(rows: int, folder: Path) -> None:
    """Write the tables, in files of 500,000 rows."""
    runtime = Runtime(Settings(root=f"{folder}/warehouse", keys_dir=folder / "keys"), system_clock)
    start, spent = time.perf_counter(), time.process_time()
    make(runtime, rows, months())
    seconds, cores = time.perf_counter() - start, time.process_time() - spent
    print(f"made: {2 * rows / seconds:,.0f} rows/s, {2 * rows / cores:,.0f} a core")
    (folder / "rows").write_text(str(rows))
    (folder / "written").touch()


def main() -> None:
    arguments = [text for text in sys.argv[1:] if text != "--make"]
    rows = int(arguments[0].replace(",", "")) if arguments else ROWS
    folder = Path(arguments[1] if len(arguments) > 1 else f"var/whole-{rows}").resolve()
    if "--make" in sys.argv:
        made(rows, folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "lethe.toml"
    config.write_text(f'root = "{folder}/warehouse"\nkeys_dir = "{folder}/keys"\n')
    place = (str(rows), str(folder))
    if not (folder / "written").exists():
        step("made", "bench.whole", *place, "--make")
    if not (folder / "made").exists():  # which tells `bench.lookup` that it has only to measure
        lethe = ("lethe.console.cli.main", "--config", str(config))
        start = time.perf_counter()
        for table in ("identifiers", "metadata"):
            step(f"merged {table}", *lethe, "compact", "--whole", "--table", table, "--workers", WORKERS)
        print(f"merged: {2 * rows / (time.perf_counter() - start):,.0f} rows/s in {WORKERS} processes")
        (folder / "made").touch()
    step("looked up", "bench.lookup", *place)
    step("forgot the oldest month", "bench.expiry", str(folder))


if __name__ == "__main__":
    main()
