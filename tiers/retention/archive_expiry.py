"""Forgetting a year of the archive: whole months of it, or the rows of the countries whose period is over."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.errors import FencedError, IntegrityError
from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.data_class import DataClass
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.tiers.certificates.certificates import DELETION
from lethe.tiers.certificates.journal import Journal, file_entry, open_names
from lethe.tiers.certificates.places import reach
from lethe.tiers.compaction.jobs import discard_fenced
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import everything_below, files_of, range_of, read_file, removed_files, replace
from lethe.tiers.delta.table import Waited
from lethe.tiers.evidence.leaf_lists import LeafLists
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.retention.expiry import Outcome
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse

log = logging.getLogger("lethe.sweep")

_TRIES: Final = 20
_LOOKED: Final = "_sweep/archive.json"
_PATIENCE: Final = timedelta(days=31)
"""How long after their time rows wait for their commit to be published; a log that is stuck does not keep them."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Which rows of an archive month have to go by now: those of `gone` countries, or all but those of `kept`.

    Of a row between several countries the policy decides.
    """

    month: Month
    everyone: bool  # the default period is over
    gone: frozenset[str]
    kept: frozenset[str]
    ended: datetime
    policy: RetentionPolicy
    now: datetime

    @property
    def whole(self) -> bool:
        """Whether nothing of the month stays."""
        return self.everyone and not self.kept

    @property
    def name(self) -> str:
        """What its journal is called."""
        return f"archive-{self.month}"

    def stays(self, rows: pa.Table) -> Any:
        """Return the mask of the rows that stay."""
        of = rows.column("country").cast(pa.string())
        if "countries" in rows.column_names:  # between several countries
            of = pc.coalesce(rows.column("countries").cast(pa.string()), of)
        coded = pc.fill_null(of, "").combine_chunks().dictionary_encode()
        stay = [
            not self.policy.ended(DataClass.ARCHIVE, self.month, one.split(","), self.now)
            for one in coded.dictionary.to_pylist()
        ]
        return pa.array(stay, pa.bool_()).take(coded.indices)


def ended(policy: RetentionPolicy, month: Month, now: datetime) -> Ended | None:
    """Say what of an archive month must go by now; None if all of it may stay."""
    everyone = policy.ended(DataClass.ARCHIVE, month, (), now)
    gone = frozenset(
        c.country for c in policy.countries if policy.ended(DataClass.ARCHIVE, month, (c.country,), now)
    )
    kept = frozenset(c.country for c in policy.countries) - gone
    if not everyone and not gone:
        return None
    over = [policy.period(DataClass.ARCHIVE, (c,)).ends(month) for c in gone]
    if everyone:
        over.append(policy.period(DataClass.ARCHIVE, ()).ends(month))
    return Ended(month, everyone, gone, kept if everyone else frozenset(), max(over), policy, now)


def due_archive(warehouse: Warehouse, policy: RetentionPolicy, now: datetime) -> list[Ended]:
    """Return the archive months of which something has to go, oldest first.

    A month that some countries' rows stay in is looked into once: it is due again when its files change.
    """
    warehouse.metadata.reload()
    months = {Month.parse(f.partition["month"]) for f in files_of(warehouse.metadata)}
    months |= {
        Month.parse(n.removeprefix("archive-"))
        for n in open_names(warehouse.objects)
        if n.startswith("archive-")
    }
    months |= {
        Month.parse(p.split("=")[1][:7])
        for p in everything_below(warehouse.objects, "metadata")
        if "/month=" in p
    }
    looked = _looked(warehouse.objects)
    found = []
    for month in sorted(months):
        one = ended(policy, month, now)
        if one is not None and (one.whole or looked.get(str(month)) != _state(warehouse, one)):
            found.append(one)
    return found


def preview_archive(warehouse: Warehouse, due: Ended) -> Outcome:
    """Say what forgetting an archive month would take away."""
    files, rows = [], 0
    for file in files_of(warehouse.metadata, {"month": str(due.month)}):
        gone = _gone(warehouse, due, file)
        if gone:
            files.append(file)
            rows += gone
    return Outcome(due.name, "would forget", due.ended, len(files), rows, sum(f.size for f in files))


def forget_archive(maintenance: MaintenanceContext, due: Ended) -> Outcome:
    """Forget what has to go of an archive month. Nothing is read unless rows stay or an account is under a hold.

    1. Open the journal. A crash from here on leaves it, and the next sweep goes on.
    2. File by file: keep the leaf hashes of commits of which rows go and others stay, preserve what holds cover, write
       what stays as a new file: with it, for now, rows of commits that are not in their logs yet. A crash leaves lists
       of hashes, which are made again, and a file in no commit.
    3. Take the old files out and the new ones in, in one commit for the month. A crash before it leaves all as it was.
    4. Delete the old files' bytes.
    5. Check, write the certificate, remove the journal. Not while rows wait: the journal stays, and the next sweep goes
       on.
    """
    objects, table, month = (
        maintenance.warehouse.objects,
        maintenance.warehouse.metadata,
        {"month": str(due.month)},
    )
    # Step 1
    journal = Journal.open(objects, due.name, maintenance.clock())
    fail_point("archive.noted")
    # Steps 2 and 3
    held = 0
    for _ in range(_TRIES):
        table.reload()
        lists = LeafLists(
            maintenance.warehouse,
            maintenance.registrar.history,
            due.month,
            maintenance.clock() < due.ended + _PATIENCE,
        )
        waited = Waited()
        old, new, kept = _rewritten(maintenance, due, files_of(table, month), lists)
        journal.note("file", (file_entry("metadata", f.path, f.size, f.rows) for f in old))
        if kept:
            journal.note("held", [{"records": kept}])
        journal.note("stays", ({"path": f.path, "rows": f.rows} for f in new))
        journal.note("unkept", ({"commit": list(commit)} for commit in sorted(lists.unkept)))
        fail_point("archive.written")
        try:
            waited.check("metadata")
            replace(table, old, new, int(maintenance.clock().timestamp() * 1000), f"expire {due.name}")
        except FencedError:
            continue
        held = kept
        break
    else:
        raise FencedError("metadata: other maintenance changes the same month all the time; try again")
    fail_point("archive.dropped")
    # Step 4
    known = {f["path"] for f in journal.noted("file")}
    discard_fenced(objects, table)
    table.reload()
    current = {f"metadata/{f.path}" for f in files_of(table, month)}
    once = {f"metadata/{p}" for p in removed_files(table)}
    for path in everything_below(objects, f"metadata/month={due.month}"):
        if path not in current and (path in known or path in once or due.whole):
            objects.delete(path)
    fail_point("archive.deleted")
    # Step 5
    files = sorted(journal.noted("file"), key=lambda f: f["path"])
    stay = sum(s["rows"] for s in journal.noted("stays"))
    held = max([held, *(h["records"] for h in journal.noted("held"))])
    rows, size = sum(f["rows"] or 0 for f in files) - stay, sum(f["bytes"] or 0 for f in files)
    if lists.waiting:
        log.warning(
            "%s: rows that stay for now: %d; their commits are not in the integrity log yet; lethe doctor says what "
            "keeps them from being published", due.name, lists.waiting,
        )  # fmt: skip
        return Outcome(
            due.name, "waiting", due.ended, len(files), rows, size, held, rows_waiting=lists.waiting
        )
    if not files:
        journal.close()
        _note_looked(maintenance.warehouse, due)
        return Outcome(due.name, "forgotten", due.ended, 0, 0, 0)
    if due.whole and (files_of(maintenance.warehouse.table("metadata"), month)):
        raise IntegrityError(f"{due.name}: rows came into the archive meanwhile; the next sweep removes them")
    body = {
        "what": {
            "month": str(due.month),
            "countries": "all" if due.whole else {"gone": sorted(due.gone), "kept": sorted(due.kept)},
            "default_period_over": due.everyone,
        },
        "due": due.ended.isoformat(),
        "begun": journal.begun,
        "done": maintenance.clock().astimezone(UTC).isoformat(timespec="microseconds"),
        "files": files,
        "counts": {"files": len(files), "bytes": size, "rows": rows},
        "held": [{"records": held}] if held else [],
        "proofs_not_kept": {"commits": len(journal.noted("unkept"))},
        "method": DELETION,
        "reach": reach("archive", bool(held), maintenance.sources[0], kept=maintenance.sources[1]),
        "checks": ["the archive has no row of them", "none of the files that held them is left"],
        "clock_forced": maintenance.forced,
    }
    certificate = maintenance.registrar.issue(
        journal.work, "archive", body, maintenance.clock(), journal.since
    )
    fail_point("archive.certified")
    journal.close()
    _note_looked(maintenance.warehouse, due)
    return Outcome(due.name, "forgotten", due.ended, len(files), rows, size, held, certificate["number"])


def _rewritten(
    maintenance: MaintenanceContext, due: Ended, files: Sequence[DataFile], lists: LeafLists
) -> tuple[list[DataFile], list[DataFile], int]:
    """Return files to take out, files to put in, records preserved for holds."""
    accounts = any(h.scope.accounts for h in maintenance.holds.active())
    if due.whole and not accounts:
        return list(files), [], 0
    old: list[DataFile] = []
    new: list[DataFile] = []
    kept = 0
    now_ms = int(maintenance.clock().timestamp() * 1000)
    for file in files:
        rows = read_file(maintenance.warehouse.objects, "metadata", file)
        if rows is None:
            raise IntegrityError(
                f"metadata/{file.path} is missing; bring it back from the backup or drop it first"
            )
        mask = np.zeros(rows.num_rows, np.bool_) if due.whole else np.array(due.stays(rows), np.bool_)
        if rows.num_rows and mask.all():
            continue
        if not due.whole:
            mask[~mask] = lists.keep(rows, rows.filter(pa.array(~mask))).to_numpy(zero_copy_only=False)
            fail_point("archive.leaves")
            if rows.num_rows and mask.all():
                continue
        stays = rows.filter(pa.array(mask))
        kept += maintenance.holds.preserve_archive(rows.filter(pa.array(~mask)), str(due.month))
        old.append(file)
        if stays.num_rows:
            new += write_files(maintenance.warehouse.objects, "metadata", stays, range_of(file), now_ms)
    return old, new, kept


def _gone(warehouse: Warehouse, due: Ended, file: DataFile) -> int:
    if due.whole:
        return file.rows
    rows = read_file(warehouse.objects, "metadata", file)
    return 0 if rows is None else rows.num_rows - int(pc.sum(due.stays(rows)).as_py() or 0)


def _state(warehouse: Warehouse, due: Ended) -> str:
    """Return a digest of what was looked at: the files of the month, and the countries."""
    paths = [f.path for f in files_of(warehouse.metadata, {"month": str(due.month)})]
    text = orjson.dumps([paths, due.everyone, sorted(due.gone), sorted(due.kept)])
    return sha256(text).hexdigest()[:32]


def _looked(objects: Objects) -> dict[str, str]:
    try:
        return dict(orjson.loads(objects.get(_LOOKED) or b"{}"))
    except (ValueError, TypeError):
        return {}  # looked into again


def _note_looked(warehouse: Warehouse, due: Ended) -> None:
    if not due.whole:
        warehouse.metadata.reload()
        state = {**_looked(warehouse.objects), str(due.month): _state(warehouse, due)}
        warehouse.objects.put(_LOOKED, orjson.dumps(state))
