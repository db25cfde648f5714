"""How much faster two workers merge than one: `bench.engines [ROWS] [FOLDER]` (12,000,000 rows; needs two free cores).

Identifiers and archive of six months and a small one are made once, and copied by links for each engine. The small
month is merged first, so that workers have started and imported what they need; the other six are timed. Beside the
wall stands what of it went by outside of the workers: planning, reading footers, commits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.lookup import BOTH, make, months
from lethe.operations.compact import Asked, compact
from lethe.operations.engines import open_engine
from lethe.operations.engines.tasks import Cluster
from lethe.operations.runtime import Runtime, system_clock
from lethe.operations.settings import Settings

ROWS, CHUNK = 12_000_000, 250_000
ENGINES = (("local", 1), ("local", 2), ("dask", 1), ("dask", 2))


class Timed:
    """An engine, and how long its workers were waited for."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.seconds = engine, 0.0

    def map(self, work: Any, texts: Sequence[str]) -> Iterator[str]:
        start = time.perf_counter()
        done = list(self.engine.map(work, texts))
        self.seconds += time.perf_counter() - start
        yield from done

    def close(self) -> None:
        self.engine.close()


def ready(text: str) -> str:
    """Import what a merge needs; it takes long enough for every worker to get one."""
    import lethe.operations.engines.tasks  # noqa: F401

    time.sleep(1)
    return text


def settings_of(folder: Path) -> Settings:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lethe.toml").write_text(f'root = "{folder}/warehouse"\nkeys_dir = "{folder}/keys"\n')
    return Settings(root=f"{folder}/warehouse", keys_dir=folder / "keys")


def merged(folder: Path, name: str, workers: int) -> tuple[float, float, int]:
    """Merge a copy with an engine; returns seconds, those of them outside of the workers, and rows."""
    copy = folder / f"{name}-{workers}"
    shutil.rmtree(copy, ignore_errors=True)
    settings = settings_of(copy)
    for part in ("warehouse", "keys"):
        subprocess.run(["cp", "-al", str(folder / "made" / part), str(copy)], check=True)
    engine = Timed(open_engine(name, workers=workers))
    runtime = Runtime(settings, system_clock)
    with closing(engine):
        list(engine.map(ready, ["ready"] * 2 * workers))
        cluster = Cluster(engine, settings.root, copy / "lethe.toml")
        compact(runtime, Asked(BOTH, str(months()[0]), whole=True), cluster)
        engine.seconds, start = 0.0, time.perf_counter()
        rows = sum(merge.rows for merge in compact(runtime, Asked(BOTH, whole=True), cluster))
        seconds = time.perf_counter() - start
    shutil.rmtree(copy)
    return seconds, seconds - engine.seconds, rows


def main() -> None:
    rows = int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else ROWS
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else f"var/engines-{rows}").resolve()
    if not (folder / "made" / "done").exists():
        runtime = Runtime(settings_of(folder / "made"), system_clock)
        make(runtime, 20_000, months()[:1], 5_000)
        make(runtime, rows, months()[1:7], CHUNK)
        (folder / "made" / "done").touch()
    print(f"load average {os.getloadavg()[0]:.1f}")
    print("| engine | workers | rows/s | seconds | outside of the workers | times one worker |")
    print("|---|---:|---:|---:|---:|---:|")
    alone: dict[str, float] = {}
    for name, workers in ENGINES:
        seconds, outside, count = merged(folder, name, workers)
        alone.setdefault(name, seconds)
        print(f"| {name} | {workers} | {count / seconds:,.0f} | {seconds:.1f} | {outside:.1f} "
              f"({outside / seconds:.0%}) | {alone[name] / seconds:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
