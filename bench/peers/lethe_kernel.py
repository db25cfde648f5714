"""Lethe's kernel alone: decode, split and seal in two threads, no Kafka and no tables."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from bench.peer import Clock, Request, Result
from bench.traffic import reports
from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.operations.settings import load
from lethe.schemas.declaration import format as formats
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.streams.transform.batch import Batch, Source
from lethe.streams.transform.split.rules import Rules
from lethe.streams.transform.transform import Transform
from lethe.tiers.store.objects import open_objects

_POOL = 200_000  # records held in memory and worked on again and again
_THREADS = 2


def run(request: Request) -> Result:
    """Work on batches of the worker's size until the count is reached; their results are dropped."""
    settings = load()
    now = datetime.now(UTC)
    size = settings.flush.batch
    pool_size = min(_POOL // size * size, request.count)  # whole batches
    values: list[bytes | None] = list(reports(pool_size, end_ms=int(now.timestamp() * 1000)))
    fmt = formats.get("infobip/sms-report")
    with tempfile.TemporaryDirectory(dir=request.directory) as folder:
        objects = open_objects(f"{folder}/warehouse", {})
        ring = KeyRing(LocalProvider.initialise(Path(folder, "keys")), objects, lambda: now)
        rules = Rules(RetentionPolicy(), settings.integrity.scope, timedelta(days=1))
        transform = Transform(ring, rules, settings.limits.record_bytes, lambda: now)
        batches = []
        for first in range(0, request.count, size):
            start, count = first % len(values), min(size, request.count - first)
            some = values[start : start + count]
            count = len(some)
            offsets = np.arange(first, first + count, dtype=np.int64)
            received = np.full(count, int(now.timestamp() * 1000), np.int64)
            source = Source("bench", 0, "bench/0", fmt.name)
            batches.append(Batch(source, 0, 1, first, first + count - 1, offsets, some, received))
        transform.process(batches[0], fmt)
        clock = Clock()
        clock.start()
        with ThreadPoolExecutor(_THREADS) as pool:
            done = sum(pool.map(lambda batch: transform.process(batch, fmt).counts.records, batches))
        clock.stop()
    return clock.result(done)
