"""Erasing people: their rows are rewritten away from every table and page of the window, old files deleted.

The archive is left as it is: it names nobody. What a hold covers is preserved first and waits for its release.
Of a rejected record the value goes and the row stays, so that every offset stays accounted for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import ExpiredKeyError, FencedError, IntegrityError
from lethe.schemas.retention.calendar import window_end
from lethe.schemas.subjects.addresses import Subject
from lethe.schemas.words import counted
from lethe.tiers.certificates.certificates import DELETION
from lethe.tiers.certificates.expected_losses import note_erasure
from lethe.tiers.certificates.journal import ERASURE, Journal
from lethe.tiers.certificates.places import reach
from lethe.tiers.compaction.jobs import delete_retired
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import cleaned_files, delete_removed, files_of, replace
from lethe.tiers.delta.table import Waited
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.rights._unnamed_files import Unnamed, erase_unnamed
from lethe.tiers.rights.clean import Cleaning
from lethe.tiers.rights.search import Found, search, searching
from lethe.tiers.rights.spread import Notes, Spread, cleaned, noted, older_than, work_name
from lethe.tiers.rights.under_way import COUNTS, UnderWay, info, remove_idle, unfinished
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.window.records import Part, open_parts

_TRIES: Final = 50
_LEFT_BEHIND: Final = timedelta(days=1)
"""After which a sweep takes an erasure for one that died."""

_Writing = Callable[..., tuple[list[DataFile], list[DataFile]]]
"""Writes files of a table anew, and returns which are to be taken out and which are to be put in."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure took away, or would. No identifier in it."""

    months: list[dict[str, Any]]
    files: list[dict[str, Any]]
    certificate: int | None = None
    not_reached_until: datetime | None = (
        None  # files that no table names and that a writer may be about to commit
    )
    unfinished: bool = False  # whether an erasure of one of them was begun and has not ended

    def total(self, name: str) -> int:
        """Return the sum of a count over all months."""
        return sum(int(m[name]) for m in self.months)


def preview_erasure(
    maintenance: MaintenanceContext, subjects: tuple[Subject, ...], spread: Spread | None = None
) -> Erased:
    """Say what an erasure would take away, and what holds would keep of it. Nothing is changed."""
    warehouse, now = maintenance.warehouse, maintenance.clock()
    parts = list(open_parts(maintenance.ring, now))
    notes = Notes(warehouse.objects, work_name(ERASURE, now))
    looking = searching(warehouse, subjects, maintenance.on_records, notes, spread)
    try:
        found = [f for part in parts if (f := search(warehouse, part, looking))]
    finally:
        if spread is not None:
            notes.remove()
    for one in found:
        one.held = maintenance.holds.covering(warehouse, one.part, one.concerned)
    begun = any(set(one.subjects) & set(subjects) for one in unfinished(warehouse, parts, now))
    return Erased([_said(f) for f in found], [], unfinished=begun)


def erase(
    maintenance: MaintenanceContext, subjects: tuple[Subject, ...], spread: Spread | None = None
) -> Erased:
    """Erase people from the window and return what was taken away, certified. Workers may write meanwhile.

    With `spread` files are looked through and written anew elsewhere, by tasks that find whom it is about in notes.

    1. Delete what an earlier erasure took out of the tables and could not delete any more.
    2. End each erasure of one of them that was begun and has not ended. One of the very same people is this one.
    3. Carry it out, as `_carry_out` says.
    """
    # Step 1
    _delete(maintenance)
    # Step 2
    now = maintenance.clock()
    parts = list(open_parts(maintenance.ring, now))
    done: Erased | None = None
    looked = False
    for begun in unfinished(maintenance.warehouse, parts, now):
        if set(begun.subjects) & set(subjects):
            certified = begun.certified()
            theirs = _as_certified(begun, certified) if certified else _carry_out(maintenance, begun, spread)
            if set(begun.subjects) == set(subjects):
                done, looked = theirs, certified is None
    # Step 3
    if done is None or not looked:
        new = _carry_out(maintenance, UnderWay.new(maintenance.warehouse, subjects, now), spread)
        done = new if new.files or done is None else done
    remove_idle(maintenance.warehouse.objects, parts, subjects)
    return done


def finish_erasures(
    maintenance: MaintenanceContext,
) -> Iterator[Callable[[], tuple[UnderWay, Erased]]]:
    """Yield what ends each erasure that was begun a day ago or earlier, and remove notes of those that never began."""
    objects, now = maintenance.warehouse.objects, maintenance.clock()
    if not unfinished(maintenance.warehouse, (), now) and not noted(objects, ()):
        return  # no key is opened for nothing: one of them may be lost
    parts = list(open_parts(maintenance.ring, now))
    under_way = unfinished(maintenance.warehouse, parts, now)
    for begun in under_way:
        if older_than(begun.work, _LEFT_BEHIND, now):
            yield lambda begun=begun: (begun, _end(maintenance, begun))  # type: ignore[misc]
    for work in noted(objects, ()).keys() - {begun.work for begun in under_way}:
        if older_than(work, _LEFT_BEHIND, now):
            Notes(objects, work).remove()


def _end(maintenance: MaintenanceContext, begun: UnderWay) -> Erased:
    certified = begun.certified()
    return _as_certified(begun, certified) if certified else _carry_out(maintenance, begun, None)


def _as_certified(begun: UnderWay, certificate: dict[str, Any]) -> Erased:
    """End an erasure that died after its certificate was written, and return what that says."""
    begun.end()
    return Erased(certificate["what"]["months"], certificate["files"], certificate["number"])


def _carry_out(maintenance: MaintenanceContext, begun: UnderWay, spread: Spread | None) -> Erased:
    """Carry an erasure out to its end, or go on with one that has no certificate.

    What is taken away is noted before and after. After a crash the rest is found by looking, and what went before is
    in the notes: the same people are asked for again, or a sweep comes a day later.

    1. In each partition: preserve what holds cover, note how many rows may go, then rewrite the quarantine, message
       ids of others that name the person, the pages, records of usage data (first who else is named in them) and, last,
       the identifiers, a commit each. The pages lead to those message ids and the identifiers lead to pages, so each
       goes when nothing needs it any more.
    2. Look again, until nothing is found: a worker may have added records. What comes in later is not erased.
    3. Delete the files that held the rows. From here on no version of a table leads to them. Delete what no table
       names and has the person in it; a file that a writer may be about to commit stays, which the certificate says.
    4. Write the certificate. A crash after it leaves notes of whoever is gone, sealed, which go next time.
    5. Remove the notes.
    """
    try:
        erased = _take_away(maintenance, begun, spread)
    except BaseException:
        if begun.journal is None:
            begun.notes.remove()
        raise
    # Step 5
    begun.end()
    return erased


def _take_away(maintenance: MaintenanceContext, begun: UnderWay, spread: Spread | None) -> Erased:
    """Do steps 1 to 4 of `_carry_out`."""
    now = maintenance.clock()
    parts = list(open_parts(maintenance.ring, now)) if begun.subjects else []
    looking = searching(maintenance.warehouse, begun.subjects, maintenance.on_records, begun.notes, spread)
    # Steps 1 and 2
    for part in parts:
        for _ in range(_TRIES):
            before = _files_of(maintenance, part)
            found = search(maintenance.warehouse, part, looking)
            if not found:
                break
            seen = _files_of(maintenance, part)
            if any(paths - seen[table] for table, paths in before.items()):
                continue  # somebody took files out meanwhile: what was found in them may have gone with theirs
            journal = begun.begin(part, parts[-1], now)
            try:
                _rewrite_all(maintenance, begun, journal, found, seen, spread)
            except FencedError:
                continue  # a compaction or a sweep changed a file meanwhile: look again
        else:
            raise FencedError(f"the month {part.month} changes all the time; try again when less is written")
    # Step 3
    _delete(maintenance)
    # By name too: a checkpoint of a merge may have forgotten that they were taken out.
    months, files = begun.said()
    maintenance.warehouse.objects.delete(*(file["path"] for file in files))
    unnamed = _erase_unnamed(maintenance, begun, parts)
    months, files = begun.said()
    fail_point("erase.deleted")
    # Step 4
    if not months and not files:
        return Erased([], [], not_reached_until=unnamed.until)
    _check(maintenance, files)
    erased = Erased(months, files)
    holds = {hold for month in months for hold in month["holds"]}
    assert begun.journal is not None  # noqa: S101  (something was taken away)
    body = {
        "what": {"months": months},
        "begun": begun.journal.begun,
        "done": maintenance.clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "files": files,
        "counts": {n: erased.total(n) for n in (*COUNTS, "evidence", "held")},
        "method": DELETION,
        "checks": _checks(unnamed, bool(begun.subjects)),
        "reach": reach("erasure", holds, maintenance.sources[0], unnamed.waiting, maintenance.sources[1]),
    }
    certificate = maintenance.registrar.issue(
        begun.work, "erasure", body, maintenance.clock(), begun.journal.since
    )
    fail_point("erase.certified")
    return Erased(months, files, certificate["number"], unnamed.until)


def _files_of(maintenance: MaintenanceContext, part: Part) -> dict[str, set[str]]:
    """Return the paths of the files that a partition has now, by table."""
    found = {}
    for name in WINDOW_TABLES:
        handle = maintenance.warehouse.window[name]
        handle.reload()
        found[name] = {file.path for file in files_of(handle, part.partition)}
    return found


def _rewrite_all(
    maintenance: MaintenanceContext,
    begun: UnderWay,
    journal: Journal,
    found: Found,
    seen: dict[str, set[str]],
    spread: Spread | None,
) -> None:
    """Preserve what holds cover of what was found, then rewrite the tables of a partition in turn.

    `seen`: the files in which it was found, by table; raises `FencedError` where one of them is there no more.
    """
    part, objects = found.part, maintenance.warehouse.objects
    kept = maintenance.holds.preserve(maintenance.warehouse, part, found.concerned, waiting=begun.work)
    month = _said(Found(part)) | {"held": sum(kept.values()), "holds": sorted(kept)}
    # A row of somebody else's goes with its message id if it has no other token.
    if going := found.identifiers + found.beside + len(found.mentioned):
        note_erasure(objects, begun.work, str(part.month), part.window_months, going, len(found.usage))
    fail_point("erase.kept")
    for table, counts, cleaning in _order(found):
        if spread is None:
            writing: _Writing = partial(cleaned_files, objects, cleaning=cleaning.of(part, begun.subjects))
        else:
            writing = partial(cleaned, begun.notes, spread, part, begun.subjects, cleaning)
        _rewrite(maintenance, begun, journal, part, table, month | counts, seen[table], writing)
        fail_point(f"erase.rewritten.{table}")


def _erase_unnamed(maintenance: MaintenanceContext, begun: UnderWay, parts: list[Part]) -> Unnamed:
    """Remove files with the people in them that no table names, each noted before."""
    now = maintenance.clock()

    def about_to(entry: dict[str, Any]) -> None:
        begun.begin(parts[-1], parts[-1], now).note("unnamed", [entry])

    if not parts:
        return Unnamed()
    return erase_unnamed(maintenance.warehouse, parts, begun.subjects, now, about_to)


def _checks(unnamed: Unnamed, looked_for: bool) -> list[str]:
    """Say where a second look found nothing, and what it could not reach."""
    if not looked_for:  # ended by somebody else, after the months whose keys had sealed whom it is about
        return ["every month that it was about has ended since", "the files that held the rows are deleted"]
    tables = f"{', '.join(WINDOW_TABLES[:-1])} and {WINDOW_TABLES[-1]}"
    looked = f"a second look found nothing of the person in the tables {tables}"
    if unnamed.until is not None:
        looked += (
            f"; {counted(len(unnamed.waiting), 'file')} that no table names yet may have the person in them: they are "
            f"not reached until {unnamed.until.astimezone(UTC).isoformat(timespec='seconds')}, when a sweep comes by"
        )
    else:
        looked += ", nor in files that no table names"
    return [looked, "the files that held the rows are deleted"]


def _rewrite(
    maintenance: MaintenanceContext,
    begun: UnderWay,
    journal: Journal,
    part: Part,
    table: str,
    month: dict[str, Any],
    seen: set[str],
    writing: _Writing,
) -> None:
    """Rewrite the files of a partition that hold something of the person, noted before and after.

    What is counted was found in the files that were `seen`. Another erasure of the person may have rewritten them
    since: then nothing of it may be certified here, too.
    """
    handle = maintenance.warehouse.window[table]
    handle.reload()
    now = maintenance.clock()
    if window_end(part.month, part.window_months) <= now:
        raise ExpiredKeyError(f"the window of {part.month} has ended meanwhile; the sweep forgets it whole")
    waited, now_ms = Waited(), int(now.timestamp() * 1000)
    files = files_of(handle, part.partition)
    if seen - {file.path for file in files}:
        raise FencedError(f"{table}: files were taken out since they were looked through")
    old, new = writing(table=table, files=files, now_ms=now_ms)
    fail_point(f"erase.written.{table}")
    waited.check(table)
    step = begun.about_to(journal, month, table, old)
    fail_point(f"erase.noted.{table}")
    try:
        replace(handle, old, new, now_ms, "erase", info=info(step))
    except FencedError:
        journal.note("ended", [{"step": step["step"], "landed": False}])
        raise
    seen.difference_update(file.path for file in old)
    fail_point(f"erase.committed.{table}")
    journal.note("ended", [{"step": step["step"], "landed": True}])


def _delete(maintenance: MaintenanceContext) -> None:
    objects = maintenance.warehouse.objects
    for name in WINDOW_TABLES:
        table = maintenance.warehouse.window[name]
        delete_retired(objects, table)
        delete_removed(objects, table)


def _check(maintenance: MaintenanceContext, files: list[dict[str, Any]]) -> None:
    left = [f["path"] for f in files if maintenance.warehouse.objects.get(f["path"]) is not None]
    if left:
        raise IntegrityError(
            f"{counted(len(left), 'file')} with erased rows could not be deleted; run the erasure again"
        )


def _said(found: Found) -> dict[str, Any]:
    return {
        "month": str(found.part.month),
        "window_months": found.part.window_months,
        "identifiers": found.identifiers + found.beside,
        "originals": len(found.entries),
        "quarantine": len(found.quarantine),
        "mentioned": len(found.mentioned),
        "usage": len(found.usage),
        "evidence": found.evidence,
        "held": sum(found.held.values()),
        "holds": sorted(found.held),
    }


def _order(found: Found) -> Iterator[tuple[str, dict[str, int], Cleaning]]:
    """Yield the tables to rewrite in turn, what goes from each by the name it is counted under, and what cleans a
    file.
    """
    if found.quarantine:
        yield "quarantine", {"quarantine": len(found.quarantine)}, Cleaning("quarantine", found.quarantine)
    if found.mentioned:
        yield "identifiers", {}, Cleaning("message_ids", ids=found.ids)
    if found.entries or found.mentioned:
        counts = {
            "originals": len(found.entries),
            "mentioned": len(found.mentioned),
            "evidence": found.evidence,
        }
        yield "originals", counts, Cleaning("pages", found.entries, found.mentioned)
    if found.usage:
        yield "identifiers", {"identifiers": found.beside}, Cleaning("beside", found.usage)
        yield "usage", {"usage": len(found.usage)}, Cleaning("usage", found.usage)
    if found.identifiers:
        yield "identifiers", {"identifiers": found.identifiers}, Cleaning("identifiers")
