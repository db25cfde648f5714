"""Files of the window that no table names, searched for a person: what a writer left that died before its commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.errors import IntegrityError
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.certificates.journal import file_entry
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.orphans import note_orphans
from lethe.tiers.delta.rewrite import read_file
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.mentions import readings, wanted
from lethe.tiers.window.records import Part, open_entries, partition_of, quarantined_value

_PARTITION: Final = re.compile(r"[a-z]+/month=([0-9-]+)/window_months=([0-9]+)/")


@dataclass(frozen=True, slots=True)
class Unnamed:
    """Files with a person in them that stay, and until when."""

    waiting: dict[str, datetime] = field(default_factory=dict)

    @property
    def until(self) -> datetime | None:
        """When the last of those that stay may be removed; None if none stays."""
        return max(self.waiting.values(), default=None)


def erase_unnamed(
    warehouse: Warehouse,
    open_now: Iterable[Part],
    subjects: tuple[Subject, ...],
    now: datetime,
    about_to: Callable[[dict[str, Any]], None],
) -> Unnamed:
    """Remove the files in which the person is and that no table names, once no writer can be about to commit them.

    A file that cannot be read, such as a half-written one, counts as one with the person in it. `about_to` is told of
    each before it goes.
    """
    parts = {tuple(part.partition.values()): part for part in open_now}
    found = Unnamed()
    for table in WINDOW_TABLES:
        for path, until in note_orphans(warehouse.objects, warehouse.window[table], now).items():
            place = _PARTITION.match(path)
            part = parts.get((place[1], place[2])) if place else None
            if place and part is None:
                continue  # its month has ended: the sweep forgets it whole
            if part is not None and not _names(warehouse.objects, table, path, part, subjects):
                continue
            if until <= now:
                about_to(file_entry(table, path.removeprefix(f"{table}/"), None, None))
                warehouse.objects.delete(path)
            else:
                found.waiting[path] = until
    return found


def _names(objects: Objects, table: str, path: str, part: Part, subjects: tuple[Subject, ...]) -> bool:
    partition = partition_of(part.month, part.window_months)
    file = DataFile(path.removeprefix(f"{table}/"), 0, partition, 0, 0, "{}")
    try:
        rows = read_file(objects, table, file)
        return rows is not None and _SEARCHES[table](rows, part, subjects)
    except IntegrityError:
        return True


def _in_identifiers(rows: pa.Table, part: Part, subjects: tuple[Subject, ...]) -> bool:
    tokens = pa.array(part.tokens(subjects), pa.binary(16))
    return bool(pc.any(pc.is_in(rows.column("token"), tokens)).as_py())


def _in_originals(rows: pa.Table, part: Part, subjects: tuple[Subject, ...]) -> bool:
    sought = wanted(subjects).spellings
    return sought is not None and any(
        sought.found_in(readings(value))
        for page in rows.to_pylist()
        for value in open_entries(page, part.keys).column("value").to_pylist()
    )


def _in_quarantine(rows: pa.Table, part: Part, subjects: tuple[Subject, ...]) -> bool:
    values = (quarantined_value(row, part.keys) for row in rows.to_pylist())
    sought = wanted(subjects)
    return any(value is not None and sought.named_in(value) for value in values)


_SEARCHES: Final = {
    "usage": lambda rows, _part, _subjects: (
        rows.num_rows > 0
    ),  # who did it stands in a file that may be gone already
    "identifiers": _in_identifiers,
    "originals": _in_originals,
    "quarantine": _in_quarantine,
}
