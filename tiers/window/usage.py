"""Records of usage data, opened: what was done, by which account, and with what answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import KeyRing
from lethe.keys.sealing import open_value
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import at_rows, position_of

USAGE = "usage"
"""What `data` says of such a record, where a communication has a row of the archive."""


def usage_of(
    warehouse: Warehouse, ring: KeyRing, rows: Sequence[dict[str, Any]]
) -> dict[Position, dict[str, Any]]:
    """Return what was done in the records that identifier rows belong to, by position; communications are left out.

    Raises as the ring does when a month does not open.
    """
    found = at_rows(warehouse, warehouse.window["usage"], rows)
    return {
        position_of(row): opened(row, ring.keys_for(Month.parse(row["month"]), row["window_months"]))
        for row in found
    }


def opened(row: dict[str, Any], keys: MonthKeys) -> dict[str, Any]:
    """Return a row of the usage table with its details in place of what was sealed."""
    details = orjson.loads(open_value(keys, "usage", "sealed", str(position_of(row)), row["sealed"]))
    return {
        "data": USAGE,
        **{name: value for name, value in row.items() if name != "sealed"},
        **{name: details.get(name) for name in ("account", "action", "method", "path", "status")},
    }
