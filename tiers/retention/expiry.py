"""Forgetting a month: the numbered steps from the end of its window to the certificate.

Every step can be done again, by this process after a crash or by another one at the same time. What has to be done is
read from what is there (keys, files, journals), never from what a sweep remembers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from lethe.keys.ring import KeyRing, UnknownKeyError, month_key_id
from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import ExpiredKeyError, FencedError, IntegrityError
from lethe.schemas.retention.calendar import Month, window_end
from lethe.tiers.certificates.certificates import METHOD
from lethe.tiers.certificates.journal import Journal, file_entry, open_names
from lethe.tiers.certificates.places import reach
from lethe.tiers.compaction.jobs import discard_fenced
from lethe.tiers.delta.rewrite import everything_below, files_of, removed_files, replace
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.records import Part, partition_of

_FOLDER: Final = re.compile(
    rf"(?:{'|'.join(WINDOW_TABLES)})/month=([0-9]{{4}}-(?:0[1-9]|1[0-2]))/window_months=([0-9]{{1,4}})/"
)
_KEY_ID: Final = re.compile(r"([0-9]{4}-[0-9]{2})\.w([0-9]+)")
_FIRST_YEAR: Final = 1000
_LAST_YEAR: Final = 8999
_TRIES: Final = 20
_UNFINISHED: Final = timedelta(hours=1)
"""How long a file that is in no commit is left to the worker that may be about to commit it."""


@dataclass(frozen=True, slots=True)
class Due:
    """A month whose window has ended and of which something is left."""

    month: Month
    window_months: int
    ended: datetime

    @property
    def key_id(self) -> str:
        """The id of its keys."""
        return month_key_id(self.month, self.window_months)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of something due. `waiting`: of a month of the window, it is unreadable already, but a worker's
    unfinished files are left, or its key's destruction is not final yet; of the archive, `rows_waiting` stay until
    their commits are in the integrity log. `released`: a hold that has ended by itself. `differs`: of a month a hold
    has fewer records (`rows`) than the `said` it had before; -1 where they cannot be counted. `erased`: an erasure that
    somebody had begun a day ago, and that died.
    """

    what: str
    state: Literal["forgotten", "waiting", "would forget", "released", "would release", "differs", "erased"]
    due: datetime
    files: int
    rows: int
    bytes: int
    held: int = 0
    certificate: int | None = None
    rows_waiting: int = 0
    said: int = 0


def due_months(warehouse: Warehouse, ring: KeyRing, now: datetime) -> list[Due]:
    """Return the months that have to be forgotten, oldest first: by their keys, their rows, their files, their
    journals.
    """
    found = {(k.month, k.window_months) for k in ring.list(now) if k.state == "ended"}
    found |= {key for name in open_names(warehouse.objects) if (key := read_key_id(name))}
    for table in WINDOW_TABLES:
        handle = warehouse.window[table]
        handle.reload()
        found |= {
            (Month.parse(f.partition["month"]), int(f.partition["window_months"])) for f in files_of(handle)
        }
        for path in everything_below(warehouse.objects, table):
            if match := _FOLDER.match(path):
                found.add((Month.parse(match[1]), int(match[2])))
    # Outside these years nothing was ever sealed: what a record says of itself may be any year.
    keyed = ((m, w) for m, w in sorted(found) if _FIRST_YEAR <= m.year <= _LAST_YEAR)
    return [Due(m, w, end) for m, w in keyed if (end := window_end(m, w)) <= now]


def read_key_id(name: str) -> tuple[Month, int] | None:
    """Read month and window out of the id of a month's keys; None for another name."""
    match = _KEY_ID.fullmatch(name)
    return (Month.parse(match[1]), int(match[2])) if match else None


def preview(warehouse: Warehouse, due: Due) -> Outcome:
    """Say what forgetting a month would take away."""
    files = [f for t in WINDOW_TABLES for f in files_of(warehouse.window[t], _partition(due))]
    rows, size = sum(f.rows for f in files), sum(f.size for f in files)
    return Outcome(due.key_id, "would forget", due.ended, len(files), rows, size)


def forget_month(maintenance: MaintenanceContext, due: Due) -> Outcome:
    """Forget a month. It costs the same whatever its size: nothing of it is read unless a hold covers it.

    1. Open the journal: which files there are. A crash from here on leaves it, and the next sweep goes on.
    2. Preserve what holds cover. A crash leaves copies under the holds' keys, which are made again.
    3. Destroy the month's key-encryption key. From here on nothing of it can be read, backups included.
    4. Drop its partition from the window tables. Readers find no such rows; the transaction versions stay.
    5. Delete every file below its folders: those of older table versions too. A file in no commit waits an hour,
       in case a worker commits it just now: its reader gets a clear refusal rather than a missing file.
    6. Check: the key is gone, the ring refuses, no row and no file is left. Raises `IntegrityError` if not.
    7. Write the certificate, then remove the journal. A crash between the two finds the certificate.
    """
    objects, now = maintenance.warehouse.objects, maintenance.clock()
    # Step 1
    journal = Journal.open(objects, due.key_id, now)
    note_files(maintenance, due, journal)
    fail_point("expire.noted")
    # Step 2
    maintenance.on_step(f"{due.key_id}: holds")
    held = _preserve(maintenance, due)
    journal.note("held", [{"hold": hold, "records": count} for hold, count in sorted(held.items())])
    fail_point("expire.kept")
    # Step 3
    maintenance.on_step(f"{due.key_id}: key")
    maintenance.ring.destroy(due.month, due.window_months)
    fail_point("expire.destroyed")
    # Step 4
    maintenance.on_step(f"{due.key_id}: tables")
    for table in WINDOW_TABLES:
        drop_rows(maintenance, due, journal, table)
        fail_point(f"expire.dropped.{table}")
    # Step 5
    maintenance.on_step(f"{due.key_id}: files")
    left = _delete_files(maintenance, due, journal)
    fail_point("expire.deleted")
    files = sorted(journal.noted("file"), key=lambda f: f["path"])
    kept = {h["hold"]: h["records"] for h in journal.noted("held")}
    rows, size = sum(f["rows"] or 0 for f in files), sum(f["bytes"] or 0 for f in files)
    outcome = Outcome(due.key_id, "waiting", due.ended, len(files), rows, size, sum(kept.values()))
    # Some providers destroy a key days after they were asked, and can be told to bring it back until then.
    key_gone = maintenance.ring.destroyed_for_good_at(due.month, due.window_months)
    if left or key_gone is None:
        return outcome
    # Step 6
    checks = _check(maintenance, due)
    # Step 7
    body = {
        "what": {"month": str(due.month), "window_months": due.window_months, "key_ids": [due.key_id]},
        "due": due.ended.isoformat(),
        "begun": journal.begun,
        "done": maintenance.clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "files": files,
        "counts": {"files": len(files), "bytes": size, "rows": rows, "rows_by_table": rows_by_table(files)},
        "held": [{"hold": hold, "records": records} for hold, records in sorted(kept.items())],
        "method": METHOD,
        "key_gone": key_gone.astimezone(UTC).isoformat(timespec="microseconds"),
        "checks": checks,
        "reach": reach(
            "window",
            {*kept, *maintenance.holds.holding(due.key_id)},
            maintenance.sources[0],
            kept=maintenance.sources[1],
        ),
        "clock_forced": maintenance.forced,
    }
    certificate = maintenance.registrar.issue(
        journal.work, "window", body, maintenance.clock(), journal.since
    )
    fail_point("expire.certified")
    journal.close()
    return Outcome(
        due.key_id, "forgotten", due.ended, len(files), rows, size, outcome.held, certificate["number"]
    )


def note_files(maintenance: MaintenanceContext, due: Due, journal: Journal) -> None:
    """Note in a journal which files of a month the window tables name."""
    for table in WINDOW_TABLES:
        handle = maintenance.warehouse.window[table]
        handle.reload()
        journal.note(
            "file", (file_entry(table, f.path, f.size, f.rows) for f in files_of(handle, _partition(due)))
        )


def _preserve(maintenance: MaintenanceContext, due: Due) -> dict[str, int]:
    if not maintenance.holds.active():
        return {}
    try:
        keys = maintenance.ring.for_preserving(due.month, due.window_months)
    except (ExpiredKeyError, UnknownKeyError):
        return {}  # step 3 was reached before, so this one was done
    return maintenance.holds.preserve(
        maintenance.warehouse, Part(due.month, due.window_months, keys), waiting=due.key_id
    )


def drop_rows(maintenance: MaintenanceContext, due: Due, journal: Journal, table: str) -> None:
    """Drop a month's partition from a window table, its files noted in the journal before; sweeps delete them."""
    handle = maintenance.warehouse.window[table]
    for _ in range(_TRIES):
        handle.reload()
        files = files_of(handle, _partition(due))
        if not files:
            return
        journal.note("file", (file_entry(table, f.path, f.size, f.rows) for f in files))
        try:
            replace(handle, files, (), _milliseconds(maintenance.clock()), f"expire {journal.name}")
        except FencedError:
            continue  # another sweep, or a compaction, was there first: look again
        return
    raise FencedError(f"{table}: other maintenance changes the month {due.month} all the time; try again")


def _delete_files(maintenance: MaintenanceContext, due: Due, journal: Journal) -> int:
    """Delete what lies below the month's folders; returns how many files of unfinished commits wait."""
    objects, now = maintenance.warehouse.objects, maintenance.clock()
    known = {f["path"] for f in journal.noted("file")}
    seen = {f["path"]: datetime.fromisoformat(f["seen"]) for f in reversed(journal.noted("unfinished"))}
    left = 0
    for table in WINDOW_TABLES:
        handle = maintenance.warehouse.window[table]
        discard_fenced(objects, handle)
        handle.reload()
        once = {f"{table}/{path}" for path in removed_files(handle)}
        for path in everything_below(objects, f"{table}/{_folder(due)}"):
            if path in known or path in once or now - seen.get(path, now) >= _UNFINISHED:
                journal.note(
                    "file",
                    [file_entry(table, path.removeprefix(f"{table}/"), None, None)] * (path not in known),
                )
                objects.delete(path)
            else:
                journal.note("unfinished", [{"path": path, "seen": now.isoformat()}] * (path not in seen))
                left += 1
    return left


def _check(maintenance: MaintenanceContext, due: Due) -> list[str]:
    """Say what was checked, in words; raises `IntegrityError` when the month is not forgotten after all."""
    maintenance.ring.evict()
    if any(
        k.key_id == due.key_id and k.state != "destroyed" for k in maintenance.ring.list(maintenance.clock())
    ):
        raise IntegrityError(f"{due.key_id}: the provider still has the key; nothing was certified")
    try:
        maintenance.ring.for_preserving(due.month, due.window_months)
    except (ExpiredKeyError, UnknownKeyError):
        pass
    else:
        raise IntegrityError(f"{due.key_id}: the keys still open; nothing was certified")
    for table in WINDOW_TABLES:
        handle = maintenance.warehouse.table(table)
        left = everything_below(maintenance.warehouse.objects, f"{table}/{_folder(due)}")
        if left or files_of(handle, _partition(due)):
            raise IntegrityError(
                f"{due.key_id}: something of it came into {table} meanwhile; the next sweep removes it"
            )
    return [
        "the provider holds no key-encryption key of this id",
        "the key ring refuses to open the keys",
        "no window table has a row of the month",
        "no file is left below the month's folders, of any table version",
    ]


def rows_by_table(files: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Add up the rows of noted files, by table."""
    rows: dict[str, int] = {}
    for file in files:
        table = file["path"].partition("/")[0]
        rows[table] = rows.get(table, 0) + (file["rows"] or 0)
    return rows


def _partition(due: Due) -> dict[str, str]:
    return partition_of(due.month, due.window_months)


def _folder(due: Due) -> str:
    return f"month={due.month}/window_months={due.window_months}"


def _milliseconds(now: datetime) -> int:
    return int(now.timestamp() * 1000)
