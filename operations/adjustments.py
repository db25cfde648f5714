"""Set apart what is not to be billed: of several reports of one communication all but the one that counts.

Reports are told to be of one communication by tokens, which end with the month's window. So it runs daily on the
leader, and once more before a month is forgotten. Archive rows never change; the view `billable` is the archive
without what is set apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from lethe.operations.runtime import Runtime
from lethe.schemas.retention.calendar import Month
from lethe.tiers.adjustments.table import NAME, Adjusted, Task, adjust, known
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.monthly import Looks, digest, forget_with_archive
from lethe.tiers.warehouse import Warehouse

if TYPE_CHECKING:
    from lethe.operations.engines.tasks import Cluster

_NOTES: Final = "_adjustments"


def run(
    runtime: Runtime,
    only: Month | None = None,
    on_month: Callable[[int, int], None] = lambda _done, _of: None,
    cluster: Cluster | None = None,
) -> list[Adjusted]:
    """Look through every month of the window (or one) and write what is new; returns what was found in each.

    Shares of a month are looked through on a cluster, or here one after the other. Who is interrupted runs it again:
    each month is there whole or not at all.
    """
    warehouse = runtime.new_warehouse()
    chosen = [m for m in _files(warehouse) if only is None or m == only]
    done = []
    for number, month in enumerate(chosen):
        on_month(number, len(chosen))
        execute = None if cluster is None else partial(_execute, cluster)
        done.append(adjust(warehouse, month, runtime.clock(), execute))
    on_month(len(chosen), len(chosen))
    forget_with_archive(warehouse, NAME, runtime.clock())
    return done


def _execute(cluster: Cluster, tasks: list[Task]) -> list[list[DataFile]]:
    done = cluster.map("adjust", [task.to_json() for task in tasks])
    return [[DataFile(**f) for f in files] for files in done]


def run_due(runtime: Runtime, ending: set[Month]) -> list[Adjusted]:
    """Look through the months that have changed since they were looked through, if that is most of a day ago.

    Those that are `ending` are looked through now: afterwards nobody can tell any more.

    1. See which files the month has. A crash here leaves nothing.
    2. Write what is new. A crash here leaves the month to be looked through again, which finds nothing new.
    3. Note the files: the month is left alone until it has others.
    """
    warehouse, now = runtime.new_warehouse(), runtime.clock()
    looks, done = Looks(runtime.objects, _NOTES), []
    for month, files in _files(warehouse).items():
        # Step 1
        if not looks.is_due(month, files, now, at_once=month in ending):
            continue
        # Step 2
        done.append(adjust(warehouse, month, now))
        # Step 3
        looks.note(month, files, now)
    if done:
        forget_with_archive(warehouse, NAME, now)
    return done


def listed(runtime: Runtime, month: Month) -> pl.DataFrame:
    """List what is set apart in a month: positions and reasons."""
    return known(runtime.warehouse, month).sort("stream", "partition", "offset", "index")


def _files(warehouse: Warehouse) -> dict[Month, str]:
    """Name the files of each month of the window by a digest, oldest month first."""
    paths: dict[str, list[str]] = {}
    for table in (warehouse.window["identifiers"], warehouse.metadata):
        for file in files_of(table):
            if table is not warehouse.metadata or file.partition["month"] in paths:
                paths.setdefault(file.partition["month"], []).append(file.path)
    return {Month.parse(m): digest(sorted(paths[m])) for m in sorted(paths)}
