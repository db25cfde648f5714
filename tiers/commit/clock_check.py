"""Whether ingestion may believe its clock: a clock that is ahead takes every record for late and drops its identifiers.

Windows end at the turn of a month. So the clock matters only where it lies in a later month than the latest time that
somebody else vouches for, and only for commits in which records are late. Who vouches is the broker, whose time
stamps the messages carry; for what has none (files) the newest commit; and a person who forced a sweep.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from lethe.schemas.errors import ClockError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.store.objects import Objects

log = logging.getLogger("lethe.clock")

LAST_SWEEP: Final = "_sweep/last.json"
"""When the last sweep ran, and whether a person forced it."""
_APART: Final = timedelta(days=1)
_FIRST_STAMP_MS: Final = 1_000_000_000_000
"""Earlier time stamps (2001) are none: a producer that has no clock sends 0 or -1."""


def time_of_stamp(milliseconds: int) -> datetime | None:
    """Read a broker's time stamp (milliseconds since 1970); None for what is none."""
    if not _FIRST_STAMP_MS <= milliseconds < 100 * _FIRST_STAMP_MS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def forced_sweep(objects: Objects) -> datetime | None:
    """Read when a person last said that the clock was right, by forcing a sweep; None if nobody did."""
    try:
        noted = orjson.loads(objects.get(LAST_SWEEP) or b"")
        return datetime.fromisoformat(noted["at"]) if noted["forced"] else None
    except (ValueError, KeyError, TypeError):
        return None


def check(
    now: datetime, late: int, stamped: datetime | None, committed: datetime | None, objects: Objects
) -> None:
    """Raise `ClockError` unless the clock can be believed for a commit in which `late` records are late.

    `stamped`: the broker's newest time stamp so far; `committed`: when the newest records were committed.
    """
    agreed = (
        stamped is not None and abs(now - stamped) <= _APART
    )  # the broker is believed before another worker
    if committed is not None and now < committed - _APART and not agreed:
        raise ClockError(_contradicted(now, "the newest records were committed", committed))
    vouched = stamped or committed
    if not late or vouched is None or now <= vouched + _APART or Month.of(now) <= Month.of(vouched):
        return
    forced = forced_sweep(objects)
    if forced is not None and (now <= forced + _APART or Month.of(now) <= Month.of(forced)):
        return
    what = "the newest message is stamped" if stamped else "the newest records were committed"
    raise ClockError(_contradicted(now, what, vouched))


def _contradicted(now: datetime, what: str, when: datetime) -> str:
    return (
        f"nothing was taken in: the clock says {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC, but {what} "
        f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC, and identifiers would be dropped as too old by this "
        "clock; set it, or if it is right force a sweep (`lethe expire --help`) and start again"
    )
