"""Look for one of five fraud patterns in a month. One audited job; what comes out are blocks, never numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import UNREADABLE
from lethe.operations.asker import Asker, record
from lethe.operations.detection import _patterns
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import ExpiredKeyError, InputError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.detection.month_rows import MonthRows, archive_batches

LEAST: Final = 10
MOST_SHOWN: Final = 500
_SAMPLES: Final = 3

KINDS: Final = {
    "ait": "Artificially inflated traffic: blocks of adjacent numbers one account floods.",
    "otp": "Floods of messages of many accounts to one number within an hour.",
    "grey": "Routes that deliver later or fail more than the others into the same network.",
    "burst": "Hours in which an account sends far more than at that hour of its other days.",
    "recycled": "Numbers that were dead for ten days or more and then reached.",
}
LIMITS: Final = {
    "ait": "Conversion is not in such records: a company that texts its own range of numbers looks the same. Blocks of "
    "fewer than 20 numbers, or spread over many accounts, are not seen.",
    "otp": "Texts are not kept: five customers' messages by coincidence look the same. A flood over the turn of an "
    "hour is seen only if one half has five accounts.",
    "grey": "Needs 150 messages of the route and of the others into the network; with two routes, a fast one makes the "
    "other look slow. A grey route as fast as the rest is not seen.",
    "burst": "A campaign looks the same. Needs other days to compare with; hours of under 40 messages are not seen.",
    "recycled": "One month at a time: who was dead before it began shows only by what fell into it. A telephone off or "
    "abroad with a permanent error looks the same.",
}
_COLUMNS: Final = {
    "ait": ["account", "currency", "charge", "channel", "status_group"],
    "otp": ["account", "channel"],
    "recycled": ["status_group", "permanent_error"],
}


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: rows by name of column, what the pattern cannot see, and months that did not open.

    A `block` ends in `x`: so many numbers begin like it, and `numbers` of them, `least` or more, are meant. Those in no
    block of so many are counted in `hidden`. `records` are positions a reveal can be asked of.
    """

    kind: str
    month: str
    rows: list[dict[str, Any]] = field(repr=False)
    limits: str
    read: int
    hidden: int = 0
    missing: tuple[str, ...] = ()


def detect(runtime: Runtime, asker: Asker, kind: str, month: Month, least: int = LEAST) -> Found:
    """Look for a pattern in a month whose window is open; `least`: so many numbers a block has that is shown.

    Raises `InputError` for a kind there is none of or fewer than 5 numbers a block.

    1. Read archive and numbers in columns; open tokens in memory, where they stay.
    2. Make blocks of what was found.
    3. Write the audit entry.
    4. Answer.
    """
    asker.needs_reason()
    if kind not in KINDS:
        raise InputError(f"a pattern is one of {', '.join(KINDS)}")
    if least < 5:
        raise InputError("a block that is shown has 5 numbers or more: of fewer, one could be told")
    hidden = 0
    missing: tuple[str, ...] = ()
    if kind in ("burst", "grey"):
        columns = ["account", "event_time"] if kind == "burst" else _GREY
        runtime.warehouse.metadata.reload()
        frames = archive_batches(runtime.warehouse, month, columns)
        found = getattr(_patterns, kind)(frames)
        rows, read = found.to_dicts(), -1
    else:
        keys, missing = _keys(runtime, month)
        coded = MonthRows.read(runtime.warehouse, month, _COLUMNS[kind])
        found = getattr(_patterns, kind)(coded, lambda: coded.batches(keys))
        rows, hidden = _blocks(kind, found, coded, keys, least)
        read = coded.rows
    # Step 3
    record(runtime, asker, "detect", kind=kind, month=str(month), least=least, count=len(rows), hidden=hidden)
    # Step 4
    return Found(kind, str(month), rows[:MOST_SHOWN], LIMITS[kind], read, hidden, missing)


_GREY: Final = ["mcc", "mnc", "network", "route", "status_group", "event_time", "done_time"]


def _keys(runtime: Runtime, month: Month) -> tuple[list[tuple[int, MonthKeys]], tuple[str, ...]]:
    """Open the keys of a month; what does not open is named."""
    keys, missing = [], []
    for info in runtime.ring.live(runtime.clock()):
        if info.month == month:
            try:
                keys.append((info.window_months, runtime.ring.keys_for(info.month, info.window_months)))
            except (*UNREADABLE, ExpiredKeyError):
                missing.append(info.key_id)
    return keys, tuple(missing)


def _blocks(
    kind: str, found: pl.DataFrame, coded: MonthRows, keys: Sequence[tuple[int, MonthKeys]], least: int
) -> tuple[list[dict[str, Any]], int]:
    """Say what was found by blocks; numbers in no block of `least` are counted alone."""
    if kind == "ait":
        shown = found.filter(pl.col("numbers") >= least)
        start = coded.month.start()
        rows = [
            {
                **row,
                "block": f"+{row['block']}xxx",
                **{n: start + timedelta(hours=row[n]) for n in ("first", "last")},
            }
            for row in shown.to_dicts()
        ]
        return rows, found.height - shown.height
    rest = found["number"].unique().sort()
    rows = []
    for digits in range(3, 10):  # the narrowest block first; what it holds is in no wider one
        blocks = pl.DataFrame({"number": rest, "block": rest // 10**digits})
        for (block,), mine in blocks.group_by("block", maintain_order=True):
            numbers = mine["number"]
            if numbers.len() >= least:
                here = found.filter(pl.col("number").is_in(numbers.implode()))
                samples = coded.positions(keys, numbers.head(_SAMPLES).to_numpy().astype(np.uint64))
                totals: dict[str, Any] = {
                    c: here[c].sum() for c in ("messages", "failures") if c in here.columns
                }
                rows.append(
                    {"block": f"+{block}{'x' * digits}", "numbers": numbers.len(), **totals,
                     "records": sorted(samples.values())}
                )  # fmt: skip
                rest = rest.filter(~rest.is_in(numbers.implode()))
    return sorted(rows, key=lambda r: (-r["numbers"], r["block"])), rest.len()
