"""Everything the window and the archive hold of given records of one month, opened: for holds and for exports."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, Final

import pyarrow as pa
import zstandard

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.pages import open_page, seal_page
from lethe.keys.ring import KeyRing, month_key_id
from lethe.keys.sealing import open_value, subject_place
from lethe.keys.tokens import reverse_message_tokens, reverse_tokens, tokens_each
from lethe.schemas.compute import pc
from lethe.schemas.errors import ExpiredKeyError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import position_of
from lethe.tiers.window.positions import WHERE, Positions
from lethe.tiers.window.usage import opened

_MOST_BYTES: Final = 64 << 20
_ROWS: Final = 4_096
"""Rows that are Python objects at one time."""
PAGES: Final = 16
"""Pages of originals, of some hundred kilobytes each, that are read at one time."""


@dataclass(frozen=True, slots=True)
class Part:
    """One month of one window length: a partition of the window tables, and its keys."""

    month: Month
    window_months: int
    keys: MonthKeys

    @property
    def key_id(self) -> str:
        """The id of its keys, by which it is named elsewhere."""
        return month_key_id(self.month, self.window_months)

    @property
    def partition(self) -> dict[str, str]:
        """The partition's values, as the tables have them."""
        return partition_of(self.month, self.window_months)

    @property
    def rows(self) -> Any:
        """The condition that a row lies in it."""
        return (pc.field("month") == str(self.month)) & (pc.field("window_months") == self.window_months)

    def tokens(self, subjects: Iterable[Subject]) -> list[bytes]:
        """Return the tokens of people under its keys."""
        return tokens_each(self.keys, [(s.kind, s.value) for s in subjects])


def open_parts(ring: KeyRing, now: datetime) -> Iterator[Part]:
    """Open the partitions of the window whose keys open, oldest first."""
    for info in ring.live(now):
        with suppress(ExpiredKeyError):
            yield Part(info.month, info.window_months, ring.keys_for(info.month, info.window_months))


def partition_of(month: Month, window_months: int) -> dict[str, str]:
    """Return the values of a partition of the window tables."""
    return {"month": str(month), "window_months": str(window_months)}


def select(table: Any, condition: Any, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """Return rows of a table, freshly loaded, as dicts."""
    table.reload()
    return list(table.dataset().to_table(filter=condition, columns=columns).to_pylist())


def select_each(table: Any, condition: Any, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield rows of a table, freshly loaded, as dicts: for a whole month of them, of which few are held at once."""
    table.reload()
    scanner = table.dataset().scanner(columns=columns, filter=condition, batch_size=_ROWS)
    for batch in scanner.to_batches():
        yield from batch.to_pylist()


def rows_where(table: Any, condition: Any) -> Iterator[pa.RecordBatch]:
    """Yield where the rows of a table, freshly loaded, are of which a condition holds: some at a time."""
    return rows_of(table, condition, WHERE)


def rows_of(table: Any, condition: Any, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns of the rows of a table, freshly loaded, of which a condition holds: some at a time."""
    table.reload()
    yield from table.dataset().scanner(columns=columns, filter=condition).to_batches()


def at(positions: Iterable[Position]) -> Any:
    """Return the condition that a row has the offset of one of the positions (its index is not looked at)."""
    return reduce(
        or_,
        (
            (pc.field("stream") == stream)
            & (pc.field("partition") == pa.scalar(partition, pa.int32()))
            & pc.field("offset").isin(pa.array(offsets, pa.int64()))
            for stream, partition, offsets in _as_numbers(positions).offsets()
        ),
        pc.scalar(False),
    )


def _as_numbers(positions: Iterable[Position]) -> Positions:
    return positions if isinstance(positions, Positions) else Positions.each(positions)


def subject_of(row: dict[str, Any], keys: MonthKeys) -> Subject | None:
    """Return the address of an identifier row, opened with keys at hand; None if the row names no subject."""
    if row["token"] is None:
        return None
    if row["sealed"] is None:
        known = reverse_tokens(keys, [row["token"]])[0]
        return None if known is None else Subject(*known)
    place = subject_place(str(position_of(row)), row["token"])
    return Subject(row["kind"], open_value(keys, "identifiers", "sealed", place, row["sealed"]).decode())


def quarantined_value(row: dict[str, Any], keys: MonthKeys) -> bytes | None:
    """Return the bytes that were kept of a rejected record, opened with keys at hand."""
    if row["sealed"] is None:
        return None
    packed = open_value(keys, "quarantine", "sealed", str(position_of(row)), row["sealed"])
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MOST_BYTES)


def entries_of(
    warehouse: Warehouse, part: Part, positions: Iterable[Position]
) -> dict[Position, list[dict[str, Any]]]:
    """Return originals and window fields of records: `form` and `value` (bytes) of each, by position."""
    found: dict[Position, list[dict[str, Any]]] = {}
    for page, sought in pages_of(warehouse, part, positions):
        near = set(sought)
        for entry in open_entries(page, part.keys).to_pylist():
            position = Position(page["stream"], page["partition"], entry["offset"], entry["index"])
            if position in near:
                found.setdefault(position, []).append({"form": entry["form"], "value": entry["value"]})
    return found


def pages_of(
    warehouse: Warehouse, part: Part, positions: Iterable[Position]
) -> Iterator[tuple[dict[str, Any], Positions]]:
    """Yield the pages whose offsets some position lies in, and which positions those are. Few are held at once."""
    sought = _as_numbers(positions)
    if not sought:
        return
    near = reduce(
        or_,
        (
            (pc.field("stream") == stream)
            & (pc.field("partition") == pa.scalar(partition, pa.int32()))
            & (pc.field("last_offset") >= int(offsets[0]))
            & (pc.field("first_offset") <= int(offsets[-1]))
            for stream, partition, offsets in sought.offsets()
        ),
    )
    table = warehouse.window["originals"]
    table.reload()
    pages = table.dataset().scanner(
        filter=part.rows & near, batch_size=PAGES, batch_readahead=1, fragment_readahead=1
    )
    for batch in pages.to_batches():
        for page in batch.to_pylist():
            if here := within(sought, page):
                yield page, here


def within(positions: Positions, page: dict[str, Any]) -> Positions:
    """Return the positions that lie in a page's range."""
    return positions.within(page["stream"], page["partition"], page["first_offset"], page["last_offset"])


def open_entries(page: dict[str, Any], keys: MonthKeys) -> pa.Table:
    """Return the entries of a row of the originals table."""
    place = page["stream"], page["partition"], page["first_offset"], page["last_offset"]
    return open_page(keys, "originals", *place, page["page"])


def places_of(page: dict[str, Any], entries: pa.Table) -> pa.Table:
    """Return where the records of a page's entries are: its columns are those of positions."""
    count = entries.num_rows
    columns = [
        pa.repeat(pa.scalar(page["stream"], pa.string()), count),
        pa.repeat(pa.scalar(page["partition"], pa.int32()), count),
        *(entries.column(name) for name in WHERE[2:]),
    ]
    return pa.table(columns, names=WHERE)


def page_without(
    page: dict[str, Any], keys: MonthKeys, goes: Callable[[Position], bool]
) -> dict[str, Any] | None:
    """Return a page without the entries of some records; itself if it has none of them, None if nothing is left."""
    entries = open_entries(page, keys)
    place = page["stream"], page["partition"]
    stays = pa.array([not goes(Position(*place, e["offset"], e["index"])) for e in
                      entries.select(["offset", "index"]).to_pylist()], pa.bool_())  # fmt: skip
    rest = entries.filter(stays)
    return page if rest.num_rows == entries.num_rows else resealed(page, keys, rest)


def resealed(page: dict[str, Any], keys: MonthKeys, entries: pa.Table) -> dict[str, Any] | None:
    """Return a page with other entries in its place: its range stays, since no two pages of a month share one.

    None for no entries.
    """
    if not entries.num_rows:
        return None
    place = page["stream"], page["partition"], page["first_offset"], page["last_offset"]
    sealed = seal_page(keys, "originals", *place, entries)
    return {**page, "records": entries.num_rows, "page": sealed}


def gather(warehouse: Warehouse, part: Part, positions: Collection[Position]) -> list[dict[str, Any]]:
    """Return all there is of records, opened and JSON-ready, ordered by position. Holds identifiers: seal it or show
    it.
    """
    if not positions:
        return []
    here = at(positions)
    records: dict[Position, dict[str, Any]] = {
        p: {"record": str(p), **part.partition, "metadata": None, "identifiers": [], "entries": []}
        for p in sorted(positions, key=_order)
    }
    for row in select(warehouse.metadata, (pc.field("month") == str(part.month)) & here):
        if (record := records.get(position_of(row))) is not None:
            record["metadata"] = plain(row)
    for row in select(warehouse.window["usage"], part.rows & here):
        if (record := records.get(position_of(row))) is not None:
            record["metadata"] = plain(opened(row, part.keys))
    for row in select(warehouse.window["identifiers"], part.rows & here):
        if (record := records.get(position_of(row))) is None:
            continue
        subject = subject_of(row, part.keys)
        if subject is not None:
            record["identifiers"].append({"role": row["role"], "kind": subject.kind, "value": subject.value})
        if row["message_token"] is not None:
            record["message_id"] = reverse_message_tokens(part.keys, [row["message_token"]])[0]
    for position, entries in entries_of(warehouse, part, set(records)).items():
        records[position]["entries"] = [
            {"form": e["form"], "value": b64encode(e["value"]).decode()} for e in entries
        ]
    for row in select(warehouse.window["quarantine"], part.rows & here):
        if (record := records.get(position_of(row))) is not None:
            value = quarantined_value(row, part.keys)
            record["quarantine"] = {
                **plain({k: v for k, v in row.items() if k != "sealed"}),
                "value": None if value is None else b64encode(value).decode(),
            }
    return list(records.values())


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON can say it: times in ISO 8601, decimals and bytes as text."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _order(position: Position) -> tuple[str, int, int, int]:
    return (
        position.stream,
        position.partition,
        position.offset,
        -1 if position.index is None else position.index,
    )
