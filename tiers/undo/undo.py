"""Taking a file's records out of every table again: because it was taken in under a wrong declaration.

Positions are used once for ever, and what is sealed depends on them. So the file's stream is closed: nothing is ever
committed to it again, and the same content taken in later is the stream `file-NAME~2`. What the ledger and the
integrity log said of it stays; the certificate, which is signed, says that its rows are gone on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.transaction import RemoveAction

from lethe.integrity.log.note import VerifierKey
from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import FencedError, IntegrityError, LetheError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.adjustments.table import NAME as ADJUSTMENTS
from lethe.tiers.adjustments.table import adjust
from lethe.tiers.certificates import certificates
from lethe.tiers.certificates.certificates import DELETION
from lethe.tiers.certificates.journal import Journal, file_entry, open_names
from lethe.tiers.compaction.jobs import discard_fenced, retired
from lethe.tiers.delta.rewrite import cleaned_files, delete_removed, files_of, replace
from lethe.tiers.delta.table import Waited
from lethe.tiers.ledger.reading import require_ledger
from lethe.tiers.ledger.reconcile import CLOSED
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.positions import WHERE, Positions
from lethe.tiers.window.records import PAGES, Part, open_entries, open_parts, places_of

STREAM: Final = re.compile(r"file-[0-9a-f]{32}(?:~[0-9]{1,6})?")
"""What the stream of a file is called."""
_TABLES: Final = ("metadata", *WINDOW_TABLES)
_TRIES: Final = 20
_WORK: Final = "undo-"


@dataclass(frozen=True, slots=True)
class Undone:
    """What was taken out: records as the ledger counts them, and rows by table."""

    stream: str
    records: int
    archive: int
    identifiers: int
    quarantine: int
    usage: int
    held: int
    certificate: int


def source_of(stream: str) -> str:
    """Return the transaction id of a file's stream."""
    return f"file/{stream.removeprefix('file-')}/0"


def is_closed(warehouse: Warehouse, stream: str) -> bool:
    """Tell whether a file's stream was taken out, or is about to be."""
    return warehouse.position(source_of(stream)) == CLOSED or stream in begun(warehouse.objects)


def begun(objects: Objects) -> set[str]:
    """List the streams whose undo was begun and is not finished."""
    return {n.removeprefix(_WORK) for n in open_names(objects) if n.startswith(_WORK)}


def undone_streams(objects: Objects, trusted: Iterable[VerifierKey]) -> frozenset[str]:
    """List the streams that signed certificates say were taken out; one that no trusted key signed does not count.

    What an unsigned one says is gone counts as missing; `lethe certificates verify` names it.
    """
    keys, found = list(trusted), set()
    for number in certificates.numbers(objects):
        document = certificates.read(objects, number)
        if document["certificate"].get("kind") == "undo":
            with suppress(IntegrityError):
                found.add(str(certificates.verify(document, keys)["what"]["stream"]))
    return frozenset(found)


def counts_of(warehouse: Warehouse, stream: str) -> dict[str, int]:
    """Count what the ledger says of a stream, replays included: records, and rows by table."""
    warehouse.publish()
    rows = require_ledger(warehouse, pc.field("stream") == stream)
    total = {n: int(pc.sum(rows.column(n)).as_py() or 0)
             for n in ("records", "split", "late", "rejected", "tombstones", "identifiers", "usage")}  # fmt: skip
    return {
        "records": total["split"] + total["late"] + total["rejected"] + total["tombstones"],
        "archive": total["split"] + total["late"] - total["usage"],
        "usage": total["usage"],
        "quarantine": total["rejected"] + total["tombstones"],
        "identifiers": total["identifiers"],
    }


def undo(maintenance: MaintenanceContext, stream: str) -> Undone:
    """Take every row of a file's stream out of archive and window; asked again after a crash it goes on.

    Its commits have to be in the integrity log. Raises `LetheError` for a stream that is no file's.

    1. Open the journal. From here on an ingest of the same content is refused until this is done.
    2. Preserve what holds cover. A crash leaves copies under the holds' keys, which are made again.
    3. Take its rows out of archive, identifiers, originals, quarantine and usage, a commit each, which closes the
       stream in that table: an ingest that is at work on the file can commit nothing to it any more.
    4. Find anew what is not to be billed in its months: what its reports had superseded counts again.
    5. Delete the files that held the rows.
    6. Write the certificate, then remove the journal. A crash between the two finds the certificate.
    """
    if not STREAM.fullmatch(stream):
        raise LetheError("only what was taken in from a file can be taken out again")
    warehouse = maintenance.warehouse
    # Step 1
    journal = Journal.open(warehouse.objects, f"{_WORK}{stream}", maintenance.clock())
    fail_point("undo.noted")
    # Step 2
    held = _preserve(maintenance, stream, journal.work)
    journal.note("held", [{"hold": hold, "records": count} for hold, count in sorted(held.items())])
    fail_point("undo.kept")
    # Step 3
    for table in _TABLES:
        _take_out(maintenance, journal, stream, table)
        fail_point(f"undo.taken.{table}")
    # Step 4
    _adjust_again(maintenance, {str(entry["month"]) for entry in journal.noted("month")})
    fail_point("undo.adjusted")
    # Step 5
    for table in _TABLES:
        handle = warehouse.handle(table)
        discard_fenced(warehouse.objects, handle)
        delete_removed(warehouse.objects, handle, retired(warehouse.objects, table))
    fail_point("undo.deleted")
    # Step 6
    counts = counts_of(warehouse, stream)
    kept = {h["hold"]: h["records"] for h in journal.noted("held")}
    files = sorted(journal.noted("file"), key=lambda f: f["path"])
    body = {
        "what": {"stream": stream},
        "begun": journal.begun,
        "done": maintenance.clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "files": files,
        "counts": {
            **counts,
            "rows": counts["archive"] + counts["quarantine"] + counts["identifiers"] + counts["usage"],
        },
        "held": [{"hold": hold, "records": records} for hold, records in sorted(kept.items())],
        "method": DELETION,
        "checks": [
            f"{', '.join(_TABLES)} have no row of the stream and accept none any more",
            "the files that held the rows are deleted",
        ],
    }
    certificate = maintenance.registrar.issue(journal.work, "undo", body, maintenance.clock(), journal.since)
    fail_point("undo.certified")
    journal.close()
    return Undone(stream, **counts, held=sum(kept.values()), certificate=certificate["number"])


def _take_out(maintenance: MaintenanceContext, journal: Journal, stream: str, table: str) -> None:
    warehouse, source = maintenance.warehouse, source_of(stream)
    handle, now_ms = warehouse.handle(table), int(maintenance.clock().timestamp() * 1000)

    def others(rows: pa.Table) -> pa.Table | None:
        rest = rows.filter(pc.not_equal(rows.column("stream"), stream))
        return None if rest.num_rows == rows.num_rows else rest

    for _ in range(_TRIES):
        handle.reload()
        waited = Waited()
        try:
            old, new = cleaned_files(warehouse.objects, table, files_of(handle), others, now_ms)
            if not old and handle.transaction(source) == CLOSED:
                return
            journal.note("file", (file_entry(table, f.path, f.size, f.rows) for f in old))
            journal.note("month", ({"month": f.partition["month"]} for f in old))
            fail_point(f"undo.written.{table}")
            waited.check(table)
            gone = [RemoveAction(f.path, True, now_ms, f.size, dict(f.partition)) for f in old]
            handle.commit(new, {source: CLOSED}, {"lethe.maintenance": f"undo {stream}"}, gone)
        except FencedError:
            continue  # a compaction, a worker or another undo was there first: look again
        return
    raise FencedError(f"{table}: other maintenance changes the same files all the time; try again")


def _preserve(maintenance: MaintenanceContext, stream: str, work: str) -> dict[str, int]:
    holds, warehouse = maintenance.holds, maintenance.warehouse
    kept: dict[str, int] = {}
    if not holds.active():
        return kept
    for part in open_parts(maintenance.ring, maintenance.clock()):
        if positions := _positions(warehouse, part, stream):
            for hold, theirs in holds.preserve(warehouse, part, positions, waiting=work).items():
                kept[hold] = kept.get(hold, 0) + theirs
    warehouse.metadata.reload()
    rows = warehouse.metadata.dataset()
    for batch in rows.to_batches(filter=pc.field("stream") == stream):
        for month in pc.unique(batch.column("month")).to_pylist():
            mine = pa.Table.from_batches([batch.filter(pc.equal(batch.column("month"), month))])
            holds.preserve_archive(mine, str(month))
    return kept


def _positions(warehouse: Warehouse, part: Part, stream: str) -> Positions:
    """Return the records of a stream of which a partition of the window has anything."""
    mine = part.rows & (pc.field("stream") == stream)

    def rows() -> Iterator[pa.RecordBatch | pa.Table]:
        for table in ("identifiers", "quarantine", "usage"):
            warehouse.window[table].reload()
            yield from warehouse.window[table].dataset().to_batches(columns=WHERE, filter=mine)
        warehouse.window["originals"].reload()
        for batch in warehouse.window["originals"].dataset().to_batches(filter=mine, batch_size=PAGES):
            yield from (places_of(page, open_entries(page, part.keys)) for page in batch.to_pylist())

    return Positions.of(rows())


def _adjust_again(maintenance: MaintenanceContext, months: set[str]) -> None:
    """Find anew what is not to be billed in months that open; of one that has ended nobody can tell any more."""
    warehouse, now = maintenance.warehouse, maintenance.clock()
    live = {str(part.month) for part in open_parts(maintenance.ring, now)}
    for month in sorted(months & live):
        table = warehouse.table(ADJUSTMENTS)
        if files := files_of(table, {"month": month}):
            replace(table, files, [], int(now.timestamp() * 1000), "undo")
            fail_point("undo.unadjusted")
        adjust(warehouse, Month.parse(month), now)
        delete_removed(warehouse.objects, warehouse.table(ADJUSTMENTS))
