"""Look for fraud patterns in a month. One audited job; what comes out are blocks, never numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

import pyarrow as pa

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.ring import UNREADABLE
from lethe.operations.asker import Asker, record
from lethe.operations.detection._ait import Ait
from lethe.operations.detection._blocks import MOST_SHOWN
from lethe.operations.detection._otp import Otp
from lethe.operations.detection._pattern import search
from lethe.operations.detection._recycled import Recycled
from lethe.operations.detection._traffic import Burst, Grey
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import ExpiredKeyError, InputError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.detection.columns import Seen, rows_in, unseen
from lethe.tiers.detection.month_rows import MonthRows, archive_batches

LEAST: Final = 10
RECYCLED_MONTHS: Final = 3
READINGS: Final = {"ait": 3, "otp": 2, "recycled": 2}
"""How often the numbers of a month are read for a pattern, where all it finds can be held; `ait` reads charges too."""
Progress = Callable[[int, int], None]
"""Is told how many records were read, and of how many."""
PATTERNS: Final[dict[str, type[Ait | Otp | Recycled]]] = {p.kind: p for p in (Ait, Otp, Recycled)}
"""Those that need numbers."""

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
    "hour is seen if one half has five accounts, or both together six.",
    "grey": "Needs 150 messages of the route and of the others into the network; with two routes, a fast one makes the "
    "other look slow. A grey route as fast as the rest is not seen.",
    "burst": "Four hours or more at an even pace that fail no more than usual read as a campaign and come last: fraud "
    "so paced, to a clean list, is among them; a campaign of under four hours is not. Needs other days to compare "
    "with; hours of under 40 messages are not seen.",
    "recycled": "Looks at the month and the two before it, as far as their windows are open: who was dead before shows "
    "only by what fell into them. A telephone off or abroad with a permanent error looks the same.",
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


def detect(
    runtime: Runtime,
    asker: Asker,
    kinds: Sequence[str],
    month: Month,
    least: int = LEAST,
    progress: Progress | None = None,
) -> list[Found]:
    """Look for patterns in a month whose window is open; `least`: so many numbers a block has that is shown.

    All patterns share one pass over the archive and two over the numbers. `recycled` looks at the two months before as
    well, as far as their windows are open. `progress` is told how many records were read so far, and of how
    many: those of each reading. There are more where what was found is too much to hold, and looked at in parts.

    Raises `InputError` for a kind there is none of, fewer than 5 numbers a block, or a month whose window has ended,
    and `LetheError` for more blocks than the asker's grant has rows for.

    1. Read archive and numbers in columns; open tokens in memory, where they stay.
    2. Make blocks of what was found.
    3. Write an audit entry for each pattern.
    4. Answer.
    """
    asker.needs_reason()
    if not kinds or not set(kinds) <= KINDS.keys():
        raise InputError(f"a pattern is one of {', '.join(KINDS)}")
    if least < 5:
        raise InputError("a block that is shown has 5 numbers or more: of fewer, one could be told")
    seen = unseen if progress is None else _added(progress, planned(runtime, kinds, month))
    found = {**_of_traffic(runtime, kinds, month, seen), **_of_numbers(runtime, kinds, month, least, seen)}
    # Step 3
    for kind in kinds:
        rows, hidden = len(found[kind].rows), found[kind].hidden
        record(runtime, asker, "detect", kind=kind, month=str(month), least=least, count=rows, hidden=hidden)
    # Step 4
    asker.takes(sum(len(found[kind].rows) for kind in kinds))
    return [found[kind] for kind in kinds]


def planned(runtime: Runtime, kinds: Sequence[str], month: Month) -> int:
    """Say how many records are read for patterns, those of each reading, by what the tables say of their files."""
    if not runtime.has_warehouse():
        return 0
    archive, window = runtime.warehouse.metadata, runtime.warehouse.window["identifiers"]
    months = [month.plus(-n) for n in range(RECYCLED_MONTHS if "recycled" in kinds else 1)]
    archived, named = rows_in(archive, months), rows_in(window, months)
    rows = archived[0] if set(kinds) & {Burst.kind, Grey.kind} else 0
    if readings := max((READINGS[k] for k in kinds if k in ("ait", "otp")), default=0):
        rows += archived[0] * (2 if "ait" in kinds else 1) + named[0] * readings
    if "recycled" in kinds:
        rows += sum(archived) + sum(named) * READINGS["recycled"]
    return rows


def _added(progress: Progress, planned: int) -> Seen:
    """Return what adds up rows that several threads read, and tells how many there were, of how many."""
    done = 0
    lock = Lock()

    def seen(rows: int) -> None:
        nonlocal done
        with lock:
            done += rows
            progress(done, max(done, planned))

    return seen


def _of_traffic(runtime: Runtime, kinds: Sequence[str], month: Month, seen: Seen) -> dict[str, Found]:
    """Look for the patterns that need the archive alone."""
    patterns = [p() for p in (Burst, Grey) if p.kind in kinds]
    if not patterns:
        return {}
    columns = list(dict.fromkeys(c for p in patterns for c in p.columns))

    def visit(batch: pa.RecordBatch) -> None:
        for pattern in patterns:
            pattern.count(batch)

    read = archive_batches(runtime.warehouse, month, columns, visit, seen)
    return {
        p.kind: Found(p.kind, str(month), p.found().to_dicts()[:MOST_SHOWN], LIMITS[p.kind], read)
        for p in patterns
    }


def _of_numbers(
    runtime: Runtime, kinds: Sequence[str], month: Month, least: int, seen: Seen
) -> dict[str, Found]:
    """Look for the patterns that need numbers: `ait` and `otp` in the month, `recycled` in those before too."""
    found = {}
    wanted = [k for k in kinds if k in PATTERNS]
    for some, months in ((["ait", "otp"], 1), (["recycled"], RECYCLED_MONTHS)):
        mine = [k for k in some if k in wanted]
        if mine:
            found.update(_searched(runtime, mine, month, months, least, seen))
    return found


def _searched(
    runtime: Runtime, kinds: Sequence[str], month: Month, back: int, least: int, seen: Seen
) -> dict[str, Found]:
    months, keys, missing = _keys(runtime, month, back)
    columns = list(dict.fromkeys(c for k in kinds for c in PATTERNS[k].columns))
    coded = [MonthRows.read(runtime.warehouse, m, columns, months[0], seen) for m in months]
    patterns = [PATTERNS[k](coded, least, len(kinds)) for k in kinds]
    search(patterns, keys)
    read = sum(c.rows for c in coded)
    answers = {}
    for pattern in patterns:
        rows, hidden = pattern.answer()
        answers[pattern.kind] = Found(
            pattern.kind, str(month), rows, LIMITS[pattern.kind], read, hidden, missing
        )
    return answers


def _keys(
    runtime: Runtime, month: Month, back: int
) -> tuple[list[Month], list[list[tuple[int, MonthKeys]]], tuple[str, ...]]:
    """Open the keys of a month and of those before it whose windows are open; what does not open is named.

    Raises `InputError` when the month's window has ended.
    """
    keys: dict[Month, list[tuple[int, MonthKeys]]] = {month.plus(-n): [] for n in range(back - 1, -1, -1)}
    missing = []
    for info in runtime.ring.live(runtime.clock()):
        if info.month in keys:
            try:
                opened = runtime.ring.keys_for(info.month, info.window_months)
                keys[info.month].append((info.window_months, opened))
            except (*UNREADABLE, ExpiredKeyError):
                missing.append(info.key_id)
    if not keys[month] and not missing and month.plus(13) <= Month.of(runtime.clock()):
        raise InputError(
            f"the window of {month} has ended: its numbers are gone; grey and burst can still be asked"
        )
    months = [m for m, mine in keys.items() if mine or m == month]
    return months, [keys[m] for m in months], tuple(missing)
