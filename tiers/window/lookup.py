"""Look-up inside the window: from an address or a message id to every record of it, newest first.

Only the months whose keys open are asked. In each the address becomes that month's token, and the files are searched
by it: they are sorted by token, so statistics and Bloom filters leave little to read; only hits are decrypted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lethe.keys.ring import UNREADABLE, KeyRing
from lethe.keys.sealing import open_value, subject_place
from lethe.keys.tokens import message_token, reverse_tokens, subject_token
from lethe.schemas.arrow import METADATA
from lethe.schemas.errors import ExpiredKeyError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: addresses (or None) and a message id (or None), within times (`until` excluded)."""

    subjects: tuple[Subject, ...]
    message_id: str | None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The tokens of a query: what an audit entry may hold of it. Per (month, window): subjects', message's.

    `missing`: what keeps a live month from being asked, by its key id. An answer without it would look complete.
    """

    tokens: dict[tuple[Month, int], tuple[list[bytes], bytes | None]]
    missing: dict[str, str] = field(default_factory=dict)

    def hex(self) -> list[str]:
        """Every token, as text."""
        return sorted(
            {t.hex() for subjects, message in self.tokens.values() for t in (*subjects, message) if t}
        )


def tokens_of(query: Query, ring: KeyRing, now: datetime) -> Asked:
    """Return the tokens of a query in every open month it may concern; a month that does not open is named."""
    missing: dict[str, str] = {}
    tokens: dict[tuple[Month, int], tuple[list[bytes], bytes | None]] = {}
    for info in ring.list(now):
        if info.state != "live" or not _concerned(info.month, query):
            continue
        try:
            keys = ring.keys_for(info.month, info.window_months)
        except ExpiredKeyError:
            continue
        except UNREADABLE as error:
            missing[info.key_id] = str(error)
            continue
        subjects = [subject_token(keys, s.kind, s.value) for s in query.subjects]
        message = None if query.message_id is None else message_token(keys, query.message_id)
        tokens[info.month, info.window_months] = (subjects, message)
    return Asked(tokens, missing)


def _concerned(month: Month, query: Query) -> bool:
    return (query.since is None or month.plus(1).start() > query.since) and (
        query.until is None or month.start() < query.until
    )


def find(warehouse: Warehouse, asked: Asked, query: Query) -> list[dict[str, Any]]:
    """Identifier rows that carry one of the tokens, newest first, as dicts of the table's columns."""
    conditions = []
    for (month, window), (subjects, message) in asked.tokens.items():
        hit = pc.field("token").isin(pa.array(subjects, pa.binary()))
        if message is not None:
            hit = hit | (pc.field("message_token") == pa.scalar(message, pa.binary()))
        conditions.append((pc.field("month") == str(month)) & (pc.field("window_months") == window) & hit)
    if not conditions:
        return []
    chosen = reduce(or_, conditions)
    for time, compare in ((query.since, "ge"), (query.until, "lt")):
        if time is not None:
            field, bound = pc.field("event_time"), pa.scalar(time, pa.timestamp("us", "UTC"))
            chosen = chosen & (field >= bound if compare == "ge" else field < bound)
    warehouse.window["identifiers"].reload()
    found = warehouse.window["identifiers"].delta.to_pyarrow_dataset().to_table(filter=chosen)
    rows: list[dict[str, Any]] = found.to_pylist()
    rows.sort(
        key=lambda r: (r["event_time"], r["stream"], r["partition"], r["offset"], r["index"] or 0),
        reverse=True,
    )
    return rows


def position_of(row: dict[str, Any]) -> Position:
    """The position of a row of any table."""
    return Position(row["stream"], row["partition"], row["offset"], row["index"])


def metadata_of(warehouse: Warehouse, rows: Sequence[dict[str, Any]]) -> dict[Position, dict[str, Any]]:
    """The archive rows of records, by position."""
    found = _at(warehouse.metadata, rows, METADATA.names)
    return {position_of(row): row for row in found}


def others_of(warehouse: Warehouse, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every identifier row of the records these rows belong to."""
    return _at(warehouse.window["identifiers"], rows, None)


def _at(table: Any, rows: Sequence[dict[str, Any]], columns: Sequence[str] | None) -> list[dict[str, Any]]:
    """Rows of a table at the positions of the given rows."""
    if not rows:
        return []
    places: dict[tuple[str, str, int], set[int]] = {}
    for row in rows:
        places.setdefault((row["month"], row["stream"], row["partition"]), set()).add(row["offset"])
    condition = reduce(
        or_,
        (
            (pc.field("month") == month)
            & (pc.field("stream") == stream)
            & (pc.field("partition") == partition)
            & pc.field("offset").isin(pa.array(sorted(offsets), pa.int64()))
            for (month, stream, partition), offsets in places.items()
        ),
    )
    table.reload()
    wanted = {position_of(row) for row in rows}
    found = table.delta.to_pyarrow_dataset().to_table(filter=condition, columns=columns).to_pylist()
    return [row for row in found if position_of(row) in wanted]


def value_of(row: dict[str, Any], ring: KeyRing) -> Subject | None:
    """The address of an identifier row, decrypted; None if the row names no subject."""
    if row["token"] is None:
        return None
    keys = ring.keys_for(Month.parse(row["month"]), row["window_months"])
    if row["sealed"] is None:
        known = reverse_tokens(keys, pa.array([row["token"]], pa.binary(16)))[0]
        return None if known is None else Subject(*known)
    place = subject_place(str(position_of(row)), row["token"])
    return Subject(row["kind"], open_value(keys, "identifiers", "sealed", place, row["sealed"]).decode())


def masked(subject: Subject) -> str:
    """An address with its middle hidden, for people who only need to tell parties apart."""
    value = subject.value
    if subject.kind == "email":
        name, _, domain = value.partition("@")
        return f"{name[:1]}***@{domain}"
    if subject.kind == "msisdn" and len(value) >= 9:
        return f"+{value[:5]}{'*' * (len(value) - 7)}{value[-2:]}"
    return f"{value[:2]}***"
