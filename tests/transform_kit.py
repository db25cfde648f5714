"""A kernel over made-up batches, and ways to open again what it has sealed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from lethe.keys.providers.local import LocalProvider
from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value, subject_place
from lethe.keys.tokens import reverse_tokens
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Declaration
from lethe.schemas.line import Line
from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch, Source
from lethe.streams.transform.split.rules import Rules
from lethe.streams.transform.transform import Transform
from lethe.tiers.store.objects import open_objects
from lethe.tiers.window.usage import opened

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
MOST = 256 * 1024


@lru_cache(maxsize=8)
def ring_at(now: datetime = NOW) -> KeyRing:
    """A key ring of its own for an instant; months are made as they are met."""
    folder = tempfile.mkdtemp(prefix="lethe-test-")
    return KeyRing(
        LocalProvider.initialise(Path(folder, "keys")),
        open_objects(str(Path(folder, "warehouse")), {}),
        lambda: now,
    )


@dataclass(frozen=True)
class Kit:
    """What a test needs to put records through the kernel."""

    now: datetime = NOW
    scope: str | tuple[str, ...] = ("PK",)
    window_months: int = 12
    line: Line | None = None

    @property
    def ring(self) -> KeyRing:
        return ring_at(self.now)

    @property
    def transform(self) -> Transform:
        line = self.line
        lines = None if line is None else lambda _stream: line
        rules = Rules(RetentionPolicy(window_months=self.window_months), self.scope, timedelta(days=1), lines)
        return Transform(self.ring, rules, MOST, lambda: self.now)

    def process(
        self, values: Sequence[bytes | None], fmt: Declaration | str, first: int = 0, **more: Any
    ) -> TransformedBatch:
        declared = formats.get(fmt) if isinstance(fmt, str) else fmt
        return self.transform.process(batch_of(values, declared.name, first, self.now, **more), declared)


def batch_of(
    values: Sequence[bytes | None], name: str = "test", first: int = 0, now: datetime = NOW, **more: Any
) -> Batch:
    """A batch of consecutive offsets from `first`."""
    offsets = np.arange(first, first + len(values), dtype=np.int64)
    received = np.full(len(values), int(now.timestamp() * 1000), np.int64)
    last = first + len(values) - 1
    return Batch(
        Source("cdr.test", 0, "test/0", name), 0, 1, first, last, offsets, list(values), received, **more
    )


def rows(table: pa.Table) -> list[dict[str, Any]]:
    return table.to_pylist()


def place(row: dict[str, Any]) -> tuple[int, int | None]:
    return row["offset"], row["index"]


def subjects(
    transformed: TransformedBatch, ring: KeyRing
) -> dict[tuple[int, int | None], set[tuple[str, str, str]]]:
    """(role, kind, value) of every identifier, opened, by place."""
    found: dict[tuple[int, int | None], set[tuple[str, str, str]]] = {}
    for row in rows(transformed.identifiers):
        if row["token"] is None:
            continue
        keys = ring.keys_for(Month.parse(row["month"]), row["window_months"])
        if row["sealed"] is not None:
            name = "/".join(str(p) for p in ("cdr.test", 0, row["offset"], row["index"]) if p is not None)
            value = open_value(
                keys, "identifiers", "sealed", subject_place(name, row["token"]), row["sealed"]
            ).decode()
        else:
            known = reverse_tokens(keys, [row["token"]])[0]
            assert known is not None
            value = known[1]
        found.setdefault(place(row), set()).add((row["role"], row["kind"], value))
    return found


def landed(transformed: TransformedBatch, ring: KeyRing) -> list[dict[str, Any]]:
    """What was split, by place: rows of the archive, and of usage data what was done, opened."""
    used = [
        opened(row, ring.keys_for(Month.parse(row["month"]), row["window_months"]))
        for row in rows(transformed.usage)
    ]
    return sorted([*rows(transformed.metadata), *used], key=lambda r: (r["offset"], r["index"] or 0))


def kept(transformed: TransformedBatch) -> dict[tuple[int, int | None], tuple[str, dict[str, Any]]]:
    """What goes onto the window's pages, by place: (form, the record or its window fields)."""
    return {place(r): (r["form"], _read(r["value"])) for r in rows(transformed.entries)}


def _read(value: bytes) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(value) if value.startswith(b"{") else {"": value.decode()}
    return found


def quarantine(
    transformed: TransformedBatch, ring: KeyRing
) -> list[tuple[int, int | None, str, str | None, bytes | None]]:
    """(offset, index, reason, detail, what was kept) of every refused record."""
    found = []
    for row in rows(transformed.quarantine):
        value = None
        if row["sealed"] is not None:
            keys = ring.keys_for(Month.parse(row["month"]), row["window_months"])
            name = "/".join(str(p) for p in ("cdr.test", 0, row["offset"], row["index"]) if p is not None)
            value = zstandard.decompress(open_value(keys, "quarantine", "sealed", name, row["sealed"]))
        found.append((row["offset"], row["index"], row["reason"], row["detail"], value))
    return found
