"""The ledger: one row per commit and topic-partition, derived from what the metadata commit said of itself."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from lethe.keys.anchors import LedgerKey
from lethe.schemas.arrow import LEDGER
from lethe.schemas.compute import pc
from lethe.schemas.retention.calendar import Month
from lethe.schemas.transformed import Counts, TransformedBatch
from lethe.tiers.commit.declarations import Declarations, declared_of
from lethe.tiers.delta.log import DataFile

if TYPE_CHECKING:  # who only reads the tables hashes nothing
    from lethe.integrity.log.commitment import Commitment
    from lethe.integrity.log.outside import Made

COMMIT_INFO: Final = "lethe.ledger"
"""The key under which a metadata commit says what it accounts for."""

REPLAYED: Final = "replay/quarantine"
"""Transaction id of what is replayed from quarantine, and the `source` of the ledger rows that say so.

Such a row takes nothing in: it moves records from `rejected` (negative here) to `split` and `late`, within the offsets
that a row of another source accounts for.
"""

_BINARY: Final = ("merkle_root", "rows_sha3_512", "out_of_scope_root", "mac")
_NOT_AUTHENTICATED: Final = ("version", "committed_time", "mac")
AUTHENTICATED: Final = tuple(name for name in LEDGER.names if name not in _NOT_AUTHENTICATED)
"""What the code of a commit covers. The version is not known before the commit; the log says it."""
_ADDED: Final = frozenset(LEDGER.names[LEDGER.names.index("mac") + 1 :])
"""Columns that earlier releases did not have: where they are null they are not part of what is authenticated."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """What the log needs of one source in a commit: computed once, for the account of the commit and for the log.

    `leaf_file` and `months` are those of `lethe.integrity.log.leaves.commit_each_with_leaves`, `outside` that of
    `lethe.integrity.log.outside.commit_outside`; `declarations` are what the rows were made by, by their SHA-256.
    """

    stream: str
    partition: int
    first: int
    last: int
    commitment: Commitment
    leaf_file: bytes = field(repr=False)
    months: tuple[Month, Month] | None
    outside: Made
    declarations: Declarations = field(repr=False)
    data_files: Mapping[Month, tuple[int, bytes]] = field(default_factory=dict, repr=False)
    """Of each month: how many rows the file has that was written, and its SHA-256."""


def stamped(batch: TransformedBatch, now: datetime) -> TransformedBatch:
    """Write into archive rows the minute in which their commit begins, so that a sum of then can be had again."""
    rows, minute = batch.metadata, now.astimezone(UTC).replace(second=0, microsecond=0)
    at = rows.schema.get_field_index("ingested_at")
    column = pa.repeat(pa.scalar(minute, rows.schema.field(at).type), rows.num_rows)
    return replace(batch, metadata=rows.set_column(at, rows.schema.field(at), column))


def hashed(batches: Sequence[TransformedBatch], whole: bool = False) -> dict[str, Hashed]:
    """Return the rows of each source, hashed; batches of a source follow on each other.

    `whole` is for the log of replays, whose leaf files have all leaf hashes.
    """
    sources: dict[str, list[TransformedBatch]] = {}
    for batch in batches:
        sources.setdefault(batch.source, []).append(batch)
    if not sources:
        return {}
    from lethe.integrity.log.leaves import commit_each_with_leaves
    from lethe.integrity.log.outside import commit_outside

    rows = pa.concat_tables([b.metadata for mine in sources.values() for b in mine])
    scoped = rows.column("integrity_hash").is_valid()
    # Once for all: to leave rows out of so many columns costs a partition with few rows more than all else.
    before = np.concatenate([[0], np.cumsum(scoped.to_numpy())])
    ends = np.cumsum([sum(b.metadata.num_rows for b in mine) for mine in sources.values()])
    cuts = np.concatenate([[0], ends])
    inside = before[cuts]
    parts = _parts(rows.filter(scoped), inside.tolist(), sources)
    others = _parts(rows.filter(pc.invert(scoped)), (cuts - inside).tolist(), sources)
    every = _parts(rows, cuts.tolist(), sources)
    made = zip(
        sources.items(), commit_each_with_leaves(parts, whole), commit_outside(others), every, strict=True
    )
    return {
        source: Hashed(
            mine[0].stream, mine[0].partition, mine[0].first, mine[-1].last, *scope, outside, declared_of(mine_rows)
        )
        for (source, mine), scope, outside, (mine_rows, _) in made
    }  # fmt: skip


def _parts(
    rows: pa.Table, cuts: Sequence[int], sources: Mapping[str, Sequence[TransformedBatch]]
) -> list[tuple[pa.Table, int]]:
    """Cut rows into those of each source, with the first offset of its batches."""
    return [
        (rows.slice(start, end - start), mine[0].first)
        for (start, end), mine in zip(pairwise(cuts), sources.values(), strict=True)
    ]


def placed(hashes: Mapping[str, Hashed], files: Iterable[DataFile]) -> dict[str, Hashed]:
    """Say of each source in which of the files of a commit its rows out of scope were written."""
    known = {Month.parse(file.partition["month"]): (file.rows, bytes.fromhex(file.sha256)) for file in files}
    found = {}
    for source, one in hashes.items():
        mine = {month: known[month] for month, _ in one.outside.counts if month in known}
        found[source] = replace(one, outside=one.outside.in_files(mine), data_files=mine)
    return found


def files_of_text(text: str | None) -> dict[Month, tuple[int, bytes]]:
    """Return what a ledger row says of data files; raises `ValueError` for what is none."""
    found = {}
    for one in (text or "").split():
        month, rows, digest = one.split(":")
        found[Month.parse(month)] = int(rows), bytes.fromhex(digest)
    return found


def _text_of_files(one: Hashed) -> str | None:
    named = (f"{month}:{rows}:{digest.hex()}" for month, (rows, digest) in sorted(one.data_files.items()))
    return " ".join(named) or None


def entries(
    batches: Sequence[TransformedBatch],
    hashes: Mapping[str, Hashed],
    now: datetime,
    key: LedgerKey | None,
) -> list[dict[str, Any]]:
    """Say what a commit of these batches does: one entry a source, JSON-ready, in the order the sources came.

    Each is authenticated under `key`, without which nothing of it may be signed later.
    """
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
                "usage": counts.usage or None,
                "gap": "; ".join(b.gap for b in mine if b.gap) or None,
                "out_of_scope": one.outside.commitment.count,
                "out_of_scope_root": one.outside.commitment.root.hex(),
                "declarations": " ".join(digest.hex() for digest in sorted(one.declarations)),
                "data_files": _text_of_files(one),
            }
        )
    for entry in said:
        entry["mac"] = key.mac(_message(entry)).hex() if key else None
    return said


def authentic(row: Mapping[str, Any], key: LedgerKey) -> bool:
    """Say whether a ledger row, or what a commit says of a source, is what a holder of the key committed."""
    mac = row.get("mac")
    given = bytes.fromhex(mac) if isinstance(mac, str) else mac or b""
    return hmac.compare_digest(given, key.mac(_message(row)))


def _message(row: Mapping[str, Any]) -> bytes:
    values = {n: row.get(n) for n in AUTHENTICATED if n not in _ADDED or row.get(n) is not None}
    hexed = {name: v.hex() if isinstance(v, bytes) else v for name, v in values.items()}
    return json.dumps(hexed, sort_keys=True).encode()


def from_hex(entry: Mapping[str, Any]) -> dict[str, bytes | None]:
    """Return the bytes of what a commit says in hexadecimal, by column; None for what its release did not say."""
    return {name: bytes.fromhex(said) if (said := entry.get(name)) else None for name in _BINARY}


def rows(said: Sequence[tuple[int, list[dict[str, Any]]]]) -> pa.Table:
    """Make ledger rows of what commits said: (version of the metadata table, entries)."""
    out = [
        {
            **entry,
            **from_hex(entry),
            "version": version,
            "committed_time": datetime.fromisoformat(entry["committed_time"]),
        }
        for version, commit in said
        for entry in commit
    ]
    return pa.Table.from_pylist(out, schema=LEDGER)
