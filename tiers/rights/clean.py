"""The rows of one file of the window without a person: what is left, or None when nothing of it has to go."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import IDENTIFIERS, ORIGINALS
from lethe.schemas.position import Position
from lethe.schemas.subjects.addresses import Subject
from lethe.schemas.subjects.spellings import Spellings
from lethe.tiers.window.mentioned import without_mentions
from lethe.tiers.window.mentions import wanted
from lethe.tiers.window.positions import WHERE, Positions
from lethe.tiers.window.records import Part, open_entries, resealed, within

_IDS: Final = pa.schema([*(IDENTIFIERS.field(name) for name in WHERE), IDENTIFIERS.field("message_token")])
NO_IDS: Final = _IDS.empty_table()
_NONE: Final = Positions()

Clean = Callable[[pa.Table], pa.Table | None]
"""The rows of a file without what is to go, or None if there is nothing of it."""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What goes from the files of a table, as a value that another process can be given. `how`: a function below."""

    how: str
    gone: Positions = _NONE
    mentioned: Positions = _NONE
    ids: pa.Table = field(default_factory=_IDS.empty_table)

    def of(self, part: Part, subjects: tuple[Subject, ...]) -> Clean:
        """Return what cleans a file of a partition of these people."""
        match self.how:
            case "quarantine":
                return partial(quarantine, self.gone)
            case "message_ids":
                return partial(message_ids, self.ids)
            case "pages":
                return partial(pages, part, self.gone, self.mentioned, wanted(subjects).spellings)
            case "beside":
                return partial(beside, self.gone, part.tokens(subjects))
            case "usage":
                return partial(usage, self.gone)
            case _:
                return partial(identifiers, part.tokens(subjects))

    def pack(self) -> bytes:
        """Return it as bytes; they tell which records of whom go, so seal them."""
        kinds = (self.gone.rows(), self.mentioned.rows(), self.ids)
        rows = pa.concat_tables(
            [_noted(kind, number) for number, kind in enumerate(kinds)],
        ).replace_schema_metadata({"how": self.how})
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as out:
            out.write_table(rows)
        return sink.getvalue()

    @classmethod
    def unpack(cls, data: bytes) -> Cleaning:
        """Return what was packed."""
        rows = pa.ipc.open_stream(data).read_all()
        gone, mentioned, ids = (rows.filter(pc.equal(rows.column("kind"), n)) for n in range(3))
        how = (rows.schema.metadata or {})[b"how"].decode()
        return cls(how, Positions.of([gone]), Positions.of([mentioned]), ids.select(_IDS.names).cast(_IDS))


def _noted(rows: pa.Table, kind: int) -> pa.Table:
    columns = [
        rows.column(f.name).cast(f.type) if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type)
        for f in _IDS
    ]
    return pa.table(
        [*columns, pa.repeat(pa.scalar(kind, pa.int8()), rows.num_rows)], names=[*_IDS.names, "kind"]
    )


def identifiers(tokens: list[bytes], rows: pa.Table) -> pa.Table | None:
    """Return identifier rows without those that carry one of the tokens."""
    theirs = pc.fill_null(pc.is_in(rows.column("token"), pa.array(tokens, pa.binary(16))), False)
    return rows.filter(pc.invert(theirs)) if pc.any(theirs).as_py() else None


def usage(positions: Positions, rows: pa.Table) -> pa.Table | None:
    """Return rows of usage data without those of the records at the positions."""
    theirs = positions.mask(rows)
    return rows.filter(pc.invert(theirs)) if pc.any(theirs).as_py() else None


def beside(positions: Positions, tokens: list[bytes], rows: pa.Table) -> pa.Table | None:
    """Leave out identifier rows of usage data of the records at the positions that carry none of the tokens."""
    carry = pc.fill_null(pc.is_in(rows.column("token"), pa.array(tokens, pa.binary(16))), False)
    theirs = pc.and_(positions.mask(rows), pc.invert(carry))
    return rows.filter(pc.invert(theirs)) if pc.any(theirs).as_py() else None


def ids_of(tokens: Mapping[Position, set[bytes]]) -> pa.Table:
    """Return what a message id of each record would be as token, in columns."""
    rows = [(p.stream, p.partition, p.offset, p.index, t) for p, each in tokens.items() for t in sorted(each)]
    columns = zip(*rows, strict=True) if rows else [()] * len(_IDS)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, _IDS, strict=True)], schema=_IDS)


def message_ids(ids: pa.Table, rows: pa.Table) -> pa.Table | None:
    """Clean identifier rows of others whose message id names the person: without its token, or gone if that is all."""
    near = pc.fill_null(pc.is_in(rows.column("message_token"), pc.unique(ids.column("message_token"))), False)
    suspects = _joinable(rows.select(_IDS.names).filter(near))
    suspects = suspects.append_column("row", pc.indices_nonzero(near))
    theirs = suspects.join(_joinable(ids), _IDS.names, join_type="left semi")
    named = np.zeros(rows.num_rows, np.bool_)
    named[theirs.column("row").to_numpy()] = True
    if not named.any():
        return None
    rows = _emptied(rows, "message_token", pa.array(named))
    stays = pc.or_(pc.invert(pa.array(named)), pc.is_valid(rows.column("token")))
    return rows.filter(stays)


def _joinable(rows: pa.Table) -> pa.Table:
    """Make columns such that equal ones join: no nulls (a join finds none equal), types of the same kind."""
    columns = [rows.column(f.name).cast(f.type) for f in _IDS]
    at = _IDS.names.index("index")
    columns[at] = pc.fill_null(columns[at], -1)
    return pa.table(columns, names=_IDS.names)


def quarantine(positions: Positions, rows: pa.Table) -> pa.Table | None:
    """Return rows of rejected records, those at the positions without their values."""
    named = pc.and_(positions.mask(rows), pc.is_valid(rows.column("sealed")))
    if not pc.any(named).as_py():
        return None
    return _emptied(_emptied(rows, "sealed", named), "form", named)


def pages(
    part: Part, gone: Positions, mentioned: Positions, sought: Spellings | None, rows: pa.Table
) -> pa.Table | None:
    """Return pages without the entries of records `gone`, and without what names the person in those `mentioned`."""
    heads = rows.select(["stream", "partition", "first_offset", "last_offset"]).to_pylist()
    left: list[pa.Table] = []
    changed = False
    for number, head in enumerate(heads):
        row = rows.slice(number, 1)
        here, named = set(within(gone, head)), set(within(mentioned, head))
        if here or named:
            page = row.to_pylist()[0]
            after = _page(page, part, here, named, sought)
            if after is None:
                changed = True
                continue
            if after is not page:
                changed, row = True, pa.Table.from_pylist([after], schema=rows.schema)
        left.append(row)
    if not changed:
        return None
    return pa.concat_tables([rows.slice(0, 0), *left]).select(ORIGINALS.names).cast(ORIGINALS)


def _page(
    page: dict[str, Any], part: Part, gone: set[Position], mentioned: set[Position], sought: Spellings | None
) -> dict[str, Any] | None:
    """Return a page without what has to go; itself if that is nothing, None if nothing is left."""
    place = page["stream"], page["partition"]
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


def _emptied(rows: pa.Table, column: str, where: Any) -> pa.Table:
    at, field = rows.schema.get_field_index(column), rows.schema.field(column)
    return rows.set_column(at, field, pc.if_else(where, pa.scalar(None, field.type), rows.column(column)))
