"""Erasing one person: their rows are rewritten away from every table and page of the window, old files deleted.

The archive is left as it is: it names nobody. What a hold covers is preserved first and waits for its release.
Of a rejected record the value goes and the row stays, so that every offset stays accounted for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import ExpiredKeyError, FencedError, IntegrityError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import window_end
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.certificates.certificates import DELETION
from lethe.tiers.certificates.expected_losses import note_erasure
from lethe.tiers.certificates.journal import file_entry
from lethe.tiers.certificates.places import reach
from lethe.tiers.compaction.jobs import delete_retired
from lethe.tiers.delta.rewrite import cleaned_files, delete_removed, files_of, replace
from lethe.tiers.delta.table import Table, Waited
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.rights import clean
from lethe.tiers.rights._unnamed_files import Unnamed, erase_unnamed
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.lookup import position_of
from lethe.tiers.window.mentioned import FIELDS, Scan, tokens_of_ids
from lethe.tiers.window.mentions import wanted
from lethe.tiers.window.positions import Positions
from lethe.tiers.window.records import (
    Part,
    at,
    open_entries,
    open_parts,
    pages_of,
    places_of,
    quarantined_value,
    rows_where,
    select_each,
)

_TRIES: Final = 50
COUNTS: Final = ("identifiers", "originals", "quarantine", "mentioned", "usage")
"""What an erasure counts of each month: rows, originals, rejected records, records of others that name the person,
records of usage data.
"""

_NONE: Final = Positions()

Clean = Callable[[pa.Table], pa.Table | None]
"""The rows of a file without what is to go, or None if there is nothing of it."""


@dataclass(slots=True)
class Found:
    """What there is of a person in one partition of the window."""

    part: Part
    identifiers: int = 0  # rows that carry a token of theirs
    beside: int = 0  # rows of others in records of usage data, which go whole
    records: Positions = _NONE  # which records those are
    entries: Positions = _NONE  # of which an original or window fields are kept
    quarantine: Positions = _NONE  # rejected records that name them
    usage: Positions = _NONE  # records of usage data: they go whole, with every identifier
    mentioned: Positions = _NONE  # records of others whose kept texts name them
    evidence: int = 0  # of those, originals: they go whole, and with them what could be produced in original
    ids: pa.Table = field(
        default_factory=clean.NO_IDS.combine_chunks
    )  # of those, what a message id would be as token, beside each position
    held: dict[str, int] = field(default_factory=dict)  # hold id -> records it covers

    def __bool__(self) -> bool:
        return bool(self.identifiers or self.entries or self.quarantine or self.mentioned or self.usage)

    @property
    def concerned(self) -> Positions:
        """Every record that an erasure would change."""
        return Positions.all((self.records, self.quarantine, self.mentioned))


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure took away, or would. No identifier in it."""

    months: list[dict[str, Any]]
    files: list[dict[str, Any]]
    certificate: int | None = None
    not_reached_until: datetime | None = (
        None  # files that no table names and that a writer may be about to commit
    )

    def total(self, name: str) -> int:
        """Return the sum of a count over all months."""
        return sum(int(m[name]) for m in self.months)


def scan_for(
    warehouse: Warehouse, subjects: tuple[Subject, ...], on_records: Callable[[int], None] = lambda _: None
) -> Scan:
    """Make what looks for mentions of a person; to be used for all partitions."""
    return Scan(warehouse, [wanted(subjects).spellings], on_records)


def search(warehouse: Warehouse, part: Part, subjects: tuple[Subject, ...], scan: Scan) -> Found:
    """Say what a partition holds of a person: by token, on the pages of those records, in the quarantine, and where the
    kept texts of other people's records name them. Every page of the partition is opened for the last.
    """
    tokens = pa.array(part.tokens(subjects), pa.binary())
    found = Found(part)
    carrying = part.rows & pc.field("token").isin(tokens)
    found.records, found.identifiers = _where(warehouse.window["identifiers"], carrying)
    _search_usage(warehouse, found)
    pages = pages_of(warehouse, part, found.records)
    kept = Positions.of(places_of(page, open_entries(page, part.keys)) for page, _ in pages)
    found.entries = kept & found.records
    found.quarantine = Positions.each(_rejected(warehouse, part, subjects))
    _search_others(found, scan)
    return found


def _where(table: Table, chosen: Any) -> tuple[Positions, int]:
    """Return the positions of the rows of a table, freshly loaded, that are chosen, and how many rows that are."""
    count = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for batch in rows_where(table, chosen):
            count += batch.num_rows
            yield batch

    return Positions.of(batches()), count


def _rejected(warehouse: Warehouse, part: Part, subjects: tuple[Subject, ...]) -> Iterator[Position]:
    """Yield the rejected records whose values name a person."""
    sought = wanted(subjects)
    for row in select_each(warehouse.window["quarantine"], part.rows & pc.field("sealed").is_valid()):
        value = quarantined_value(row, part.keys)
        if value is not None and sought.named_in(value):
            yield position_of(row)


def _search_others(found: Found, scan: Scan) -> None:
    """Note which records of others name the person in what is kept of them, and what their message ids would be."""
    pieces: list[Positions] = []
    ids: list[pa.Table] = [clean.NO_IDS]
    for (naming,) in scan.entries(found.part):
        others = {p: entries for p, entries in naming.items() if p not in found.records}
        pieces.append(Positions.each(others))
        found.evidence += sum(any(e["form"] != FIELDS for e in entries) for entries in others.values())
        tokens = {p: tokens_of_ids(found.part, scan.sought[0], entries) for p, entries in others.items()}
        ids.append(clean.ids_of(tokens))
    found.mentioned = Positions.all(pieces)
    found.ids = pa.concat_tables(ids)


def _search_usage(warehouse: Warehouse, found: Found) -> None:
    """Note which of the person's records are of usage data, and count all identifiers of those: they go together."""
    if not found.records or not files_of(warehouse.window["usage"], found.part.partition):
        return
    near = found.part.rows & at(found.records)
    found.usage = _where(warehouse.window["usage"], near)[0] & found.records
    if found.usage:
        rows = rows_where(warehouse.window["identifiers"], near)
        found.beside = sum(pc.sum(found.usage.mask(batch)).as_py() or 0 for batch in rows) - found.identifiers


def preview_erasure(maintenance: MaintenanceContext, subjects: tuple[Subject, ...]) -> Erased:
    """Say what an erasure would take away, and what holds would keep of it. Nothing is changed."""
    scan = scan_for(maintenance.warehouse, subjects, maintenance.on_records)
    found = [
        f
        for part in open_parts(maintenance.ring, maintenance.clock())
        if (f := search(maintenance.warehouse, part, subjects, scan))
    ]
    for one in found:
        one.held = maintenance.holds.covering(maintenance.warehouse, one.part, one.concerned)
    return Erased([_said(f) for f in found], [])


def erase(maintenance: MaintenanceContext, subjects: tuple[Subject, ...]) -> Erased:
    """Erase a person from the window and return what was taken away, certified. Workers may write meanwhile.

    After a crash it is simply asked again: what is left is found by looking.

    1. Delete what an earlier erasure took out of the tables and could not delete any more.
    2. In each partition: preserve what holds cover, note how many rows may go, then rewrite the quarantine, message
       ids of others that name the person, the pages, records of usage data (first who else is named in them) and, last,
       the identifiers, a commit each. The pages lead to those
       message ids and the identifiers lead to pages, so each goes when nothing needs it any more.
    3. Look again, until nothing is found: a worker may have added records. What comes in later is not erased.
    4. Delete the files that held the rows. From here on no version of a table leads to them. Delete what no table
       names and has the person in it; a file that a writer may be about to commit stays, which the certificate says.
    5. Write the certificate.
    """
    begun = maintenance.clock()
    work = f"erasure-{secrets.token_hex(8)}"
    months: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    # Step 1
    _delete(maintenance)
    scan = scan_for(maintenance.warehouse, subjects, maintenance.on_records)
    for part in open_parts(maintenance.ring, maintenance.clock()):
        said = _said(Found(part))
        for _ in range(_TRIES):
            # Step 3
            found = search(maintenance.warehouse, part, subjects, scan)
            if not found:
                break
            # Step 2
            kept = maintenance.holds.preserve(maintenance.warehouse, part, found.concerned, waiting=work)
            said["held"] = max(said["held"], sum(kept.values()))
            said["holds"] = sorted({*said["holds"], *kept})
            # A row of somebody else's goes with its message id if it has no other token.
            if going := found.identifiers + found.beside + len(found.mentioned):
                note_erasure(
                    maintenance.warehouse.objects,
                    work,
                    str(part.month),
                    part.window_months,
                    going,
                    len(found.usage),
                )
            fail_point("erase.kept")
            try:
                for table, rows, cleaning in _order(found, subjects, scan):
                    files += _rewrite(maintenance, found.part, table, cleaning)
                    for name, count in rows.items():
                        said[name] += count
                    fail_point(f"erase.rewritten.{table}")
            except FencedError:
                continue  # a compaction or a sweep changed a file meanwhile: look again
        else:
            raise FencedError(f"the month {part.month} changes all the time; try again when less is written")
        if any(said[name] for name in COUNTS):
            months.append(said)
    # Step 4
    _delete(maintenance)
    # By name too: a checkpoint of a merge may have forgotten that they were taken out.
    maintenance.warehouse.objects.delete(*(file["path"] for file in files))
    unnamed = erase_unnamed(maintenance.warehouse, maintenance.ring, subjects, maintenance.clock())
    files += unnamed.removed
    fail_point("erase.deleted")
    # Step 5
    if not months and not unnamed.removed:
        return Erased([], [], not_reached_until=unnamed.until)
    _check(maintenance, files)
    erased = Erased(months, files)
    holds = {hold for month in months for hold in month["holds"]}
    body = {
        "what": {"months": months},
        "begun": begun.astimezone(UTC).isoformat(timespec="microseconds"),
        "done": maintenance.clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "files": files,
        "counts": {n: erased.total(n) for n in (*COUNTS, "evidence", "held")},
        "method": DELETION,
        "checks": _checks(unnamed),
        "reach": reach("erasure", holds, maintenance.sources[0], unnamed.waiting, maintenance.sources[1]),
    }
    certificate = maintenance.registrar.issue(work, "erasure", body, maintenance.clock())
    return Erased(months, files, certificate["number"], unnamed.until)


def _checks(unnamed: Unnamed) -> list[str]:
    """Say where a second look found nothing, and what it could not reach."""
    tables = f"{', '.join(WINDOW_TABLES[:-1])} and {WINDOW_TABLES[-1]}"
    looked = f"a second look found nothing of the person in the tables {tables}"
    if unnamed.until is not None:
        looked += (
            f"; {len(unnamed.waiting)} file(s) that no table names yet may have the person in them: they are not "
            f"reached until {unnamed.until.astimezone(UTC).isoformat(timespec='seconds')}, when a sweep removes them"
        )
    else:
        looked += ", nor in files that no table names"
    return [looked, "the files that held the rows are deleted"]


def _rewrite(
    maintenance: MaintenanceContext, part: Part, table: str, cleaning: Clean
) -> list[dict[str, Any]]:
    """Rewrite the files of a partition that hold something of the person; returns the files taken out."""
    handle = maintenance.warehouse.window[table]
    handle.reload()
    now = maintenance.clock()
    if window_end(part.month, part.window_months) <= now:
        raise ExpiredKeyError(f"the window of {part.month} has ended meanwhile; the sweep forgets it whole")
    waited, now_ms = Waited(), int(now.timestamp() * 1000)
    files = files_of(handle, part.partition)
    old, new = cleaned_files(maintenance.warehouse.objects, table, files, cleaning, now_ms)
    fail_point(f"erase.written.{table}")
    waited.check(table)
    replace(handle, old, new, now_ms, "erase")
    return [file_entry(table, f.path, f.size, f.rows) for f in old]


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
            f"{len(left)} file(s) with erased rows could not be deleted; run the erasure again"
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


def _order(
    found: Found, subjects: tuple[Subject, ...], scan: Scan
) -> Iterator[tuple[str, dict[str, int], Clean]]:
    """Yield the tables to rewrite in turn, what goes from each by the name it is counted under, and what cleans a
    file.
    """
    if found.quarantine:
        yield "quarantine", {"quarantine": len(found.quarantine)}, partial(clean.quarantine, found.quarantine)
    if found.mentioned:
        yield "identifiers", {}, partial(clean.message_ids, found.ids)
    if found.entries or found.mentioned:
        counts = {
            "originals": len(found.entries),
            "mentioned": len(found.mentioned),
            "evidence": found.evidence,
        }
        sought = scan.sought[0]
        yield "originals", counts, partial(clean.pages, found.part, found.entries, found.mentioned, sought)
    tokens = found.part.tokens(subjects)
    if found.usage:
        yield "identifiers", {"identifiers": found.beside}, partial(clean.beside, found.usage, tokens)
        yield "usage", {"usage": len(found.usage)}, partial(clean.usage, found.usage)
    if found.identifiers:
        yield "identifiers", {"identifiers": found.identifiers}, partial(clean.identifiers, tokens)
