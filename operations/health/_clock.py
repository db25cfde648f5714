"""Whether the clock of this machine may be believed: held against what was done before, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import pyarrow.compute as pc

from lethe.keys.latest import ADVICE
from lethe.operations.health._bounded import Check
from lethe.operations.runtime import Runtime
from lethe.schemas.retention.calendar import Month
from lethe.tiers.retention.clock_guard import last_run

_BEHIND: Final = timedelta(minutes=5)
_AHEAD: Final = timedelta(days=1)
"""As much as a sweep lets pass."""


def clock(runtime: Runtime, what: str) -> Iterator[Check]:
    """Hold the clock against the newest commit, the last sweep and the latest time the keys were used at.

    What vouches for a clock that is ahead is a commit or a sweep of the day before, since both are refused by a clock
    that nothing agrees with. The use of keys does not: a look-up needs nobody's agreement.
    """
    now = runtime.clock()
    times = runtime.warehouse.ledger.dataset().to_table(columns=["committed_time"])
    committed = pc.max(times.column("committed_time")).as_py() if times.num_rows else None
    if committed is not None and committed > now + _BEHIND:
        yield Check(what, "wrong", f"{_said(now)}, but a commit was made at {_said(committed)}",
                    "set the clock before anything is expired")  # fmt: skip
    elif (used := runtime.ring.used_ahead(now)) is not None:
        yield Check(what, "wrong", f"{_said(now)}, but the keys were used at {_said(used)}", ADVICE)
    elif (vouched := _vouched(runtime, now, committed)) is not None:
        newest, by = vouched
        later = Month.of(now) > Month.of(newest)
        yield Check(what, "wrong" if later else "warning",
                    f"{_said(now)}, but nothing vouches for it: {by} {_said(newest)}",
                    "set the clock; if it is right and nothing was taken in since, `lethe expire --force` says so, and "
                    "until then no sweep forgets anything")  # fmt: skip
    else:
        yield Check(what, "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _vouched(runtime: Runtime, now: datetime, committed: datetime | None) -> tuple[datetime, str] | None:
    """Return the latest time that something vouches for, if the clock is more than a day ahead of it, and what did."""
    if committed is None or now <= committed + _AHEAD:
        return None
    swept = last_run(runtime.objects)
    if swept is not None and swept > committed:
        return None if now <= swept + _AHEAD else (swept, "the last sweep ran at")
    return committed, "the newest commit was made at"


def _said(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
