"""The rows of one file of the window without a person: what is left, or None when nothing of it has to go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import ORIGINALS
from lethe.schemas.position import Position
from lethe.schemas.subjects.spellings import Spellings
from lethe.tiers.window.lookup import position_of
from lethe.tiers.window.mentioned import without_mentions
from lethe.tiers.window.records import Part, open_entries, resealed

_ROWS: Final = 4_096
"""Rows that are Python objects at one time."""
_POSITION: Final = ["stream", "partition", "offset", "index"]


def identifiers(tokens: list[bytes], rows: pa.Table) -> pa.Table | None:
    """Return identifier rows without those that carry one of the tokens."""
    theirs = pc.fill_null(pc.is_in(rows.column("token"), pa.array(tokens, pa.binary(16))), False)
    return rows.filter(pc.invert(theirs)) if pc.any(theirs).as_py() else None


def usage(positions: set[Position], rows: pa.Table) -> pa.Table | None:
    """Return rows of usage data without those of the records at the positions."""
    theirs = _at(positions, rows)
    return rows.filter(pc.invert(theirs)) if pc.any(theirs).as_py() else None


def beside(positions: set[Position], tokens: list[bytes], rows: pa.Table) -> pa.Table | None:
    """Leave out identifier rows of usage data of the records at the positions that carry none of the tokens."""
    carry = pc.fill_null(pc.is_in(rows.column("token"), pa.array(tokens, pa.binary(16))), False)
    theirs = pc.and_(_at(positions, rows), pc.invert(carry))
    return rows.filter(pc.invert(theirs)) if pc.any(theirs).as_py() else None


def _at(positions: set[Position], rows: pa.Table) -> Any:
    return pa.array([position_of(row) in positions for row in _each(rows.select(_POSITION))], pa.bool_())


def message_ids(ids: dict[Position, set[bytes]], rows: pa.Table) -> pa.Table | None:
    """Clean identifier rows of others whose message id names the person: without its token, or gone if that is all."""
    every = pa.array(sorted(set().union(*ids.values())), pa.binary(16))
    near = pc.fill_null(pc.is_in(rows.column("message_token"), every), False).to_pylist()
    named = [False] * rows.num_rows
    for at in (i for i, is_near in enumerate(near) if is_near):
        row = rows.slice(at, 1).select([*_POSITION, "message_token"]).to_pylist()[0]
        named[at] = row["message_token"] in ids.get(position_of(row), ())
    if not any(named):
        return None
    rows = _emptied(rows, "message_token", pa.array(named))
    stays = pc.or_(pc.invert(pa.array(named)), pc.is_valid(rows.column("token")))
    return rows.filter(stays)


def quarantine(positions: set[Position], rows: pa.Table) -> pa.Table | None:
    """Return rows of rejected records, those at the positions without their values."""
    named = pc.and_(_at(positions, rows), pc.is_valid(rows.column("sealed")))
    if not pc.any(named).as_py():
        return None
    return _emptied(_emptied(rows, "sealed", named), "form", named)


def pages(
    part: Part, gone: set[Position], mentioned: set[Position], sought: Spellings | None, rows: pa.Table
) -> pa.Table | None:
    """Return pages without the entries of records `gone`, and without what names the person in those `mentioned`."""
    before = rows.to_pylist()
    after = [_page(page, part, gone, mentioned, sought) for page in before]
    if all(a is b for a, b in zip(after, before, strict=True)):
        return None
    return pa.Table.from_pylist([p for p in after if p is not None], schema=ORIGINALS)


def _page(
    page: dict[str, Any], part: Part, gone: set[Position], mentioned: set[Position], sought: Spellings | None
) -> dict[str, Any] | None:
    """Return a page without what has to go; itself if that is nothing, None if nothing is left."""
    place = page["stream"], page["partition"]
    ends = page["first_offset"], page["last_offset"]
    if not any((p.stream, p.partition) == place and ends[0] <= p.offset <= ends[1] for p in gone | mentioned):
        return page
    entries = open_entries(page, part.keys)
    left: list[dict[str, Any]] = []
    changed = False
    for entry in entries.to_pylist():
        position = Position(*place, entry["offset"], entry["index"])
        value: bytes | None = entry["value"]
        if position in gone:
            value = None
        elif position in mentioned and sought is not None:
            value, _ = without_mentions(entry, sought)
        changed |= value != entry["value"]
        if value is not None:
            left.append({**entry, "value": value})
    if not changed:
        return page
    return resealed(page, part.keys, pa.Table.from_pylist(left, schema=entries.schema))


def _each(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=_ROWS):
        yield from batch.to_pylist()


def _emptied(rows: pa.Table, column: str, where: Any) -> pa.Table:
    at, field = rows.schema.get_field_index(column), rows.schema.field(column)
    return rows.set_column(at, field, pc.if_else(where, pa.scalar(None, field.type), rows.column(column)))
