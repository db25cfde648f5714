"""How well each pattern is found in traffic with fraud planted in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from retention_world import World

from lethe.operations.detection._pattern import search
from lethe.operations.detection._traffic import BURST, Burst, Grey
from lethe.operations.detection.detect import PATTERNS, RECYCLED_MONTHS, _keys
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


class Numbers:
    """Takes the numbers that are found, where the product makes blocks of them."""

    def __init__(self) -> None:
        self.all: set[Any] = set()

    def add(self, numbers: Any, totals: Any, records: Any) -> None:
        self.all |= set(numbers.tolist())


def found(world: World, kind: str) -> set[Any]:
    """What a pattern finds, by what the generator calls it: before blocks are made of numbers."""
    runtime = world.runtime
    if kind in ("burst", "grey"):
        pattern: Burst | Grey = Burst() if kind == "burst" else Grey()
        archive_batches(runtime.warehouse, MONTH, pattern.columns, pattern.count)
        rows = pattern.found().to_dicts()
        if kind == "grey":
            return {(r["network"], r["route"]) for r in rows}
        return {(r["account"], r["hour"].astimezone(UTC)) for r in rows if r["reads_as"] == BURST}
    months, keys, _ = _keys(runtime, MONTH, RECYCLED_MONTHS if kind == "recycled" else 1)
    coded = [MonthRows.read(runtime.warehouse, m, PATTERNS[kind].columns, months[0]) for m in months]
    mine: Any = PATTERNS[kind](coded)
    numbers = Numbers()
    if kind != "ait":
        mine.told = numbers
    search([mine], keys)
    if kind == "ait":
        return {(r["account"], r["block"]) for r in mine.found.to_dicts()}
    return numbers.all


def measured(world: World, kind: str, truth: Planted) -> Measured:
    planted, seen = getattr(truth, kind), found(world, kind)
    return Measured(len(planted), len(seen), len(planted & seen))
