"""Where the time of a record goes, stage by stage: `python -m bench.stages [--count 200000] [--threads 1]`.

Runs kernel and commit one after the other in one thread with polars held to as many threads as asked for, so that
stages do not overlap and the times add up. Functions are wrapped where they are called; a stage within another one is
shown indented and is part of it. Times are processor time, which other programs disturb least, in µs a record.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--count", type=int, default=200_000)
parser.add_argument("--batch", type=int, default=15_000)
parser.add_argument("--threads", type=int, default=1, help="threads of polars and of Arrow")
parser.add_argument("--scope", default="PK", help="`all`, `none` or a country")

STAGES = [
    (0, "transform", "lethe.streams.transform.transform.Transform.process"),
    (1, "decode", "lethe.streams.transform.transform.decode"),
    (2, "take out, join", "lethe.streams.transform.decode.decode._take_out"),
    (2, "read, compiled", "lethe.streams.transform.decode.decode._usual"),
    (2, "JSON validation", "lethe.streams.transform.decode.decode.readable"),
    (2, "JSON columns", "lethe.streams.transform.decode.decode.read_columns"),
    (2, "open envelopes", "lethe.streams.transform.decode.decode._open_envelopes"),
    (2, "reject NUL", "lethe.streams.transform.decode.decode._reject_nul"),
    (1, "split", "lethe.streams.transform.transform.split"),
    (2, "convert columns", "lethe.streams.transform.split.split._convert"),
    (3, "timestamps", "lethe.streams.transform.split.columns.times"),
    (2, "parties", "lethe.streams.transform.split.split.read_parties"),
    (2, "classify", "lethe.streams.transform.split.split.classify"),
    (2, "leak guard", "lethe.streams.transform.split.split.leaks"),
    (1, "seal", "lethe.streams.transform.transform.seal"),
    (2, "originals", "lethe.streams.transform.seal.seal._originals"),
    (2, "integrity hashes", "lethe.streams.transform.seal.seal.integrity_hashes"),
    (2, "identifiers", "lethe.streams.transform.seal.seal._identifiers"),
    (3, "subject tokens", "lethe.streams.transform.seal.seal.subject_tokens"),
    (3, "message tokens", "lethe.streams.transform.seal.seal.message_tokens"),
    (2, "window fields", "lethe.streams.transform.seal.seal._entries"),
    (2, "metadata", "lethe.streams.transform.seal.seal._metadata"),
    (0, "commit", "lethe.tiers.warehouse.Warehouse.commit"),
    (1, "originals, pages", "lethe.tiers.warehouse.to_pages"),
    (2, "seal page", "lethe.tiers.commit.pages.seal_page"),
    (1, "Parquet files", "lethe.tiers.warehouse.write_files"),
    (2, "identifiers", "write:identifiers"),
    (2, "originals", "write:originals"),
    (2, "metadata", "write:metadata"),
    (1, "Merkle roots", "lethe.tiers.commit.ledger_entries.commit_each_with_leaves"),
    (1, "rows out of scope", "lethe.tiers.commit.ledger_entries.commit_outside"),
    (1, "Delta commits", "lethe.tiers.delta.table.Table.commit"),
]


def main() -> None:
    asked = parser.parse_args()
    # Read when the libraries are loaded.
    os.environ["POLARS_MAX_THREADS"] = str(asked.threads)
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    import numpy as np
    import pyarrow as pa

    from bench.traffic import reports
    from lethe.keys.providers.local import LocalProvider
    from lethe.keys.ring import KeyRing
    from lethe.schemas.declaration import format as formats
    from lethe.schemas.retention.policy import RetentionPolicy
    from lethe.streams.transform.batch import Batch, Source
    from lethe.streams.transform.split.rules import Rules
    from lethe.streams.transform.transform import Transform
    from lethe.tiers.store.objects import open_objects
    from lethe.tiers.warehouse import Warehouse

    pa.set_cpu_count(asked.threads)
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                return work(*args, **named)
            finally:
                took = time.process_time() - started
                spent[name] += took
                if name.endswith("write_files"):
                    spent[f"write:{args[1]}"] += took

        return run

    now = datetime.now(UTC)
    values: list[bytes | None] = list(reports(asked.count, end_ms=int(now.timestamp() * 1000)))
    fmt = formats.get("infobip/sms-report")
    scope: Any = asked.scope if asked.scope in ("all", "none") else (asked.scope,)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for _, _, target in STAGES:
            module, _, attribute = target.rpartition(".")
            owner = _find(module)
            if owner is not None and hasattr(owner, attribute):
                stack.enter_context(patch.object(owner, attribute, timed(target, getattr(owner, attribute))))
        objects = open_objects(f"{folder}/warehouse", {})
        ring = KeyRing(LocalProvider.initialise(Path(folder, "keys")), objects, lambda: now)
        transform = Transform(ring, Rules(RetentionPolicy(), scope, timedelta(days=1)), 1 << 18, lambda: now)
        warehouse = Warehouse(objects, {}, lambda: now)

        def batch(first: int, some: list[bytes | None]) -> Batch:
            count = len(some)
            return Batch(
                Source("bench", 0, "bench/0", fmt.name), 0, 1, first, first + count - 1,
                np.arange(first, first + count, dtype=np.int64), some,
                np.full(count, int(now.timestamp() * 1000), np.int64),
            )  # fmt: skip

        cut = range(0, asked.count, asked.batch)
        transform.process(batch(0, values[: asked.batch]), fmt)  # warm
        spent.clear()
        transformed = [
            transform.process(batch(first, values[first : first + asked.batch]), fmt) for first in cut
        ]
        warehouse.commit(transformed, ring)
    print(f"{'stage':<28}µs a record")
    for depth, name, target in STAGES:
        if spent[target]:
            print(f"{'  ' * depth + name:<28}{spent[target] / asked.count * 1e6:8.2f}")


def _find(path: str) -> Any:
    """A module, or a class in one."""
    if path in sys.modules:
        return sys.modules[path]
    module, _, name = path.rpartition(".")
    return getattr(sys.modules[module], name, None) if module in sys.modules else None


if __name__ == "__main__":
    main()
