"""Tables that say more of archive rows, month by month: what was found out while the month's key lived is written once.

`adjustments` and `codes` are such tables. However often and wherever a month is looked through, each finding is in its
table once; which files a month had when it was looked through last is noted, so that it is left alone until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.errors import FencedError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import delete_removed, files_of, replace
from lethe.tiers.delta.table import Table
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse

_TRIES: Final = 5
_EVERY: Final = timedelta(hours=20)


def known(table: Table, month: Month, columns: list[str]) -> pl.DataFrame:
    """Read columns of what a table has of a month, texts as String."""
    frame = pl.from_arrow(table.dataset().to_table(columns=columns, filter=pc.field("month") == str(month)))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def add(
    warehouse: Warehouse,
    name: str,
    month: Month,
    now: datetime,
    columns: list[str],
    find: Callable[[pl.DataFrame], pa.Table],
) -> pa.Table:
    """Write what is found out of a month and not in the table yet, as `settle` does; returns what is new.

    `find` is given what is there, `columns` of it, and returns new rows with the columns of the table.
    """
    rows: list[pa.Table] = []

    def write(run: int) -> list[DataFile]:
        rows[:] = [find(known(warehouse.table(name), month, columns))]
        return write_files(warehouse.objects, name, rows[0], f"run{run}", int(now.timestamp() * 1000))

    settle(warehouse, name, month, write)
    return rows[0]


def settle(
    warehouse: Warehouse, name: str, month: Month, write: Callable[[int], list[DataFile]]
) -> list[DataFile]:
    """Commit what a run over a month found out and the table does not have; returns the files.

    `write` is given the number of the run, looks at what is there and writes the rest as files.

    1. See the table as it is, with the number of the month's last run. A crash here leaves nothing.
    2. Find out what is new. A crash here leaves files in no commit, which a sweep removes.
    3. Commit it with the next number. Another run that came first is seen by the number: look again.
    """
    for _ in range(_TRIES):
        # Step 1
        table, source = warehouse.table(name), f"{name}/{month}"
        run = (table.transaction(source) or 0) + 1
        # Step 2
        files = write(run)
        if not files:
            return []
        # Step 3
        fail_point(f"{name}.written")
        try:
            table.commit(files, {source: run}, {"lethe.maintenance": name})
        except FencedError:
            continue
        return files
    raise FencedError(f"{name} of {month}: other runs were faster {_TRIES} times; there is nothing to do")


def forget_with_archive(warehouse: Warehouse, name: str, now: datetime) -> int:
    """Take out the months whose archive rows are all gone; returns how many."""
    archive = {f.partition["month"] for f in files_of(warehouse.metadata)}
    table = warehouse.table(name)
    over = [f for f in files_of(table) if f.partition["month"] not in archive]
    if over:
        replace(table, over, [], int(now.timestamp() * 1000), "expiry")
        for file in over:
            warehouse.objects.delete(f"{name}/{file.path}")
    delete_removed(warehouse.objects, table)  # what a crash has left between the two
    return len({f.partition["month"] for f in over})


def digest(parts: Iterable[str]) -> str:
    """Name what a month is looked through with: its files, in their order, and what else decides."""
    return sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Looks:
    """Notes, in a folder of the warehouse, of what each month was looked through with, and when."""

    objects: Objects = field(repr=False)
    folder: str

    def is_due(self, month: Month, seen: str, now: datetime, at_once: bool) -> bool:
        """Tell whether a month is to be looked through: it has changed, and is `at_once` or was left alone for most
        of a day.
        """
        before, when = self._noted(month)
        return before != seen and (at_once or when is None or not timedelta(0) <= now - when < _EVERY)

    def note(self, month: Month, seen: str, now: datetime) -> None:
        """Note that a month was looked through."""
        body = {"files": seen, "at": now.astimezone(UTC).isoformat()}
        self.objects.put(self._path(month), orjson.dumps(body))

    def _noted(self, month: Month) -> tuple[str | None, datetime | None]:
        """Read a note; nothing when there is none that can be read."""
        try:
            note = orjson.loads(self.objects.get(self._path(month)) or b"")
            return str(note["files"]), datetime.fromisoformat(note["at"])
        except (ValueError, KeyError, TypeError):
            return None, None

    def _path(self, month: Month) -> str:
        return f"{self.folder}/{month}.json"
