"""What a record costs in each stage of the kernel, per format, and what bad records add: one run, one machine, ratios.

Run with `python -m bench.kernel [--count 20000] [--rounds 5] [--json]`. Times are the best of
the rounds, in microseconds a record.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

import lethe.streams.transform.split.split as split_module
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.schemas.declaration import format as formats
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.streams.transform.batch import Batch, Load, Source
from lethe.streams.transform.decode.decode import decode
from lethe.streams.transform.seal.seal import seal
from lethe.streams.transform.split.rules import Rules
from lethe.streams.transform.transform import Transform
from lethe.testing.traffic import FORMATS, generate
from lethe.tiers.store.objects import open_objects

NOW = datetime(2026, 10, 15, tzinfo=UTC)
RULES = Rules(RetentionPolicy(), ("PK",), timedelta(days=1))


def batch_of(values: list[bytes | None], name: str) -> Batch:
    count = len(values)
    return Batch(
        Source("bench", 0, "bench/0", name),
        0,
        1,
        0,
        count - 1,
        np.arange(count, dtype=np.int64),
        values,
        np.full(count, int(NOW.timestamp() * 1000), np.int64),
    )


def measure(name: str, count: int, rounds: int, ring: KeyRing) -> dict[str, Any]:
    fmt = formats.get_format(name)
    clean: list[bytes | None] = list(generate(name, count, 1, until=NOW))
    transform = Transform(ring, RULES, 1 << 18, lambda: NOW)
    guard: list[float] = []
    whole_guard = split_module.leaks

    def timed(*args: Any) -> Any:
        started = time.perf_counter()
        try:
            return whole_guard(*args)
        finally:
            guard.append(time.perf_counter() - started)

    bad: dict[str, list[bytes | None]] = {"clean": clean}
    for share in (0.001, 0.02):
        bad[f"{share:.1%} malformed"] = list(generate(name, count, 1, until=NOW, malformed=share))
    batches = {label: batch_of(values, name) for label, values in bad.items()}
    best: dict[str, float] = {}

    def note(label: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        found = work()
        spent = (time.perf_counter() - started) / count * 1e6
        best[label] = min(best.get(label, spent), spent)
        return found

    split_module.leaks = timed  # type: ignore[assignment]
    try:
        for _ in range(rounds):
            decoded = note("decode", lambda: decode(clean, fmt, 1 << 18))
            parts = note("split", lambda d=decoded: split_module.split(d, fmt, RULES, NOW))
            spent = guard.pop() / count * 1e6
            best["guard"] = min(best.get("guard", spent), spent)
            note(
                "seal",
                lambda d=decoded, p=parts: seal(
                    Load.of([batches["clean"]]), fmt, p, d.rejects + p.rejects, ring, RULES, NOW
                ),
            )
            for label, batch in batches.items():  # interleaved, so that a busy moment hits them all alike
                note(label, lambda b=batch: transform.process(b, fmt))
    finally:
        split_module.leaks = whole_guard
    return {
        "format": name,
        **{label: round(value, 2) for label, value in best.items()},
        "guard share": round(best["guard"] / best["clean"], 3),
        **{
            f"speed at {label}": round(best["clean"] / best[label], 3)
            for label in batches
            if label != "clean"
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        provider = LocalProvider.initialise(Path(folder, "keys"))
        ring = KeyRing(provider, open_objects(str(Path(folder, "warehouse")), {}), lambda: NOW)
        rows = [measure(name, asked.count, asked.rounds, ring) for name in FORMATS]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return
    print("\t".join(rows[0]))
    for row in rows:
        print("\t".join(str(v) for v in row.values()))


if __name__ == "__main__":
    main()
