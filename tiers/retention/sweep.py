"""The sweep: everything whose time has come, in order. Hourly on the leader, and `lethe expire`.

Two may run at once, and a sweep that fails at one month goes on with the next and says so at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import LetheError
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.tiers.compaction import jobs
from lethe.tiers.compaction.layout import place_of
from lethe.tiers.delta.orphans import remove_orphans
from lethe.tiers.delta.rewrite import delete_removed
from lethe.tiers.holds.release import finish_release
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.retention import clock_guard as clockguard
from lethe.tiers.retention.archive_expiry import due_archive, forget_archive, preview_archive
from lethe.tiers.retention.expiry import Outcome, due_months, forget_month, preview
from lethe.tiers.rights import restrictions
from lethe.tiers.store.failpoint import fail_point

_WINDOW_AND_ARCHIVE: Final = (*WINDOW_TABLES, "metadata")


def sweep(maintenance: MaintenanceContext, policy: RetentionPolicy) -> list[Outcome]:
    """Forget everything that is due and return what became of it.

    1. Compare the clock with what else there is; `ClockError` when it cannot be believed (unless forced).
    2. Finish what a crash left: releases of holds, removed files whose bytes are still there, files of commits that
       never came.
       Remove restrictions that have ended.
    3. Forget the months whose window has ended.
    4. Forget the archive months whose last year is over.
    5. Note that the sweep ran.
    """
    now = maintenance.clock()
    # Step 1
    months = due_months(maintenance.warehouse, maintenance.ring, now)
    archive = due_archive(maintenance.warehouse, policy, now)
    if not maintenance.forced:
        clockguard.check(maintenance.warehouse, now, bool(months or archive))
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
    for hold in maintenance.holds.unfinished():
        each(lambda hold=hold: _finish(maintenance, hold))  # type: ignore[misc]
    for table in _WINDOW_AND_ARCHIVE:
        each(lambda table=table: _delete_removed(maintenance, table))  # type: ignore[misc]
    each(lambda: _tidy(maintenance))
    # Step 3
    for due in months:
        each(lambda due=due: forget_month(maintenance, due))  # type: ignore[misc]
    # Step 4
    for gone in archive:
        each(lambda gone=gone: forget_archive(maintenance, gone))  # type: ignore[misc]
    # Step 5
    clockguard.note_run(maintenance.warehouse.objects, now, maintenance.forced)
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise type(failures[0])(f"{failures[0]}{more}") from failures[0]
    return outcomes


def _finish(maintenance: MaintenanceContext, hold: str) -> None:
    finish_release(maintenance.holds, maintenance.registrar, hold, maintenance.clock())


def _delete_removed(maintenance: MaintenanceContext, table: str) -> None:
    handle = maintenance.warehouse.metadata if table == "metadata" else maintenance.warehouse.window[table]
    objects = maintenance.warehouse.objects
    jobs.discard_fenced(objects, handle)
    delete_removed(objects, handle, jobs.retired(objects, table))
    merging = {
        note.job.id for note in jobs.notes(objects, table)
    }  # its files have notes, and a tidying of their own

    def merged(path: str) -> bool:
        place = place_of(path)
        return place is not None and place.job in merging

    remove_orphans(objects, handle, maintenance.clock(), merged)


def _tidy(maintenance: MaintenanceContext) -> None:
    restrictions.tidy(maintenance)


def would_forget(maintenance: MaintenanceContext, policy: RetentionPolicy) -> list[Outcome]:
    """Say what a sweep would forget now. Nothing is changed; the clock is not judged."""
    now = maintenance.clock()
    months = [
        preview(maintenance.warehouse, due)
        for due in due_months(maintenance.warehouse, maintenance.ring, now)
    ]
    return months + [
        preview_archive(maintenance.warehouse, due) for due in due_archive(maintenance.warehouse, policy, now)
    ]
