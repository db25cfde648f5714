"""What a hold covers: whom, which accounts, which messages, and the records that match."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Sequence
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
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import Query, position_of
from lethe.tiers.window.mentioned import Scan
from lethe.tiers.window.mentions import mentions, readings
from lethe.tiers.window.positions import WHERE, Positions
from lethe.tiers.window.records import Part, at, quarantined_value, rows_where, select_each


@dataclass(frozen=True, slots=True)
class Scope:
    """What a hold covers: every record that matches any of these, within the times (`until` excluded)."""

    subjects: tuple[Subject, ...] = ()
    accounts: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


def concerns(part: Part, scope: Scope) -> bool:
    """Tell whether a scope's times leave anything of a partition's month."""
    start, end = part.month.start(), part.month.plus(1).start()
    return not (
        (scope.since is not None and scope.since >= end) or (scope.until is not None and scope.until <= start)
    )


def mentioning(
    warehouse: Warehouse, part: Part, scopes: Sequence[Scope], only: Positions | None
) -> list[Positions]:
    """Return for each scope the records of others (or of those `only`) whose kept texts name one of its subjects.

    Every page of the partition is opened, once for all scopes, unless `only` says which matter.
    """
    sought = [spellings(s.subjects) if concerns(part, s) else None for s in scopes]
    pieces: list[list[Positions]] = [[] for _ in scopes]
    for some in Scan(warehouse, sought).entries(part, only):
        for piece, naming in zip(pieces, some, strict=True):
            if naming:
                piece.append(Positions.each(naming))
    found = [Positions.all(piece) for piece in pieces]
    for number, (scope, positions) in enumerate(zip(scopes, found, strict=True)):
        if positions and (times := _times(scope)):
            chosen = reduce(and_, [pc.field("month") == str(part.month), at(positions), *times])
            found[number] = positions & Positions.of(rows_where(warehouse.metadata, chosen))
    return found


def covered(warehouse: Warehouse, part: Part, scope: Scope) -> Positions:
    """Return the records of a partition that a scope covers, but for those of `mentioning`. Files are pruned by
    token; the
    quarantine is read through.
    """
    if not concerns(part, scope):
        return Positions()
    hits = []
    if scope.subjects:
        tokens = part.tokens(scope.subjects)
        hits.append(pc.field("token").isin(pa.array(tokens, pa.binary())))
    if scope.messages:
        tokens = [message_token(part.keys, m) for m in scope.messages]
        hits.append(pc.field("message_token").isin(pa.array(tokens, pa.binary())))
    found = Positions()
    if hits:
        chosen = reduce(and_, [part.rows, reduce(or_, hits), *_times(scope)])
        found = Positions.of(rows_where(warehouse.window["identifiers"], chosen))
    if scope.accounts:
        found |= _of_accounts(warehouse, part, scope)
    others = (*scope.accounts, *scope.messages)

    def rejected() -> Iterator[Position]:
        for row in select_each(warehouse.window["quarantine"], part.rows & pc.field("sealed").is_valid()):
            value = quarantined_value(row, part.keys)
            if value is not None and mentions(value, scope.subjects, others):
                yield position_of(row)

    return found | Positions.each(rejected())


def _times(scope: Scope) -> list[Any]:
    return [
        compare(pc.field("event_time"), pa.scalar(time, pa.timestamp("us", "UTC")))
        for time, compare in ((scope.since, pc.greater_equal), (scope.until, pc.less))
        if time is not None
    ]


_JOINED_AT_ONCE: Final = 1 << 21
"""Rows of the window that are joined with those of the accounts at one time."""


def _of_accounts(warehouse: Warehouse, part: Part, scope: Scope) -> Positions:
    """Find the records of accounts that a partition has identifiers of: an account's records may lie in several.

    Columns are joined, so that a month of 100 million rows costs what the accounts' own rows do.
    """
    chosen = [pc.field("month") == str(part.month), pc.field("account").isin(scope.accounts), *_times(scope)]
    used = warehouse.window["usage"]
    used.reload()
    if files_of(used, part.partition):
        return _of_accounts_used(warehouse, part, scope)
    warehouse.metadata.reload()
    archive = warehouse.metadata.dataset()
    theirs = _joinable(archive.to_table(columns=WHERE, filter=reduce(and_, chosen)))
    if not theirs.num_rows:
        return Positions()
    warehouse.window["identifiers"].reload()
    window = warehouse.window["identifiers"].dataset()

    def batches() -> Iterator[pa.Table]:
        waiting: list[pa.RecordBatch] = []
        for batch in window.scanner(columns=WHERE, filter=part.rows).to_batches():
            waiting.append(batch)
            if sum(b.num_rows for b in waiting) >= _JOINED_AT_ONCE:
                yield _joined(waiting, theirs)
                waiting = []
        yield _joined(waiting, theirs)

    return Positions.of(batches())


def _of_accounts_used(warehouse: Warehouse, part: Part, scope: Scope) -> Positions:
    """Find the usage data of accounts, in which an account is an identifier."""
    tokens = [subject_token(part.keys, "opaque", account.strip()) for account in scope.accounts]
    hits = (pc.field("role") == "account") & pc.field("token").isin(pa.array(tokens, pa.binary()))
    chosen = reduce(and_, [part.rows, hits, *_times(scope)])
    return Positions.of(rows_where(warehouse.window["identifiers"], chosen))


def _joined(batches: list[pa.RecordBatch], theirs: pa.Table) -> pa.Table:
    """Return the positions among the rows of some batches that are also among those of a table."""
    if not batches:
        return theirs.slice(0, 0)
    return _joinable(pa.Table.from_batches(batches)).join(theirs, WHERE, join_type="left semi")


def _joinable(rows: pa.Table) -> pa.Table:
    """Make the columns of positions such that equal ones join: no nulls (a join finds none equal), plain text."""
    kinds = (pa.string(), pa.int32(), pa.int64(), pa.int32())
    columns = [pc.fill_null(rows.column(n).cast(k), -1) if n == "index" else rows.column(n).cast(k)
               for n, k in zip(WHERE, kinds, strict=True)]  # fmt: skip
    return pa.table(columns, names=WHERE)


def held_roles(record: dict[str, Any], query: Query, account: str | None = None) -> list[str]:
    """Say in which roles a preserved record has what is asked for, or is the account's; empty if it has not."""
    time = (record["metadata"] or {}).get("event_time")
    when = None if time is None else datetime.fromisoformat(time)
    if when is not None and ((query.since and when < query.since) or (query.until and when >= query.until)):
        return []
    roles = [i["role"] for i in record["identifiers"] if Subject(i["kind"], i["value"]) in query.subjects]
    if query.message_id is not None and record.get("message_id") == query.message_id:
        roles.append("message")
    if account is not None and (record["metadata"] or {}).get("account") == account:
        roles.append("account")
    sought = spellings(query.subjects)
    kept = [b64decode(e["value"]) for e in record["entries"]]
    if not roles and sought is not None and any(sought.found_in(readings(value)) for value in kept):
        roles.append("mentioned")
    value = (record.get("quarantine") or {}).get("value")
    others = () if query.message_id is None else (query.message_id,)
    if value is not None and mentions(b64decode(value), query.subjects, others):
        roles.append("rejected record")
    return sorted(set(roles))
