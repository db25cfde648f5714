"""The sweep: everything whose time has come, in order. Hourly on the leader, and `lethe expire`.

Two may run at once, and a sweep that fails at one month goes on with the next and says so at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from schemas.arrow import WINDOW_TABLES
from schemas.errors import LetheError
from schemas.policy import RetentionPolicy
from tiers import clockguard, restrictions
from tiers.archive_expiry import due_archive, forget_archive, preview_archive
from tiers.expiry import Forgetting, Outcome, due_months, forget_month, preview
from tiers.failpoint import fail_point
from tiers.release import finish_release
from tiers.rewrite import delete_removed

_WINDOW_AND_ARCHIVE: Final = (*WINDOW_TABLES, "metadata")


def sweep(do: Forgetting, policy: RetentionPolicy) -> list[Outcome]:
    """Forget everything that is due and return what became of it.

    1. Compare the clock with what else there is; `ClockError` when it cannot be believed (unless forced).
    2. Finish what a crash left: releases of holds, removed files whose bytes are still there.
       Remove restrictions that have ended.
    3. Forget the months whose window has ended.
    4. Forget the archive months whose last year is over.
    5. Note that the sweep ran.
    """
    now = do.clock()
    # Step 1
    months = due_months(do.warehouse, do.ring, now)
    archive = due_archive(do.warehouse, policy, now)
    if not do.forced:
        clockguard.check(do.warehouse, now, bool(months or archive))
    fail_point("sweep.checked")
    failures: list[LetheError] = []
    outcomes: list[Outcome] = []

    def each(work: Callable[[], Outcome | None]) -> None:
        try:
            if (outcome := work()) is not None:
                outcomes.append(outcome)
        except LetheError as error:
            failures.append(error)

    # Step 2
    for hold in do.holds.unfinished():
        each(lambda hold=hold: _finish(do, hold))  # type: ignore[misc]
    for table in _WINDOW_AND_ARCHIVE:
        each(lambda table=table: _delete_removed(do, table))  # type: ignore[misc]
    each(lambda: _tidy(do))
    # Step 3
    for due in months:
        each(lambda due=due: forget_month(do, due))  # type: ignore[misc]
    # Step 4
    for gone in archive:
        each(lambda gone=gone: forget_archive(do, gone))  # type: ignore[misc]
    # Step 5
    clockguard.note_run(do.warehouse.objects, now, do.forced)
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise type(failures[0])(f"{failures[0]}{more}") from failures[0]
    return outcomes


def _finish(do: Forgetting, hold: str) -> None:
    finish_release(do.holds, do.registrar, hold, do.clock())


def _delete_removed(do: Forgetting, table: str) -> None:
    handle = do.warehouse.metadata if table == "metadata" else do.warehouse.window[table]
    delete_removed(do.warehouse.objects, handle)


def _tidy(do: Forgetting) -> None:
    restrictions.tidy(do)


def would_forget(do: Forgetting, policy: RetentionPolicy) -> list[Outcome]:
    """What a sweep would forget now. Nothing is changed; the clock is not judged."""
    now = do.clock()
    months = [preview(do.warehouse, due) for due in due_months(do.warehouse, do.ring, now)]
    return months + [preview_archive(do.warehouse, due) for due in due_archive(do.warehouse, policy, now)]
