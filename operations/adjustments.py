"""Set apart what is not to be billed: of several reports of one communication all but the one that counts.

Reports are told to be of one communication by tokens, which end with the month's window. So it runs daily on the
leader, and once more before a month is forgotten. Archive rows never change; the view `billable` is the archive
without what is set apart.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

import orjson
import polars as pl

from lethe.operations.runtime import Runtime
from lethe.schemas.retention.calendar import Month
from lethe.tiers.adjustments.table import Adjusted, adjust, forget_with_archive, known
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.warehouse import Warehouse

_EVERY: Final = timedelta(hours=20)
_NOTES: Final = "_adjustments"


def run(
    runtime: Runtime,
    only: Month | None = None,
    on_month: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Adjusted]:
    """Look through every month of the window (or one) and write what is new; returns what was found in each."""
    warehouse = runtime.new_warehouse()
    chosen = [m for m in _files(warehouse) if only is None or m == only]
    done = []
    for number, month in enumerate(chosen):
        on_month(number, len(chosen))
        done.append(adjust(warehouse, month, runtime.clock()))
    on_month(len(chosen), len(chosen))
    forget_with_archive(warehouse, runtime.clock())
    return done


def run_due(runtime: Runtime, ending: set[Month]) -> list[Adjusted]:
    """Look through the months that have changed since they were looked through, if that is most of a day ago.

    Those that are `ending` are looked through now: afterwards nobody can tell any more.

    1. See which files the month has. A crash here leaves nothing.
    2. Write what is new. A crash here leaves the month to be looked through again, which finds nothing new.
    3. Note the files: the month is left alone until it has others.
    """
    warehouse, now = runtime.new_warehouse(), runtime.clock()
    done = []
    for month, digest in _files(warehouse).items():
        # Step 1
        seen, when = _noted(runtime, month)
        if seen == digest or (
            month not in ending and when is not None and timedelta(0) <= now - when < _EVERY
        ):
            continue
        # Step 2
        done.append(adjust(warehouse, month, now))
        # Step 3
        body = {"files": digest, "at": now.astimezone(UTC).isoformat()}
        runtime.objects.put(f"{_NOTES}/{month}.json", orjson.dumps(body))
    if done:
        forget_with_archive(warehouse, now)
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
    return {Month.parse(m): sha256("\n".join(sorted(paths[m])).encode()).hexdigest() for m in sorted(paths)}


def _noted(runtime: Runtime, month: Month) -> tuple[str | None, datetime | None]:
    """Read which files of a month were looked through, and when; nothing when there is no note that can be read."""
    try:
        note = orjson.loads(runtime.objects.get(f"{_NOTES}/{month}.json") or b"")
        return str(note["files"]), datetime.fromisoformat(note["at"])
    except (ValueError, KeyError, TypeError):
        return None, None
