"""What a batch has become when it reaches the tables: rows, sealed where they must be, and their counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from lethe.schemas.arrow import IDENTIFIERS, METADATA, QUARANTINE, USAGE

ENTRIES = pa.schema(
    [
        pa.field("stream", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("index", pa.int32()),
        pa.field("form", pa.string(), nullable=False),
        pa.field("value", pa.binary(), nullable=False),
        pa.field("month", pa.string(), nullable=False),
        pa.field("window_months", pa.int32(), nullable=False),
    ]
)
"""Originals and window fields before they are put on pages: `form` is received, canonical or fields (JSON)."""
DONE: Final = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("index", pa.int32()),
        pa.field("event_time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("action", pa.string()),
        pa.field("method", pa.string()),
        pa.field("status", pa.string()),
        pa.field("path", pa.bool_()),
        pa.field("account", pa.bool_()),
        pa.field("user", pa.bool_()),
        pa.field("address", pa.bool_()),
    ]
)
"""What usage data looks like, for what is counted of it: of path and people only whether they are there. Not stored."""


@dataclass(slots=True)
class Counts:
    """records = split + late + rejected + tombstones; `redacted` and what follows count among them.

    `usage`: of the split, records of usage data, which are in the window alone.
    """

    messages: int = 0
    records: int = 0
    split: int = 0
    late: int = 0
    rejected: int = 0
    tombstones: int = 0
    redacted: int = 0
    content_dropped: int = 0
    identifiers: int = 0
    in_scope: int = 0
    usage: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        """Add another batch's counts to these."""
        for name in self.__slots__:
            if name == "reasons":
                self.reasons.update(other.reasons)
            else:
                setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class TransformedBatch:
    """One batch, ready to commit. Offsets `first` to `last` (both included) are accounted for by it.

    `metadata`, `identifiers`, `quarantine` and `usage` have the columns of `lethe.schemas.arrow`, `entries` those of
    `ENTRIES`, `done` those of `DONE`; all are in the order of the offsets.
    """

    stream: str
    partition: int
    source: str
    first: int
    last: int
    counts: Counts
    metadata: pa.Table = field(repr=False, default_factory=METADATA.empty_table)
    identifiers: pa.Table = field(repr=False, default_factory=IDENTIFIERS.empty_table)
    entries: pa.Table = field(repr=False, default_factory=ENTRIES.empty_table)
    quarantine: pa.Table = field(repr=False, default_factory=QUARANTINE.empty_table)
    usage: pa.Table = field(repr=False, default_factory=USAGE.empty_table)
    done: pa.Table = field(repr=False, default_factory=DONE.empty_table)
    gap: str | None = None
    held: int = 0  # bytes of its rows in memory
    received_ms: int = -1  # when the broker got one in the middle of it, since 1970; -1: unknown
