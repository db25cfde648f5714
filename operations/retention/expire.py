"""Forget what is due, asked for by a person: what a forced sweep destroys is named and agreed to, month by month."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from lethe.operations.asker import Asker, record
from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError
from lethe.tiers.retention.clock_guard import check_forced
from lethe.tiers.retention.expiry import Outcome
from lethe.tiers.retention.sweep import sweep, would_forget

__all__ = ["Outcome", "expire", "expire_forced", "named", "preview"]


def preview(runtime: Runtime, at: datetime | None = None) -> list[Outcome]:
    """Say what a sweep would forget at a time, or now. Changes nothing and judges no clock."""
    then = runtime.clock() if at is None else at
    return would_forget(maintenance_context(replace(runtime, clock=lambda: then)), runtime.settings.retention)


def named(outcome: Outcome) -> str:
    """Name what is due as a person agrees to it: a month, such as `2026-10`, or `archive-2015-03`."""
    return outcome.what.partition(".")[0]


def expire(runtime: Runtime, asker: Asker) -> list[Outcome]:
    """Run a sweep by the machine's clock, if what there is to compare it with agrees."""
    record(runtime, asker, "expire", as_of=str(runtime.clock()), forced=False, reason=None)
    return sweep(maintenance_context(runtime), runtime.settings.retention)


def expire_forced(runtime: Runtime, asker: Asker, reason: str, agreed: Collection[str]) -> list[Outcome]:
    """Run a sweep by the machine's clock although nothing confirms it: an installation that was idle.

    `agreed` names every month that is destroyed by it; one more or one less destroys nothing. Raises `ClockError` when
    a commit, a record or an earlier sweep is of a later time than the clock says.

    1. Compare the clock, and what is due with what was agreed to. Nothing is changed.
    2. Note in the audit log that it is about to happen, with the reason.
    3. Sweep. A crash from here on is mended by asking again, or by the next sweep.
    """
    # Step 1
    maintenance = maintenance_context(runtime, forced=True)
    check_forced(maintenance.warehouse, runtime.clock())
    due = {named(outcome) for outcome in would_forget(maintenance, runtime.settings.retention)}
    if due != set(agreed):
        raise LetheError(
            f"nothing was forgotten: due are {', '.join(sorted(due)) or 'no months'}, agreed to "
            f"{', '.join(sorted(agreed)) or 'none'}; name each month that is due with --yes-destroy"
        )
    # Step 2
    record(runtime, asker, "expire", as_of=str(runtime.clock()), forced=True, reason=reason)
    # Step 3
    return sweep(maintenance, runtime.settings.retention)
