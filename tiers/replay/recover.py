"""What a replay takes out of the window again: rows that moved, out of the quarantine, and what was left half done."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any, Final

import pyarrow as pa

from lethe.schemas.arrow import ORIGINALS
from lethe.schemas.errors import FencedError
from lethe.schemas.position import Position
from lethe.schemas.transformed import TransformedBatch
from lethe.tiers.delta.rewrite import files_of, read_file
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.replay.lease import ReplayLease
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.window.lookup import position_of
from lethe.tiers.window.positions import Positions
from lethe.tiers.window.records import Part, at, open_parts, page_without, pages_of, select

_POSITION: Final = ["stream", "partition", "offset", "index"]
_TRIES: Final = 20

USED: Final = "replay/usage"
"""Transaction id of replayed usage data: the how-manieth commit of it to its table, which the archive's commit repeats.

Of usage data no archive row says that it has landed. So it has when the archive has come as far as the table has: only
the last commit to the table can have been left half done, since what landed before it is out of the quarantine.
"""

Message = tuple[str, int, int]
"""Stream, partition and offset."""


def recover_interrupted(maintenance: MaintenanceContext, lease: ReplayLease) -> None:
    """Bring the window to where the archive says that replays have come.

    A rejected record that the archive has as well has moved: it leaves the quarantine. What else the window holds of
    rejected records was committed ahead of an archive row that never came: it is taken out again. (A worker's commit
    has no record in both the quarantine and another table.)

    1. Take back what did not come to count. A crash leaves the rest, to be found again.
    2. Take what moved out of the quarantine.
    """
    rows = select(maintenance.warehouse.window["quarantine"], None, [*_POSITION, "month", "window_months"])
    rejected = {position_of(row): (row["month"], row["window_months"]) for row in rows}
    whole = {_message(p) for p in rejected if p.index is None}
    landed = {position_of(r) for r in select(maintenance.warehouse.metadata, at(rejected), _POSITION)}
    usage = maintenance.warehouse.window["usage"]
    used = {position_of(r) for r in select(usage, at(rejected), _POSITION)}
    if usage.transaction(USED) == maintenance.warehouse.metadata.transaction(USED):
        landed |= used
    moved = {_message(p) for p in landed}
    # Elements beside their whole message: refused ones of a message that moves in part.
    beside = {p for p in rejected if p.index is not None and _message(p) in whole}
    out = {p for p in rejected if (p in landed if p.index is not None else _message(p) in moved)}
    back = {p for p in beside if _message(p) not in moved}
    waiting = {p for p in rejected if p not in out and p not in beside}
    # Step 1
    messages = {_message(p) for p in waiting if p.index is None}
    _take_back(maintenance, lease, waiting, lambda p: p in waiting or _message(p) in messages)
    for part in open_parts(maintenance.ring, maintenance.clock()):
        mine = {p for p in back if _lies_in(rejected[p], part)}
        _rewrite_quarantine(maintenance, lease, part, mine)
    fail_point("replay.taken_back")
    # Step 2
    for part in open_parts(maintenance.ring, maintenance.clock()):
        take_out(maintenance, lease, part, {p for p in out if _lies_in(rejected[p], part)})


def take_out(
    maintenance: MaintenanceContext,
    lease: ReplayLease,
    part: Part,
    moved: Set[Position],
    near: Set[str] = frozenset(),
) -> None:
    """Take records that moved out of a partition of the quarantine, once what holds cover of them is preserved.

    `near`: paths of the files that held them when they were last seen.

    What a hold covers was the value as it came; what lands is what the declaration keeps of it.
    """
    if not moved:
        return
    maintenance.holds.preserve(maintenance.warehouse, part, Positions.each(moved))
    fail_point("replay.kept")
    _rewrite_quarantine(maintenance, lease, part, moved, near)
    fail_point("replay.taken_out")


def take_back(
    maintenance: MaintenanceContext, lease: ReplayLease, transformed: Sequence[TransformedBatch]
) -> None:
    """Take out of the window again what was committed to it ahead of an archive row that is not going to come."""
    rows = [r for p in transformed for t in (p.metadata, p.usage) for r in t.select(_POSITION).to_pylist()]
    landing = {position_of(r) for r in rows}
    _take_back(maintenance, lease, landing, landing.__contains__)
    for part in open_parts(maintenance.ring, maintenance.clock()):
        refused = {
            position_of(r)
            for p in transformed
            for r in p.quarantine.to_pylist()
            if _lies_in((r["month"], r["window_months"]), part)
        }
        _rewrite_quarantine(maintenance, lease, part, refused)


def _take_back(
    maintenance: MaintenanceContext,
    lease: ReplayLease,
    positions: Set[Position],
    goes: Callable[[Position], bool],
) -> None:
    if not positions:
        return
    columns = [*_POSITION, "month", "window_months"]
    window = maintenance.warehouse.window
    found = [r for table in ("identifiers", "usage") for r in select(window[table], at(positions), columns)]
    where = {(r["month"], r["window_months"]) for r in found if goes(position_of(r))}
    for part in open_parts(maintenance.ring, maintenance.clock()):
        if any(_lies_in(one, part) for one in where):
            _rewrite(maintenance, lease, part, "identifiers", lambda rows: _without(rows, goes))
            _rewrite(maintenance, lease, part, "usage", lambda rows: _without(rows, goes))
        if any(True for _ in pages_of(maintenance.warehouse, part, positions)):
            _rewrite(maintenance, lease, part, "originals", lambda rows, part=part: _pages(rows, part, goes))  # type: ignore[misc]


def _rewrite_quarantine(
    maintenance: MaintenanceContext,
    lease: ReplayLease,
    part: Part,
    gone: Set[Position],
    near: Set[str] = frozenset(),
) -> None:
    if gone:
        _rewrite(maintenance, lease, part, "quarantine", lambda rows: _without(rows, gone.__contains__), near)


def _rewrite(
    maintenance: MaintenanceContext,
    lease: ReplayLease,
    part: Part,
    table: str,
    cleaned: Callable[[pa.Table], pa.Table],
    near: Set[str] = frozenset(),
) -> None:
    """Rewrite the files of a partition that `cleaned` changes; `near`: the only ones that can be, if all are there."""
    handle = maintenance.warehouse.window[table]
    for _ in range(_TRIES):
        handle.reload()
        old, new = [], []
        files = files_of(handle, part.partition)
        close = [f for f in files if f.path in near]
        for file in close if near and len(close) == len(near) else files:
            rows = read_file(maintenance.warehouse.objects, table, file)
            if rows is None or (rest := cleaned(rows)) is rows:
                continue
            old.append(file)
            if rest.num_rows:
                new += lease.write(table, rest, int(maintenance.clock().timestamp() * 1000))
        if not old or lease.commit(table, new, old):
            return
    raise FencedError(f"the month {part.month} changes all the time; try again when less is written")


def _without(rows: pa.Table, goes: Callable[[Position], bool]) -> pa.Table:
    stays = [not goes(position_of(row)) for row in rows.select(_POSITION).to_pylist()]
    return rows if all(stays) else rows.filter(pa.array(stays, pa.bool_()))


def _pages(rows: pa.Table, part: Part, goes: Callable[[Position], bool]) -> pa.Table:
    pages = rows.to_pylist()
    cleaned = [page_without(page, part.keys, goes) for page in pages]
    if all(after is before for after, before in zip(cleaned, pages, strict=True)):
        return rows
    return pa.Table.from_pylist([p for p in cleaned if p is not None], schema=ORIGINALS)


def _message(position: Position) -> Message:
    return position.stream, position.partition, position.offset


def _lies_in(place: tuple[Any, Any], part: Part) -> bool:
    return place == (str(part.month), part.window_months)
