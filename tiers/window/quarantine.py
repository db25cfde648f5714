"""The quarantine: what was rejected, why, and (with the month's key) what it was."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc
import zstandard

from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value
from lethe.schemas.errors import LetheError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import position_of

_MOST_BYTES = 64 << 20


def listed(
    warehouse: Warehouse, reason: str | None, format_name: str | None, limit: int
) -> list[dict[str, Any]]:
    """Return rows of the quarantine without their values, newest arrival first; only these are Python objects."""
    condition = _of(reason, format_name)
    handle = warehouse.window["quarantine"]
    handle.reload()
    columns = [
        "stream",
        "partition",
        "offset",
        "index",
        "received_time",
        "format",
        "reason",
        "detail",
        "month",
    ]
    found = handle.dataset().to_table(columns=columns, filter=condition)
    order = [(name, "descending") for name in ("month", "stream", "partition", "offset", "index")]
    newest = pc.sort_indices(found, sort_keys=order)[:limit]
    rows: list[dict[str, Any]] = found.take(newest).to_pylist()
    return rows


def counted(warehouse: Warehouse, reason: str | None, format_name: str | None) -> int:
    """Count the rows of the quarantine, of one reason or format if it is named."""
    handle = warehouse.window["quarantine"]
    handle.reload()
    return int(handle.dataset().count_rows(filter=_of(reason, format_name)))


def _of(reason: str | None, format_name: str | None) -> Any:
    condition = None
    for column, value in (("reason", reason), ("format", format_name)):
        if value is not None:
            same = pc.field(column) == value
            condition = same if condition is None else condition & same
    return condition


def one(warehouse: Warehouse, position: Position) -> dict[str, Any]:
    """Return the row at a position; raises `LetheError` if there is none."""
    handle = warehouse.window["quarantine"]
    handle.reload()
    here = (
        (pc.field("stream") == position.stream)
        & (pc.field("partition") == position.partition)
        & (pc.field("offset") == position.offset)
    )
    for row in handle.dataset().to_table(filter=here).to_pylist():
        if position_of(row) == position:
            return dict(row)
    raise LetheError(f"no record {position} in the quarantine; `lethe quarantine list` shows what there is")


def value_of(row: dict[str, Any], ring: KeyRing) -> bytes | None:
    """Return the bytes that were kept of a rejected record; None if none were."""
    if row["sealed"] is None:
        return None
    keys = ring.keys_for(Month.parse(row["month"]), row["window_months"])
    packed = open_value(keys, "quarantine", "sealed", str(position_of(row)), row["sealed"])
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MOST_BYTES)
