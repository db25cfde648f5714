"""Erase thousands of people at once: how long it takes, and how many bytes are written for those of the touched files.

Run with `nice python -m bench.erasure [--count 500000] [--people 10000]`. Reports of two months are split,
committed and merged; then recipients of theirs, taken at random, are erased by one call. Prints time, memory, and bytes
written beside the bytes of the files that were taken out; status 1 when somebody is still found or more than 1.2 times
are written.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.batches import batch_of
from lethe.operations.asker import Asker
from lethe.operations.compact import Asked, compact
from lethe.operations.rights.erase import erase_all, preview_all
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.declaration import format as formats
from lethe.streams.transform.batch import Batch
from lethe.testing.traffic import generate
from lethe.tiers.store.objects import LocalObjects

NOW = datetime(2026, 3, 31, tzinfo=UTC)
SMS = "infobip/sms-report"
_BATCH, _COMMIT = 4_000, 72_000


def fill(runtime: Runtime, count: int, seed: int) -> list[str]:
    """Commit reports as a worker does and return their recipients."""
    people: set[str] = set()
    pending: list[Batch] = []
    values: list[bytes] = []
    fmt = formats.get(SMS)
    for offset, value in enumerate(generate(SMS, count, seed, until=NOW, months=2), 1):
        people.add(json.loads(value)["to"])
        values.append(value)
        if len(values) == _BATCH or offset == count:
            pending.append(batch_of(values, offset - len(values), SMS))
            values = []
        if sum(len(b.values) for b in pending) >= _COMMIT or (pending and offset == count):
            runtime.new_warehouse().commit(runtime.transform.process_all(pending, fmt), runtime.ring)
            pending = []
    return sorted(people)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500_000)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    who = Asker.of("bench", "DSR", None)
    with tempfile.TemporaryDirectory(prefix="lethe-erasure-") as folder:
        settings = Settings(root=str(Path(folder, "warehouse")), keys_dir=Path(folder, "keys"))
        runtime = Runtime(settings, lambda: NOW)
        people = fill(runtime, asked.count, asked.seed)
        compact(runtime, Asked(whole=True))
        chosen = random.Random(asked.seed).sample(people, min(asked.people, len(people)))
        written: list[int] = []
        put = LocalObjects.put

        def counting(self: LocalObjects, path: str, data: bytes) -> None:
            written.append(len(data) if path.endswith(".parquet") else 0)
            put(self, path, data)

        LocalObjects.put = counting  # type: ignore[method-assign]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        began, spent = time.monotonic(), time.process_time()
        erased = erase_all(runtime, who, chosen)
        took, spent = time.monotonic() - began, time.process_time() - spent
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        body = json.loads(runtime.objects.get(f"_certificates/{erased.certificate or 0:08d}.json") or b"{}")
        touched = sum(f["bytes"] for f in body["certificate"]["files"])
        left = preview_all(runtime, who, chosen[:50]).total("identifiers")
    share = sum(written) / max(1, touched)
    print(
        f"{len(chosen):,} of {len(people):,} people erased from {asked.count:,} records: "
        f"{erased.total('identifiers'):,} rows, {erased.total('originals'):,} originals; {sum(written):,} bytes in "
        f"{sum(map(bool, written))} files written for {touched:,}: {share:.2f} times; {took:,.0f} s, {spent:,.0f} s of "
        f"processor time, {after:,} MB at most ({before:,} before); of 50 of them {left} rows are found"
    )
    raise SystemExit(0 if share <= 1.2 and not left and erased.found else 1)


if __name__ == "__main__":
    main()
