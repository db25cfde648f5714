"""Giving up a month whose key is lost: what it sealed leaves the tables, and other keys take its place.

This forgets nothing on purpose, and nothing here reads or destroys a key: what was sealed is unreadable already, and
whether a copy of the key exists somewhere nobody can tell. The month itself ends with its window, as every other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from lethe.keys.keeping.keystore import LossNote
from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import LetheError
from lethe.schemas.retention.calendar import window_end
from lethe.tiers.certificates.journal import Journal, open_names
from lethe.tiers.compaction.layout import place_of
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.holds import coverage
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.retention.expiry import Due, drop_rows, note_files, read_key_id, rows_by_table
from lethe.tiers.rights import restrictions
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.records import partition_of

_NAME: Final = ".given-up."

NOT_DESTROYED: Final = (
    "none: nothing was destroyed. The key was lost, and what it had sealed cannot be read by anybody who has no copy "
    "of it; whether there is one, nobody can tell"
)


@dataclass(frozen=True, slots=True)
class GivenUp:
    """What giving up a month's keys took away: unreadable rows, and restrictions that had no copy elsewhere."""

    key_id: str
    files: int
    rows: int
    bytes: int
    restrictions: int
    certificate: int


def sealed_since(warehouse: Warehouse, month: Due, since: datetime) -> bool:
    """Tell whether rows of a month were sealed after that instant: somebody has its key."""
    newer = int(since.timestamp() * 1000)
    for table in WINDOW_TABLES:
        handle = warehouse.window[table]
        handle.reload()
        for file in files_of(handle, partition_of(month.month, month.window_months)):
            if file.modified_ms > newer and place_of(file.path) is None:  # merging files takes no key
                return True
    return False


def unfinished(objects: Objects) -> Iterator[tuple[Due, int]]:
    """Yield the months, with the generation of the secret, whose giving up was begun and has not ended."""
    for name in open_names(objects):
        key_id, found, generation = name.partition(_NAME)
        if found and generation.isdigit() and (month := of_key(key_id)):
            yield month, int(generation)


def of_key(key_id: str) -> Due | None:
    """Return the month whose keys have that id, None for an id that is no month's."""
    read = read_key_id(key_id)
    return Due(*read, window_end(*read)) if read else None


def begin(maintenance: MaintenanceContext, month: Due, generation: int, note: LossNote) -> GivenUp:
    """Give up the keys of a month. That they are lost has been proven, and was noted long enough ago (`note`).

    1. Note the decision with the keys, then open the journal: since when they are lost, and which files there are. A
       crash from here on leaves it, and the next sweep, or the next one who asks, goes on.
    2. to 6. as `finish` does them.
    """
    # Step 1
    maintenance.ring.losses.decide(month.key_id, generation)
    journal = Journal.open(
        maintenance.warehouse.objects, _name(month.key_id, generation), maintenance.clock()
    )
    journal.note(
        "loss", [{"lost": note.at.astimezone(UTC).isoformat(timespec="microseconds"), "why": note.why}]
    )
    note_files(maintenance, month, journal)
    fail_point("give_up.noted")
    return finish(maintenance, month, generation)


def finish(maintenance: MaintenanceContext, month: Due, generation: int) -> GivenUp:
    """Do what is left of giving up the keys of a month, every step again if need be.

    2. Mark the secret as given up, if that was decided with these keys: the journal is a file of the warehouse, and
       who writes there must not have a month deleted by one. From here on nobody opens it, should its key come back,
       nor seals into the month.
    3. Drop the rows it sealed from the window tables. Sweeps delete their files.
    4. Remove the copies of restrictions under it, and what holds counted of the month.
    5. Make other keys for the month, and put the restrictions under them. From here on records come in again.
    6. Write the certificate, then remove the journal. A crash between the two finds the certificate.
    """
    objects = maintenance.warehouse.objects
    journal = Journal.open(objects, _name(month.key_id, generation), maintenance.clock())
    said = journal.noted("loss")
    if not said:  # a crash before anything was done
        journal.close()
        raise LetheError(f"giving up {month.key_id} was begun and nothing done; ask again")
    lost = said[0]
    # Step 2
    note = LossNote(maintenance.clock(), "", lost["why"])
    maintenance.ring.losses.give_up(month.key_id, generation, note)
    fail_point("give_up.marked")
    # Step 3
    for table in WINDOW_TABLES:
        drop_rows(maintenance, month, journal, table)
        fail_point(f"give_up.dropped.{table}")
    # Step 4
    alone = restrictions.only_under(objects, maintenance.ring, month.month, month.window_months)
    journal.note("restrictions", [{"in no other month": alone}] * (alone > 0))
    held = coverage.noted_of(maintenance.holds, month.key_id)
    journal.note("held", [{"hold": hold, "records": count} for hold, count in sorted(held.items())])
    restrictions.drop_copies(objects, maintenance.ring, month.month, month.window_months)
    coverage.give_up(maintenance.holds, month.key_id)
    fail_point("give_up.cleared")
    # Step 5
    if maintenance.clock() < month.ended:
        maintenance.ring.begin_anew(month.month, month.window_months)
        restrictions.carry(objects, maintenance.ring, month.month, month.window_months)
    fail_point("give_up.anew")
    # Step 6
    files = sorted(journal.noted("file"), key=lambda f: f["path"])
    rows, size = sum(f["rows"] or 0 for f in files), sum(f["bytes"] or 0 for f in files)
    alone = sum(entry["in no other month"] for entry in journal.noted("restrictions"))
    body: dict[str, Any] = {
        "what": {"month": str(month.month), "window_months": month.window_months, "key_ids": [month.key_id]},
        "unreadable_since": lost["lost"],
        "why": lost["why"],
        "begun": journal.begun,
        "done": maintenance.clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "files": files,
        "counts": {"files": len(files), "bytes": size, "rows": rows, "rows_by_table": rows_by_table(files)},
        "held": journal.noted("held"),
        "restrictions_lost": alone,
        "method": NOT_DESTROYED,
    }
    certificate = maintenance.registrar.issue(journal.work, "loss", body, maintenance.clock(), journal.since)
    fail_point("give_up.certified")
    journal.close()
    return GivenUp(month.key_id, len(files), rows, size, alone, certificate["number"])


def _name(key_id: str, generation: int) -> str:
    return f"{key_id}{_NAME}{generation}"
