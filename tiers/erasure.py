"""Erasing one person: their rows are rewritten away from every table and page of the window, old files deleted.

The archive is left as it is: it names nobody. What a hold covers is set aside first and waits for its release.
Of a rejected record the value goes and the row stays, so that every offset stays accounted for.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from keys.pages import seal_page
from keys.tokens import subject_token
from schemas.arrow import ORIGINALS, WINDOW_TABLES
from schemas.errors import ExpiredKeyError, FencedError, IntegrityError
from schemas.position import Position
from schemas.retention import window_end
from schemas.subjects import Subject
from tiers.certificates import DELETION
from tiers.expiry import Forgetting
from tiers.failpoint import fail_point
from tiers.files import write_files
from tiers.journal import file_entry
from tiers.lookup import position_of
from tiers.mentions import mentions
from tiers.records import Part, open_entries, pages_of, quarantined_value, select
from tiers.rewrite import delete_removed, files_of, range_of, read_file, replace
from tiers.table import DataFile

_TRIES: Final = 50


@dataclass(slots=True)
class Found:
    """What there is of a person in one partition of the window."""

    part: Part
    identifiers: int = 0  # rows that carry a token of theirs
    records: set[Position] = field(default_factory=set)  # which records those are
    entries: set[Position] = field(default_factory=set)  # of which an original or window fields are kept
    quarantine: set[Position] = field(default_factory=set)  # rejected records that name them
    held: dict[str, int] = field(default_factory=dict)  # hold id -> records it covers

    def __bool__(self) -> bool:
        return bool(self.identifiers or self.entries or self.quarantine)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure took away, or would. No identifier in it."""

    months: list[dict[str, Any]]
    files: list[dict[str, Any]]
    certificate: int | None = None

    def total(self, name: str) -> int:
        """The sum of a count over all months."""
        return sum(int(m[name]) for m in self.months)


def open_parts(do: Forgetting) -> Iterator[Part]:
    """The partitions of the window that open, oldest first, each with its keys."""
    for info in do.ring.list(do.clock()):
        if info.state == "live":
            try:
                yield Part(info.month, info.window_months, do.ring.keys_for(info.month, info.window_months))
            except ExpiredKeyError:
                continue


def search(do: Forgetting, part: Part, subjects: tuple[Subject, ...]) -> Found:
    """What a partition holds of a person: by token, on the pages of those records, and in the quarantine."""
    tokens = pa.array([subject_token(part.keys, s.kind, s.value) for s in subjects], pa.binary())
    where = ["stream", "partition", "offset", "index"]
    window = do.warehouse.window
    rows = select(window["identifiers"], part.rows & pc.field("token").isin(tokens), where)
    found = Found(part, len(rows), {position_of(r) for r in rows})
    for page in pages_of(do.warehouse, part, found.records):
        for entry in open_entries(page, part.keys).select(["offset", "index"]).to_pylist():
            position = Position(page["stream"], page["partition"], entry["offset"], entry["index"])
            if position in found.records:
                found.entries.add(position)
    for row in select(window["quarantine"], part.rows & pc.field("sealed").is_valid()):
        value = quarantined_value(row, part.keys)
        if value is not None and mentions(value, subjects):
            found.quarantine.add(position_of(row))
    return found


def preview_erasure(do: Forgetting, subjects: tuple[Subject, ...]) -> Erased:
    """What an erasure would take away, and what holds would keep of it. Nothing is changed."""
    found = [f for part in open_parts(do) if (f := search(do, part, subjects))]
    for one in found:
        one.held = do.holds.covering(do.warehouse, one.part, one.records | one.quarantine)
    return Erased([_said(f) for f in found], [])


def erase(do: Forgetting, subjects: tuple[Subject, ...]) -> Erased:
    """Erase a person from the window and return what was taken away, certified. Workers may write meanwhile.

    After a crash it is simply asked again: what is left is found by looking.

    1. Delete what an earlier erasure took out of the tables and could not delete any more.
    2. In each partition: set aside what holds cover, then rewrite the quarantine, the pages and, last, the
       identifiers, a commit each. The identifiers lead to the pages, so they go when nothing needs them any more.
    3. Look again, until nothing is found: a worker may have added records. What comes in later is not erased.
    4. Delete the files that held the rows. From here on no version of a table leads to them.
    5. Write the certificate.
    """
    begun = do.clock()
    work = f"erasure-{secrets.token_hex(8)}"
    months: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    # Step 1
    _delete(do)
    for part in open_parts(do):
        said = _said(Found(part))
        for _ in range(_TRIES):
            # Step 3
            found = search(do, part, subjects)
            if not found:
                break
            # Step 2
            kept = do.holds.keep(do.warehouse, part, found.records | found.quarantine, waiting=work)
            said["held"] = max(said["held"], sum(map(len, kept.values())))
            said["holds"] = sorted({*said["holds"], *kept})
            fail_point("erase.kept")
            try:
                for table, rows in _order(found):
                    files += _rewrite(do, found, subjects, table)
                    said[table] += rows
                    fail_point(f"erase.rewritten.{table}")
            except FencedError:
                continue  # a compaction or a sweep changed a file meanwhile: look again
        else:
            raise FencedError(f"the month {part.month} changes all the time; try again when less is written")
        if said["identifiers"] or said["originals"] or said["quarantine"]:
            months.append(said)
    # Step 4
    _delete(do)
    fail_point("erase.deleted")
    # Step 5
    if not months:
        return Erased([], [])
    _check(do, files)
    erased = Erased(months, files)
    body = {
        "what": {"months": months},
        "begun": begun.astimezone(UTC).isoformat(timespec="microseconds"),
        "done": do.clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "files": files,
        "counts": {n: erased.total(n) for n in ("identifiers", "originals", "quarantine", "held")},
        "method": DELETION,
        "checks": ["a second look found nothing of the person", "the files that held the rows are deleted"],
    }
    certificate = do.registrar.issue(work, "erasure", body, do.clock())
    return Erased(months, files, certificate["number"])


def _rewrite(do: Forgetting, found: Found, subjects: tuple[Subject, ...], table: str) -> list[dict[str, Any]]:
    """Rewrite the files of a partition that hold rows of the person; returns the files taken out."""
    positions = {"quarantine": found.quarantine, "originals": found.entries, "identifiers": found.records}[
        table
    ]
    if not positions:
        return []
    handle = do.warehouse.window[table]
    handle.reload()
    now = do.clock()
    if window_end(found.part.month, found.part.window_months) <= now:
        raise ExpiredKeyError(
            f"the window of {found.part.month} has ended meanwhile; the sweep forgets it whole"
        )
    old: list[DataFile] = []
    new: list[DataFile] = []
    for file in files_of(handle, found.part.partition):
        rows = read_file(do.warehouse.objects, table, file)
        if rows is None:
            raise FencedError(f"{table}: a file was deleted meanwhile")
        cleaned = _cleaned(table, rows, found.part, positions, subjects)
        if cleaned is None:
            continue
        old.append(file)
        if cleaned.num_rows:
            new += write_files(
                do.warehouse.objects, table, cleaned, range_of(file), int(now.timestamp() * 1000)
            )
    fail_point(f"erase.written.{table}")
    replace(handle, old, new, int(now.timestamp() * 1000), "erase")
    return [file_entry(table, f.path, f.size, f.rows) for f in old]


def _cleaned(
    table: str, rows: pa.Table, part: Part, positions: set[Position], subjects: tuple[Subject, ...]
) -> pa.Table | None:
    """The rows of a file without those of the person; None if it holds none."""
    if table == "identifiers":
        tokens = pa.array([subject_token(part.keys, s.kind, s.value) for s in subjects], pa.binary(16))
        theirs = pc.fill_null(pc.is_in(rows.column("token"), tokens), False)
        return rows.filter(pc.invert(theirs)) if pc.any(theirs).as_py() else None
    if table == "quarantine":
        named = pa.array([position_of(r) in positions for r in rows.select(_PLACE).to_pylist()])
        named = pc.and_(named, pc.is_valid(rows.column("sealed")))
        if not pc.any(named).as_py():
            return None
        for column in ("sealed", "form"):
            at = rows.schema.get_field_index(column)
            kind = rows.schema.field(column).type
            rows = rows.set_column(
                at, rows.schema.field(column), pc.if_else(named, pa.scalar(None, kind), rows.column(column))
            )
        return rows
    pages = rows.to_pylist()
    cleaned = [_without(page, part, positions) for page in pages]
    if all(after is before for after, before in zip(cleaned, pages, strict=True)):
        return None
    return pa.Table.from_pylist([p for p in cleaned if p is not None], schema=ORIGINALS)


_PLACE: Final = ["stream", "partition", "offset", "index"]


def _without(page: dict[str, Any], part: Part, positions: set[Position]) -> dict[str, Any] | None:
    """A page without the entries at the positions; itself if it has none of them, None if nothing is left.

    It keeps its range, and so its place: no two pages of a month share one.
    """
    if not any(
        p.stream == page["stream"] and p.partition == page["partition"]
        and page["first_offset"] <= p.offset <= page["last_offset"]
        for p in positions
    ):  # fmt: skip
        return page
    entries = open_entries(page, part.keys)
    place = page["stream"], page["partition"]
    stays = pa.array([Position(*place, e["offset"], e["index"]) not in positions for e in
                      entries.select(["offset", "index"]).to_pylist()], pa.bool_())  # fmt: skip
    rest = entries.filter(stays)
    if rest.num_rows == entries.num_rows:
        return page
    if not rest.num_rows:
        return None
    ends = page["first_offset"], page["last_offset"]
    sealed = seal_page(part.keys, "originals", *place, *ends, rest)
    return {**page, "records": rest.num_rows, "page": sealed}


def _delete(do: Forgetting) -> None:
    for table in WINDOW_TABLES:
        delete_removed(do.warehouse.objects, do.warehouse.window[table])


def _check(do: Forgetting, files: list[dict[str, Any]]) -> None:
    left = [f["path"] for f in files if do.warehouse.objects.get(f["path"]) is not None]
    if left:
        raise IntegrityError(
            f"{len(left)} file(s) with erased rows could not be deleted; run the erasure again"
        )


def _said(found: Found) -> dict[str, Any]:
    return {
        "month": str(found.part.month),
        "window_months": found.part.window_months,
        "identifiers": found.identifiers,
        "originals": len(found.entries),
        "quarantine": len(found.quarantine),
        "held": sum(found.held.values()),
        "holds": sorted(found.held),
    }


def _order(found: Found) -> list[tuple[str, int]]:
    """The tables to rewrite, and how many rows (entries of pages) go from each."""
    return [
        ("quarantine", len(found.quarantine)),
        ("originals", len(found.entries)),
        ("identifiers", found.identifiers),
    ]
