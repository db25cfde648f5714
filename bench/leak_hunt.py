"""Plant made-up people in every field, key, list and nested object of every format, and look for them in the output.

Run with `python -m bench.leak_hunt [--count 100000] [--seed 1] [--processes 2]`. Every record goes through the kernel
and what it would store is searched, decompressed; one batch in ten is also committed to a warehouse and published, and
every file of it is searched: table logs, ledger, integrity log, names. Prints how much was searched and where somebody
was found (tables, columns and files, never a value); status 1 if anywhere. What a process holds is one batch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from canaries import NOW, Tally, leaks_of, person, record, traces
from transform_kit import Kit, batch_of

from lethe.console.cli.shell import progress
from lethe.operations.proof.publisher import publication_of
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Integrity, Settings
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format

_BATCH = 2_000
_WHOLE_PATH = 10  # one batch in so many is committed and published


@dataclass
class Hunted:
    """What was searched, and the places where somebody was found."""

    records: int = 0
    archived: int = 0
    planted: int = 0
    searched: int = 0
    committed: int = 0
    seconds: float = 0.0
    formats: set[str] = field(default_factory=set)
    places: Counter[str] = field(default_factory=Counter)

    def add(self, other: Hunted) -> None:
        """Count another one in."""
        for name in ("records", "archived", "planted", "searched", "committed", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.formats |= other.formats
        self.places += other.places


def every_format() -> list[Format]:
    """The formats that are hunted through, in turn."""
    return [f for f in formats.builtin().values() if isinstance(f, Format)]


def hunt(number: int, seed: int, count: int) -> Hunted:
    """Hunt through batch `number` of a run."""
    began = time.process_time()
    draw = Random(f"{seed}/{number}")
    every = every_format()
    fmt = every[number % len(every)]
    planted = draw.choice([0.02, 0.1, 0.3, 0.7])
    scope = draw.choice(["all", "none", ("PK",)])
    tally = Tally()
    values: list[bytes | None] = [record(fmt, person(draw), draw, planted, tally) for _ in range(count)]
    found = Kit(scope=scope).process(values, fmt)
    hunted = Hunted(found.counts.records, found.metadata.num_rows, formats={fmt.name})
    hunted.places.update(f"{fmt.name} {place}" for place in leaks_of(found, tally))
    if (number // len(every)) % _WHOLE_PATH == number % _WHOLE_PATH:  # so that every format has its turn
        hunted.places.update(f"{fmt.name} {place}" for place in _whole_path(fmt, values, scope, tally))
        hunted.committed = found.counts.records
    hunted.planted, hunted.searched = tally.planted, tally.searched
    hunted.seconds = time.process_time() - began
    return hunted


def _whole_path(
    fmt: Format, values: list[bytes | None], scope: str | tuple[str, ...], tally: Tally
) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="lethe-hunt-") as folder:
        home = Path(folder)
        integrity = Integrity(scope=list(scope) if isinstance(scope, tuple) else scope)
        settings = Settings(root=str(home / "warehouse"), keys_dir=home / "keys", integrity=integrity)
        runtime = Runtime(settings, lambda: NOW)
        transformed = runtime.transform.process(batch_of(values, fmt.name, 0, NOW), fmt)
        publication = publication_of(runtime)
        publication.add(runtime.warehouse.commit([transformed], runtime.ring))
        if publication.run().failures:
            raise RuntimeError("a log could not be published")
        return sorted({place.split("/")[0] for place in traces(home / "warehouse", tally)})


def _all(count: int, seed: int, processes: int) -> Iterator[Hunted]:
    """Every batch, as it is done; a few wait for each process, whatever the count."""
    sizes = iter(enumerate(min(_BATCH, count - at) for at in range(0, count, _BATCH)))
    # A library with threads of its own does not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting: set[Future[Hunted]] = set()
        while True:
            while len(waiting) < 3 * processes and (one := next(sizes, None)) is not None:
                waiting.add(pool.submit(hunt, one[0], seed, one[1]))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    started = time.monotonic()
    total, told = Hunted(), 0
    with progress("records searched", asked.count) as update:
        for hunted in _all(asked.count, asked.seed, asked.processes):
            total.add(hunted)
            update(total.records, None)
            if not sys.stderr.isatty() and total.records * 10 // asked.count > told:
                told = total.records * 10 // asked.count
                print(f"{total.records:,} of {asked.count:,} records", file=sys.stderr, flush=True)
    print(
        f"searched {total.records:,} records of {len(total.formats)} of {len(every_format())} formats "
        f"({total.archived:,} in the archive, {total.committed:,} committed and published): "
        f"{total.planted:,} addresses planted, {total.searched:,} bytes searched, "
        f"in {time.monotonic() - started:,.0f} s ({total.seconds:,.0f} s of processor time)"
    )
    for place, count in total.places.most_common():
        print(f"FOUND in {place}: {count:,} batch(es)")
    print("somebody was found" if total.places else "nobody was found")
    raise SystemExit(1 if total.places else 0)


if __name__ == "__main__":
    main()
