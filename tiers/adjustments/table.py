"""The table `adjustments`: what is set apart, written once each, however often and wherever it is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from lethe.schemas.arrow import ADJUSTMENTS
from lethe.schemas.errors import TransientError
from lethe.schemas.retention.calendar import Month
from lethe.tiers import monthly
from lethe.tiers.adjustments.find import POSITION, set_apart, shares, without
from lethe.tiers.compaction.plan import check_release, release
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse

NAME: Final = "adjustments"
_COLUMNS: Final = [*POSITION, "reason"]


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What a run found in a month: rows set apart now, and how many there are in all."""

    month: Month
    new: int
    total: int


@dataclass(frozen=True, slots=True)
class Task:
    """A share of a month to be looked through: no key is needed for it, and none, no token and no row is in it."""

    month: str
    run: int
    share: int
    of: int
    now_ms: int
    release: str

    def to_json(self) -> dict[str, Any]:
        """Return the task as plain values."""
        return asdict(self)


Execute = Callable[[list[Task]], list[list[DataFile]]]
"""Runs tasks, anywhere, and returns the files that each wrote, in their order."""


def adjust(warehouse: Warehouse, month: Month, now: datetime, execute: Execute | None = None) -> Adjusted:
    """Find what is to be set apart in a month and write what is not in the table yet.

    Plan, perform, settle: each share of the month's message ids becomes a file, wherever that is done, and one commit
    takes them all in. A crash before it leaves files in no commit, which a sweep removes; the next run finds the same.
    """

    def write(run: int) -> list[DataFile]:
        warehouse.window["identifiers"].reload()
        of = shares(warehouse.window["identifiers"], month)
        now_ms = int(now.timestamp() * 1000)
        tasks = [Task(str(month), run, share, of, now_ms, release()) for share in range(of)]
        written = (
            [perform(warehouse.objects, warehouse.table, t) for t in tasks]
            if execute is None
            else execute(tasks)
        )
        return [file for files in written for file in files]

    new = monthly.settle(warehouse, NAME, month, write)
    table = warehouse.table(NAME)
    total = sum(file.rows for file in files_of(table, {"month": str(month)}))
    return Adjusted(month, sum(file.rows for file in new), total)


def perform(objects: Objects, table: Callable[[str], Table], task: Task) -> list[DataFile]:
    """Look through a share of a month and write what is not in the table yet as a file, not committed.

    `table` opens one. The same task gives the same bytes wherever it runs, if the month is the same. Raises
    `TransientError` when maintenance takes a file away while it is read, `ConfigurationError` when another release
    planned the task.
    """
    check_release(task.release)
    month = Month.parse(task.month)
    try:
        found = set_apart(table("identifiers"), table("metadata"), month, task.share, task.of)
    except FileNotFoundError:
        raise TransientError(f"files of {month} were merged while they were read; run it again") from None
    new = without(table(NAME), month, found)
    stamped = pl.lit(datetime.fromtimestamp(task.now_ms / 1000, UTC)).cast(pl.Datetime("us", "UTC"))
    rows = new.with_columns(stamped.alias("found_time"), month=pl.lit(task.month)).select(ADJUSTMENTS.names)
    name = f"run{task.run}-{task.share}"
    return write_files(objects, NAME, rows.to_arrow().cast(ADJUSTMENTS), name, task.now_ms)


def known(warehouse: Warehouse, month: Month) -> pl.DataFrame:
    """Read the positions that are set apart in a month, with their reasons."""
    return monthly.known(warehouse.table(NAME), month, _COLUMNS)
