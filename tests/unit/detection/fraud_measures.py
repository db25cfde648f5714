"""How well each pattern is found in traffic with fraud planted in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from retention_world import World

from lethe.operations.detection import _patterns
from lethe.operations.detection.detect import _COLUMNS, _GREY, _keys
from lethe.schemas.retention.calendar import Month
from lethe.testing.traffic.fraud import Planted
from lethe.tiers.detection.month_rows import MonthRows, archive_batches

NOW = datetime(2025, 3, 30, 20, tzinfo=UTC)
MONTH = Month.parse("2025-03")


@dataclass(frozen=True)
class Measured:
    """Of what was planted, how much was found; of what was found, how much was planted."""

    planted: int
    found: int
    right: int

    @property
    def recall(self) -> float:
        return self.right / self.planted

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0


def found(world: World, kind: str) -> set[Any]:
    """What a pattern finds, by what the generator calls it: before blocks are made of numbers."""
    runtime = world.runtime
    if kind in ("burst", "grey"):
        columns = ["account", "event_time"] if kind == "burst" else _GREY
        rows = getattr(_patterns, kind)(archive_batches(runtime.warehouse, MONTH, columns)).to_dicts()
        if kind == "grey":
            return {(r["network"], r["route"]) for r in rows}
        return {(r["account"], r["hour"].astimezone(UTC)) for r in rows}
    keys, _ = _keys(runtime, MONTH)
    coded = MonthRows.read(runtime.warehouse, MONTH, _COLUMNS[kind])
    rows = getattr(_patterns, kind)(coded, lambda: coded.batches(keys)).to_dicts()
    return {(r["account"], r["block"]) if kind == "ait" else r["number"] for r in rows}


def measured(world: World, kind: str, truth: Planted) -> Measured:
    planted, seen = getattr(truth, kind), found(world, kind)
    return Measured(len(planted), len(seen), len(planted & seen))
