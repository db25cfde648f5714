"""A wrong clock must not destroy twelve months of data: the sweep believes its clock only if something else agrees.

What agrees is the time the newest records say of themselves: it comes from the platform, not from this machine. The
commit times and the sweep's own last run come from clocks like this one: they show a clock that went back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lethe.schemas.errors import ClockError
from lethe.tiers.commit.clock_check import LAST_SWEEP
from lethe.tiers.delta.places import ends_of, in_utc, open_parquet
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse

_APART: Final = timedelta(days=1)
_NEWEST_FILES: Final = 16


def check(warehouse: Warehouse, now: datetime, due: bool) -> None:
    """Raise `ClockError` when the clock disagrees by more than a day with what there is to compare it with.

    Back: it is earlier than a commit or than the last run. Ahead: neither the newest record's own time is within
    a day, nor are both the newest commit and the last run. Then either nothing happened for a day, or the clock has
    jumped; only a person can tell which. A first run that has nothing `due` may start without a last one.
    """
    last = last_run(warehouse.objects)
    if last is not None and now < last - _APART:
        raise ClockError(_said(now, "the last sweep ran", last))
    committed = warehouse.newest_commit()
    if committed is None:
        return  # no record, nothing to forget
    if now < committed - _APART:
        raise ClockError(_said(now, "the newest records were committed", committed))
    event = newest_event(warehouse)
    if event is not None and abs(now - event) <= _APART:
        return
    if now > committed + _APART:
        raise ClockError(_said(now, "the newest records were committed", committed))
    if last is None and due:
        raise ClockError(
            _said(now, "no sweep has run before and the newest record is of", event or committed)
        )
    if last is not None and now > last + _APART:
        raise ClockError(_said(now, "the last sweep ran", last))


def check_forced(warehouse: Warehouse, now: datetime) -> None:
    """Raise `ClockError` when something contradicts the clock, so that nobody's word makes it right.

    A commit, a record or an earlier sweep of a later time does. That nothing has happened for long does not.
    """
    seen = (
        ("the last sweep ran", last_run(warehouse.objects)),
        ("the newest records were committed", warehouse.newest_commit()),
        ("the newest record is of", newest_event(warehouse)),
    )
    for what, when in seen:
        if when is not None and now < when - _APART:
            raise ClockError(_said(now, what, when))


def _said(now: datetime, what: str, when: datetime) -> str:
    return (
        f"nothing was forgotten: the clock says {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC, but {what} "
        f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC, more than a day apart; set the clock. If it is "
        "right and nothing was taken in for a while, `lethe expire --help` says how to go on (--force)"
    )


def last_run(objects: Objects) -> datetime | None:
    """Return when the sweep ran last, None before its first run (or when that cannot be read)."""
    try:
        return datetime.fromisoformat(orjson.loads(objects.get(LAST_SWEEP) or b"")["at"])
    except (ValueError, KeyError, TypeError):
        return None


def note_run(objects: Objects, now: datetime, forced: bool) -> None:
    """Note that a sweep ran at this time."""
    body = {"at": now.astimezone(UTC).isoformat(), "forced": forced}
    objects.put(LAST_SWEEP, orjson.dumps(body) + b"\n")


def newest_event(warehouse: Warehouse) -> datetime | None:
    """Return the latest time of a communication among the files of the newest month; only their footers are read."""
    warehouse.metadata.reload()
    files = [f for f in files_of(warehouse.metadata) if f.rows]
    if not files:
        return None
    month = max(f.partition["month"] for f in files)
    newest = sorted((f for f in files if f.partition["month"] == month), key=lambda f: f.modified_ms)[
        -_NEWEST_FILES:
    ]
    times = [_latest(warehouse.objects.get(f"metadata/{f.path}")) for f in newest]
    return max((t for t in times if t is not None), default=None)


def _latest(data: bytes | None) -> datetime | None:
    if data is None:
        return None
    parquet = open_parquet(pa.BufferReader(data), None, [])
    times = [_latest_of(parquet, number) for number in range(parquet.num_row_groups)]
    return max((t for t in times if t is not None), default=None)


def _latest_of(parquet: pq.ParquetFile, number: int) -> datetime | None:
    """Return the latest time in a row group; the rows say it where the footer does not (INT96, as of Spark)."""
    if ends := ends_of(parquet.metadata.row_group(number), "event_time"):
        return cast(datetime, ends[1])
    rows = in_utc(parquet.read_row_group(number, columns=["event_time"]), parquet)
    latest: datetime | None = pc.max(rows.column("event_time")).as_py()
    return latest
