"""Look-up inside the window: from an address or a message id to every record of it, newest first.

Only the months whose keys open are asked. In each the address becomes that month's token, and the files are searched
by it (`sought`): they are sorted by token, so little has to be read; only hits are decrypted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Any, Final

import pyarrow as pa

from lethe.keys.ring import UNREADABLE, KeyRing
from lethe.keys.sealing import open_value, subject_place
from lethe.keys.tokens import blocks_of, message_token, reverse_tokens, tokens_from
from lethe.schemas.arrow import IDENTIFIERS, METADATA, PARTITIONED_BY
from lethe.schemas.errors import ExpiredKeyError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.delta.table import Table
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.sought import Tokens, Where, by_position, by_token

# To read a column of a row group costs a tenth of a millisecond, and a row group is read for nearly each record.
_ARCHIVED: Final = [name for name in METADATA.names if name != "event_time"]
_NAMED: Final = [name for name in IDENTIFIERS.names if name not in ("event_time", "message_token")]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: addresses (or None) and a message id (or None), within times (`until` excluded)."""

    subjects: tuple[Subject, ...]
    message_id: str | None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The tokens of a query, per (month, window): subjects', message's.

    `missing`: what keeps a live month from being asked, by its key id. An answer without it would look complete.
    """

    tokens: dict[tuple[Month, int], tuple[list[bytes], bytes | None]]
    missing: dict[str, str] = field(default_factory=dict)


def tokens_of(query: Query, ring: KeyRing, now: datetime) -> Asked:
    """Return the tokens of a query in every open month it may concern; a month that does not open is named."""
    return tokens_of_each([query], ring, now)[0]


def tokens_of_each(queries: Sequence[Query], ring: KeyRing, now: datetime) -> list[Asked]:
    """Return the tokens of each of several queries; the keys of a month are opened once for all of them."""
    asked = [Asked({}) for _ in queries]
    live = [info for info in ring.live(now) if any(_concerned(info.month, q) for q in queries)]
    ring.open_each((info.month, info.window_months) for info in live)
    # What a token is made of is the same in each month: fifty people stand for hundreds of addresses.
    blocks = [blocks_of([(s.kind, s.value) for s in query.subjects]) for query in queries]
    for info in live:
        concerned = [
            (q, a, b) for q, a, b in zip(queries, asked, blocks, strict=True) if _concerned(info.month, q)
        ]
        try:
            keys = ring.keys_for(info.month, info.window_months)
        except ExpiredKeyError:
            continue
        except UNREADABLE as error:
            for _, one, _ in concerned:
                one.missing[info.key_id] = str(error)
            continue
        if info.given_up is not None:
            why = f"its key was lost, and what came in before {info.given_up:%Y-%m-%d %H:%M} UTC was given up"
            for _, one, _ in concerned:
                one.missing[info.key_id] = why
        tokens = iter(tokens_from(keys, b"".join(of_query for _, _, of_query in concerned)))
        for query, one, _ in concerned:
            subjects = list(islice(tokens, len(query.subjects)))
            message = None if query.message_id is None else message_token(keys, query.message_id)
            one.tokens[info.month, info.window_months] = (subjects, message)
    return asked


def _concerned(month: Month, query: Query) -> bool:
    return (query.since is None or month.plus(1).start() > query.since) and (
        query.until is None or month.start() < query.until
    )


def find(warehouse: Warehouse, asked: Asked, query: Query) -> list[dict[str, Any]]:
    """Return identifier rows that carry one of the tokens, newest first, as dicts of the table's columns."""
    return find_each(warehouse, [asked], [query])[0]


def find_each(
    warehouse: Warehouse, asked: Sequence[Asked], queries: Sequence[Query]
) -> list[list[dict[str, Any]]]:
    """Find the rows of several queries in one reading; a row that several asked for is the same object in each list."""
    wanted: dict[tuple[str, str], tuple[set[bytes], set[bytes]]] = {}
    for one in asked:
        for (named, months), (subjects, message) in one.tokens.items():
            theirs, messages = wanted.setdefault((str(named), str(months)), (set(), set()))
            theirs.update(subjects)
            messages.update(() if message is None else (message,))
    tokens = {month: Tokens(frozenset(of), frozenset(ids)) for month, (of, ids) in wanted.items()}
    rows_found = by_token(warehouse.objects, warehouse.window["identifiers"], tokens)
    carried_by = {t for row in rows_found for t in (row["token"], row["message_token"]) if t is not None}
    owners: dict[tuple[str, str, bytes], set[int]] = {}
    for number, one in enumerate(asked):
        for (named, months), (subjects, message) in one.tokens.items():
            # Of the tokens hardly any is found.
            for token in carried_by.intersection((*subjects, message)):
                owners.setdefault((str(named), str(months), token), set()).add(number)
    found: list[list[dict[str, Any]]] = [[] for _ in queries]
    for row in rows_found:
        place = row["month"], str(row["window_months"])
        carried = (row["token"], row["message_token"])
        for number in {n for t in carried if t is not None for n in owners.get((*place, t), ())}:
            query = queries[number]
            if (query.since is None or row["event_time"] >= query.since) and (
                query.until is None or row["event_time"] < query.until
            ):
                found[number].append(row)
    for rows in found:
        rows.sort(
            key=lambda r: (r["event_time"], r["stream"], r["partition"], r["offset"], r["index"] or 0),
            reverse=True,
        )
    return found


_place_of: Final = itemgetter("stream", "partition", "offset", "index")
"""A position as a plain tuple, of rows that are many."""


def position_of(row: dict[str, Any]) -> Position:
    """Return the position of a row of any table."""
    return Position(row["stream"], row["partition"], row["offset"], row["index"])


def metadata_of(warehouse: Warehouse, rows: Sequence[dict[str, Any]]) -> dict[Position, dict[str, Any]]:
    """Return the archive rows of records, by position; without their time, which the window's rows have too."""
    found = at_rows(warehouse, warehouse.metadata, rows, _ARCHIVED)
    return {position_of(row): row for row in found}


def others_of(warehouse: Warehouse, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every identifier row of the records these rows belong to, without time and message: who is named in them.

    It costs more than all the rest of a look-up.
    """
    return at_rows(warehouse, warehouse.window["identifiers"], rows, _NAMED)


def at_rows(
    warehouse: Warehouse, table: Table, rows: Sequence[dict[str, Any]], columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return rows of a table at the positions of the given rows, of the named columns (those of the position among
    them) or all.
    """
    places: dict[tuple[str, ...], Where] = {}
    for row in rows:
        partition = tuple(str(row[key]) for key in PARTITIONED_BY[table.name])
        offsets = places.setdefault(partition, {}).setdefault((row["stream"], row["partition"]), set())
        offsets.add(row["offset"])
    if not places:
        return []
    wanted = {_place_of(row) for row in rows}
    return [row for row in by_position(warehouse.objects, table, places, columns) if _place_of(row) in wanted]


def value_of(row: dict[str, Any], ring: KeyRing) -> Subject | None:
    """Return the address of an identifier row, decrypted; None if the row names no subject."""
    if row["token"] is None:
        return None
    keys = ring.keys_for(Month.parse(row["month"]), row["window_months"])
    if row["sealed"] is None:
        known = reverse_tokens(keys, pa.array([row["token"]], pa.binary(16)))[0]
        return None if known is None else Subject(*known)
    place = subject_place(str(position_of(row)), row["token"])
    return Subject(row["kind"], open_value(keys, "identifiers", "sealed", place, row["sealed"]).decode())


def masked(subject: Subject) -> str:
    """Return an address with its middle hidden, for people who only need to tell parties apart."""
    value = subject.value
    if subject.kind == "email":
        name, _, domain = value.partition("@")
        return f"{name[:1]}***@{domain}"
    if subject.kind == "msisdn" and len(value) >= 9:
        return f"+{value[:5]}{'*' * (len(value) - 7)}{value[-2:]}"
    return f"{value[:2]}***"
