"""The ledger: one row per commit and topic-partition, derived from what the metadata commit said of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from lethe.integrity.log.commitment import Commitment
from lethe.integrity.log.leaves import commit_each_with_leaves
from lethe.schemas.arrow import LEDGER
from lethe.schemas.retention.calendar import Month
from lethe.schemas.transformed import Counts, TransformedBatch

COMMIT_INFO: Final = "lethe.ledger"
"""The key under which a metadata commit says what it accounts for."""

REPLAYED: Final = "replay/quarantine"
"""Transaction id of what is replayed from quarantine, and the `source` of the ledger rows that say so.

Such a row takes nothing in: it moves records from `rejected` (negative here) to `split` and `late`, within the offsets
that a row of another source accounts for.
"""

_BINARY: Final = ("merkle_root", "rows_sha3_512")


@dataclass(frozen=True, slots=True)
class Hashed:
    """What the log needs of one source in a commit: computed once, for the account of the commit and for the log.

    `leaf_file` and `months` are those of `lethe.integrity.log.leaves.commit_each_with_leaves`.
    """

    stream: str
    partition: int
    first: int
    last: int
    commitment: Commitment
    leaf_file: bytes = field(repr=False)
    months: tuple[Month, Month] | None


def hashed(batches: Sequence[TransformedBatch], whole: bool = False) -> dict[str, Hashed]:
    """The rows in scope of each source, hashed; batches of a source follow on each other.

    `whole` is for the log of replays, whose leaf files have all leaf hashes.
    """
    sources: dict[str, list[TransformedBatch]] = {}
    for batch in batches:
        sources.setdefault(batch.source, []).append(batch)
    if not sources:
        return {}
    rows = pa.concat_tables([b.metadata for mine in sources.values() for b in mine])
    scoped = rows.column("integrity_hash").is_valid()
    # Once for all: to leave rows out of so many columns costs a partition with few rows more than all else.
    before = np.concatenate([[0], np.cumsum(scoped.to_numpy())])
    ends = np.cumsum([sum(b.metadata.num_rows for b in mine) for mine in sources.values()])
    cuts = before[np.concatenate([[0], ends])].tolist()
    rows = rows.filter(scoped)
    parts = [
        (rows.slice(start, end - start), mine[0].first)
        for (start, end), mine in zip(pairwise(cuts), sources.values(), strict=True)
    ]
    return {
        source: Hashed(mine[0].stream, mine[0].partition, mine[0].first, mine[-1].last, *made)
        for (source, mine), made in zip(sources.items(), commit_each_with_leaves(parts, whole), strict=True)
    }


def entries(
    batches: Sequence[TransformedBatch], hashes: Mapping[str, Hashed], now: datetime
) -> list[dict[str, Any]]:
    """What a commit of these batches says: one entry a source, JSON-ready, in the order the sources came."""
    said = []
    for source, one in hashes.items():
        mine = [b for b in batches if b.source == source]
        counts = Counts()
        for batch in mine:
            counts.add(batch.counts)
        commitment = one.commitment
        said.append(
            {
                "stream": mine[0].stream,
                "partition": mine[0].partition,
                "source": source,
                "first_offset": mine[0].first,
                "last_offset": mine[-1].last,
                "messages": counts.messages,
                "records": counts.records,
                "split": counts.split,
                "late": counts.late,
                "rejected": counts.rejected,
                "tombstones": counts.tombstones,
                "rejected_by_reason": json.dumps(dict(sorted(counts.reasons.items()))),
                "redacted": counts.redacted,
                "content_dropped": counts.content_dropped,
                "identifiers": counts.identifiers,
                "in_scope": commitment.count,
                "merkle_root": commitment.root.hex(),
                "rows_sha3_512": commitment.sha3_512.hex(),
                "committed_time": now.astimezone(UTC).isoformat(),
                "gap": "; ".join(b.gap for b in mine if b.gap) or None,
            }
        )
    return said


def rows(said: Sequence[tuple[int, list[dict[str, Any]]]]) -> pa.Table:
    """Ledger rows of what commits said: (version of the metadata table, entries)."""
    out = [
        {
            **entry,
            **{name: bytes.fromhex(entry[name]) for name in _BINARY},
            "version": version,
            "committed_time": datetime.fromisoformat(entry["committed_time"]),
        }
        for version, commit in said
        for entry in commit
    ]
    return pa.Table.from_pylist(out, schema=LEDGER)
