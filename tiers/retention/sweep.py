"""The sweep: everything whose time has come, in order. Hourly on the leader, and `lethe expire`.

Two may run at once, and a sweep that fails at one month goes on with the next and says so at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import LetheError
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.tiers.compaction import jobs
from lethe.tiers.compaction.layout import place_of
from lethe.tiers.delta.orphans import remove_orphans
from lethe.tiers.delta.rewrite import delete_removed
from lethe.tiers.holds import coverage
from lethe.tiers.holds.definition import Hold
from lethe.tiers.holds.release import finish_release
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.retention import clock_guard as clockguard
from lethe.tiers.retention import loss
from lethe.tiers.retention.archive_expiry import due_archive, forget_archive, preview_archive
from lethe.tiers.retention.expiry import Due, Outcome, due_months, forget_month, preview
from lethe.tiers.rights import erasure, restrictions
from lethe.tiers.rights.under_way import UnderWay
from lethe.tiers.store.failpoint import fail_point

_WINDOW_AND_ARCHIVE: Final = (*WINDOW_TABLES, "metadata")


def sweep(maintenance: MaintenanceContext, policy: RetentionPolicy) -> list[Outcome]:
    """Forget everything that is due and return what became of it.

    1. Compare the clock with what else there is; `ClockError` when it cannot be believed (unless forced).
    2. Finish what a crash left: releases of holds, months that were being given up, erasures, removed files whose bytes
       are still there, files of commits that never came. Release holds that have ended by themselves.
    3. Forget the months whose window has ended, then remove restrictions that have: what holds preserve just now may
       be of somebody who is restricted.
    4. Forget the archive months whose last year is over.
    5. Compare what holds cover with what they covered before. Less is no failure of the sweep: it is in the outcomes.
    6. Note that the sweep ran.
    """
    now = maintenance.clock()
    # Step 1
    months = due_months(maintenance.warehouse, maintenance.ring, now)
    archive = due_archive(maintenance.warehouse, policy, now)
    over = [hold for hold in maintenance.holds.active() if hold.ended(now)]
    if not maintenance.forced:
        clockguard.check(maintenance.warehouse, now, bool(months or archive or over))
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
    for month, generation in list(loss.unfinished(maintenance.warehouse.objects)):
        each(lambda month=month, generation=generation: _give_up(maintenance, month, generation))  # type: ignore[misc]
    for ended in over:
        each(lambda ended=ended: _release(maintenance, ended))  # type: ignore[misc]

    def erasures() -> None:
        for finishing in erasure.finish_erasures(maintenance):
            each(lambda finishing=finishing: _finished(*finishing()))  # type: ignore[misc]

    each(erasures)
    for table in _WINDOW_AND_ARCHIVE:
        each(lambda table=table: _delete_removed(maintenance, table))  # type: ignore[misc]
    # Step 3
    for due in months:
        each(lambda due=due: forget_month(maintenance, due))  # type: ignore[misc]
    each(lambda: _tidy(maintenance))
    # Step 4
    for gone in archive:
        each(lambda gone=gone: forget_archive(maintenance, gone))  # type: ignore[misc]
    # Step 5
    try:
        outcomes += _differences(maintenance)
    except LetheError as error:
        failures.append(error)
    # Step 6
    clockguard.note_run(maintenance.warehouse.objects, now, maintenance.forced)
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise type(failures[0])(f"{failures[0]}{more}") from failures[0]
    return outcomes


def _finish(maintenance: MaintenanceContext, hold: str) -> None:
    finish_release(maintenance.holds, maintenance.registrar, hold, maintenance.clock())


def _give_up(maintenance: MaintenanceContext, month: Due, generation: int) -> None:
    loss.finish(maintenance, month, generation)


def _release(maintenance: MaintenanceContext, hold: Hold) -> Outcome:
    """Release a hold that has ended by itself; it is in the audit log before."""
    assert hold.ends is not None  # noqa: S101  (it has ended)
    maintenance.on_release(hold)
    certificate = finish_release(
        maintenance.holds, maintenance.registrar, hold.id, maintenance.clock(), "its end came"
    )
    return Outcome(f"hold-{hold.id}", "released", hold.ends, 0, 0, 0, certificate=certificate["number"])


def _finished(begun: UnderWay, done: erasure.Erased) -> Outcome | None:
    """Say what came of an erasure that somebody had begun; None where nothing had been taken away, nor was."""
    if begun.journal is None or not done.files:
        return None
    rows, size = (sum(f[name] or 0 for f in done.files) for name in ("rows", "bytes"))
    due = datetime.fromisoformat(begun.journal.begun)
    held = done.total("held")
    return Outcome(begun.work, "erased", due, len(done.files), rows, size, held, done.certificate)


def _differences(maintenance: MaintenanceContext) -> list[Outcome]:
    now = maintenance.clock()
    found = coverage.check(maintenance.warehouse, maintenance.holds, maintenance.ring, now)
    return [
        Outcome(
            f"hold-{d.hold}.{d.month}", "differs", now, 0, -1 if d.found is None else d.found, 0, said=d.said
        )
        for d in found
    ]


def _delete_removed(maintenance: MaintenanceContext, table: str) -> None:
    handle = maintenance.warehouse.handle(table)
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
    archive = [
        preview_archive(maintenance.warehouse, due) for due in due_archive(maintenance.warehouse, policy, now)
    ]
    holds = maintenance.holds
    over = [
        Outcome(f"hold-{hold.id}", "would release", hold.ends, 0, sum(1 for _ in holds.records(hold)), 0)
        for hold in holds.active()
        if hold.ends is not None and hold.ended(now)
    ]
    return months + archive + over
