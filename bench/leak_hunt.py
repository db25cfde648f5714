"""Plant made-up people in every field, key, list and nested object of every format, and look for them in the output.

Run with `python -m bench.leak_hunt [--count 100000] [--seed 1] [--processes 2]`. Prints how many records were
searched and where somebody was found (tables and columns, never a value); status 1 if anywhere.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from canaries import leaks_of, person, record
from kernel_kit import Kit

from schemas import format as formats
from schemas.format import Format

_BATCH = 2_000


def hunt(seed: int, count: int) -> tuple[int, int, Counter[str]]:
    """(records searched, records that reached the archive, places where somebody was found) of one seeded batch."""
    draw = Random(seed)
    every = [f for f in formats.builtin().values() if isinstance(f, Format)]
    fmt = every[seed % len(every)]
    planted = draw.choice([0.02, 0.1, 0.3, 0.7])
    found = Kit(scope=draw.choice(["all", "none", ("PK",)])).process(
        [record(fmt, person(draw), draw, planted) for _ in range(count)], fmt
    )
    return (
        found.counts.records,
        found.metadata.num_rows,
        Counter(f"{fmt.name} {place}" for place in leaks_of(found)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    started = time.monotonic()
    records = archived = 0
    places: Counter[str] = Counter()
    batches = [min(_BATCH, asked.count - at) for at in range(0, asked.count, _BATCH)]
    # A library with threads of its own does not survive a fork.
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        seeds = range(asked.seed, asked.seed + len(batches))
        for number, (some, landed, where) in enumerate(pool.map(hunt, seeds, batches), 1):
            records, archived = records + some, archived + landed
            places += where
            if sys.stderr.isatty() and number % 10 == 0:
                print(f"\r{records:,} records, {archived:,} in the archive", end="", file=sys.stderr)
    seconds = time.monotonic() - started
    print(f"searched {records:,} records ({archived:,} of them in the archive) in {seconds:,.0f} s")
    for place, count in places.most_common():
        print(f"FOUND in {place}: {count:,} batch(es)")
    print("somebody was found" if places else "nobody was found")
    raise SystemExit(1 if places else 0)


if __name__ == "__main__":
    main()
