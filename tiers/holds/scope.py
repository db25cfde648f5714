"""What a hold covers: whom, which accounts, which messages, and the records that match."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.keys.tokens import message_token, subject_token
from lethe.schemas.position import Position
from lethe.schemas.subjects.addresses import Subject
from lethe.schemas.subjects.spellings import spellings
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import Query, position_of
from lethe.tiers.window.mentioned import Scan
from lethe.tiers.window.mentions import mentions, readings
from lethe.tiers.window.records import Part, at, quarantined_value, select


@dataclass(frozen=True, slots=True)
class Scope:
    """What a hold covers: every record that matches any of these, within the times (`until` excluded)."""

    subjects: tuple[Subject, ...] = ()
    accounts: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


def concerns(part: Part, scope: Scope) -> bool:
    """Whether a scope's times leave anything of a partition's month."""
    start, end = part.month.start(), part.month.plus(1).start()
    return not (
        (scope.since is not None and scope.since >= end) or (scope.until is not None and scope.until <= start)
    )


def mentioning(
    warehouse: Warehouse, part: Part, scopes: Sequence[Scope], only: set[Position] | None
) -> list[set[Position]]:
    """For each scope, the records of others (or of those `only`) whose kept texts name one of its subjects.

    Every page of the partition is opened, once for all scopes, unless `only` says which matter.
    """
    sought = [spellings(s.subjects) if concerns(part, s) else None for s in scopes]
    found = []
    for scope, entries in zip(scopes, Scan(warehouse, sought).entries(part, only), strict=True):
        positions = set(entries)
        if positions and (times := _times(scope)):
            chosen = reduce(and_, [pc.field("month") == str(part.month), at(positions), *times])
            positions &= {position_of(r) for r in select(warehouse.metadata, chosen, _WHERE)}
        found.append(positions)
    return found


def covered(warehouse: Warehouse, part: Part, scope: Scope) -> set[Position]:
    """The records of a partition that a scope covers, but for those of `mentioning`. Files are pruned by token; the
    quarantine is read through.
    """
    if not concerns(part, scope):
        return set()
    where, times = _WHERE, _times(scope)
    found: set[Position] = set()
    hits = []
    if scope.subjects:
        tokens = [subject_token(part.keys, s.kind, s.value) for s in scope.subjects]
        hits.append(pc.field("token").isin(pa.array(tokens, pa.binary())))
    if scope.messages:
        tokens = [message_token(part.keys, m) for m in scope.messages]
        hits.append(pc.field("message_token").isin(pa.array(tokens, pa.binary())))
    if hits:
        chosen = reduce(and_, [part.rows, reduce(or_, hits), *times])
        found |= {position_of(r) for r in select(warehouse.window["identifiers"], chosen, where)}
    if scope.accounts:
        chosen = reduce(
            and_, [pc.field("month") == str(part.month), pc.field("account").isin(scope.accounts), *times]
        )
        theirs = {position_of(r) for r in select(warehouse.metadata, chosen, where)}
        found |= theirs & _present(warehouse, part)
    others = (*scope.accounts, *scope.messages)
    for row in select(warehouse.window["quarantine"], part.rows & pc.field("sealed").is_valid()):
        value = quarantined_value(row, part.keys)
        if value is not None and mentions(value, scope.subjects, others):
            found.add(position_of(row))
    return found


def _times(scope: Scope) -> list[Any]:
    return [
        compare(pc.field("event_time"), pa.scalar(time, pa.timestamp("us", "UTC")))
        for time, compare in ((scope.since, pc.greater_equal), (scope.until, pc.less))
        if time is not None
    ]


_WHERE: Final = ["stream", "partition", "offset", "index"]


def _present(warehouse: Warehouse, part: Part) -> set[Position]:
    """The positions a partition of the window has identifiers of: an account's records may lie in several."""
    rows = select(warehouse.window["identifiers"], part.rows, ["stream", "partition", "offset", "index"])
    return {position_of(r) for r in rows}


def held_roles(record: dict[str, Any], query: Query) -> list[str]:
    """In which roles a record that was preserved has what is asked for; empty if it has not."""
    time = (record["metadata"] or {}).get("event_time")
    when = None if time is None else datetime.fromisoformat(time)
    if when is not None and ((query.since and when < query.since) or (query.until and when >= query.until)):
        return []
    roles = [i["role"] for i in record["identifiers"] if Subject(i["kind"], i["value"]) in query.subjects]
    if query.message_id is not None and record.get("message_id") == query.message_id:
        roles.append("message")
    sought = spellings(query.subjects)
    kept = [b64decode(e["value"]) for e in record["entries"]]
    if not roles and sought is not None and any(sought.found_in(readings(value)) for value in kept):
        roles.append("mentioned")
    value = (record.get("quarantine") or {}).get("value")
    others = () if query.message_id is None else (query.message_id,)
    if value is not None and mentions(b64decode(value), query.subjects, others):
        roles.append("rejected record")
    return sorted(set(roles))
