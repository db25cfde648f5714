"""The evidence of one record, put together from the archive, the log and, inside the window, its original."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from cryptography.x509 import Certificate

from lethe.integrity.evidence import build as evidence
from lethe.integrity.evidence.check import check
from lethe.integrity.evidence.parties import parties_of
from lethe.integrity.evidence.sentences import resolve
from lethe.integrity.log import leaves
from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.store import log_origin
from lethe.integrity.rows.hashes import salt
from lethe.keys.ring import KeyRing, UnknownKeyError
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Format
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, IntegrityError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.tiers.archive.commit_rows import archive_rows
from lethe.tiers.commit import declarations
from lethe.tiers.evidence.log_store import LogStore
from lethe.tiers.evidence.replay_log import replay_log
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.records import Part, entries_of

_ORIGINALS: Final = ("received", "canonical")


@dataclass(frozen=True, slots=True)
class Evidence:
    """An evidence file, and what a person is told of it."""

    file: bytes = field(repr=False)
    summary: list[str] = field(repr=False)
    has_original: bool
    stamped: datetime | None


def evidence_of(
    warehouse: Warehouse,
    ring: KeyRing,
    history: KeyHistory,
    position: Position,
    now: datetime,
    stamp_roots: Sequence[Certificate] = (),
    preserved: tuple[bytes, bytes] | None = None,
) -> Evidence:
    """Return the evidence of a record: with its original while the month's keys open, without it afterwards.

    `preserved`: the original and its salt, as a hold has kept them beyond the month.

    Raises `IntegrityError` when the record is not in the log, was not in scope or is not as it was logged.
    """
    log, month = _logged(warehouse, history, position)
    row = _row(warehouse, position, month)
    found = log.holding(position)
    entry = found and found[1]
    if preserved is None:
        original = _original(warehouse, ring, position, month, row, now, entry)
    else:
        original = _with_meaning(warehouse, row, entry, *preserved)

    def others(first: int, last: int) -> pa.Table:
        return archive_rows(warehouse, (position.stream, position.partition), month, first, last)

    file = evidence.build(row, log.reader, history, log.origin, original, stamp_roots, others)
    proven = check(file, [str(key) for key in history.sets[-1].keys], stamp_roots)
    return Evidence(file, proven.summary, original is not None, proven.stamped)


def _logged(warehouse: Warehouse, history: KeyHistory, position: Position) -> tuple[Log, Month]:
    """Return the log that has the record, and its month: that of its topic-partition, or that of the replays."""
    store = LogStore.of(warehouse.objects, position.stream, position.partition)
    own = Log(store, history, log_origin(history.name, position.stream, position.partition))
    if own.covering(position.offset) is None:
        raise IntegrityError(
            f"{position} is not in the integrity log: there is no such record, or its commit is not published yet"
        )
    for log in (own, replay_log(warehouse, history)):
        found = log.holding(position) if log else None
        if log is None or found is None:
            continue
        for row in leaves.decode(log.leaf_file(found[1]), found[1].first_offset).rows:
            if (row.offset, row.index) == (position.offset, position.index):
                return log, row.month
    raise IntegrityError(
        f"{position} is not in integrity scope, or there is no such record: the log has none of it"
    )


def _row(warehouse: Warehouse, position: Position, month: Month) -> pa.Table:
    warehouse.metadata.reload()
    topic_partition = position.stream, position.partition
    rows = archive_rows(warehouse, topic_partition, month, position.offset, position.offset)
    index = pc.fill_null(rows.column("index"), -1)
    rows = rows.filter(pc.equal(index, -1 if position.index is None else position.index))
    if rows.num_rows != 1:
        what = (
            "was logged and is not in the archive"
            if not rows.num_rows
            else "is in the archive more than once"
        )
        raise IntegrityError(f"{position} {what}; lethe verify says what else is not as it was")
    return rows


def _original(
    warehouse: Warehouse,
    ring: KeyRing,
    position: Position,
    month: Month,
    row: pa.Table,
    now: datetime,
    entry: Entry | None,
) -> evidence.Original | None:
    """Return the original from the window's pages, with its salt; None after the window, and when it was erased."""
    for info in ring.list(now):
        if info.month != month or info.state != "live":
            continue
        try:
            keys = ring.keys_for(month, info.window_months)
        except (ExpiredKeyError, UnknownKeyError):
            continue
        found = entries_of(warehouse, Part(month, info.window_months, keys), {position})
        for kept in found.get(position, []):
            if kept["form"] in _ORIGINALS:
                salted = salt(keys.salt_key.reveal(), str(position))
                return _with_meaning(warehouse, row, entry, kept["value"], salted)
    return None


def _with_meaning(
    warehouse: Warehouse, row: pa.Table, entry: Entry | None, data: bytes, salted: bytes
) -> evidence.Original:
    """Return an original and its salt with what its fields mean: logged, or with an entry of version 1 claimed."""
    claimed = _claimed(row, data) if entry and entry.outside is None else []
    return evidence.Original(data, salted, claimed, _declaration(warehouse, row, entry))


def _declaration(warehouse: Warehouse, row: pa.Table, entry: Entry | None) -> bytes | None:
    """Return the declaration the row was made by, if it was logged and is still there."""
    name, version = row.column("format")[0].as_py(), row.column("format_version")[0].as_py()
    for digest in entry.declarations if entry else ():
        with suppress(
            IntegrityError
        ):  # `lethe verify` names one that is missing; the rest is proven without it
            text = declarations.read(warehouse.objects, digest)
            declared = json.loads(text)
            if (declared["name"], declared["version"]) == (name, version):
                return text
    return None


def _claimed(row: pa.Table, original: bytes) -> list[tuple[str, str]]:
    """Say where in the original its parties stand, as the declaration says that is known here under that name.

    For records whose log entry is of version 1: nothing proves that it is the one they were made by.
    """
    try:
        declared = formats.get(row.column("format")[0].as_py())
    except ConfigurationError:
        return []  # evidence is still evidence when the declaration is gone
    if not isinstance(declared, Format) or declared.version != row.column("format_version")[0].as_py():
        return []
    found = parties_of(formats.canonical(declared), original, str(row.column("original_form")[0].as_py()))
    return [
        (party["role"], party["pointer"]) for party in found if _leads_somewhere(original, party["pointer"])
    ]


def _leads_somewhere(original: bytes, pointer: str) -> bool:
    try:
        return bool(resolve(original, pointer))
    except IntegrityError:
        return False
