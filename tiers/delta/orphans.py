"""Files below a table that no commit names: what a writer left that died before its commit, or is about to commit.

Nobody can tell the two apart by looking. So a file is noted when it is first seen, and removed once it was there for
longer than any writer takes; a writer that took longer writes its files again (`lethe.tiers.delta.table.Waited`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from lethe.tiers.delta.rewrite import everything_below, files_of, removed_files
from lethe.tiers.delta.table import Table
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects

ORPHAN_AGE: Final = timedelta(days=1)
"""How long a file is left alone from when it was first seen without a commit."""


def orphans(objects: Objects, table: Table) -> list[str]:
    """List what lies below a table, half-written files too, and belongs to no version of it; paths below the root."""
    # The files first, then the table: what is committed in between is known by then.
    there = everything_below(objects, table.name)
    table.reload()
    known = {f"{table.name}/{f.path}" for f in files_of(table)}
    known |= {f"{table.name}/{path}" for path in removed_files(table)}
    log = f"{table.name}/_delta_log/"
    return [path for path in there if path not in known and not path.startswith(log)]


def note_orphans(objects: Objects, table: Table, now: datetime) -> dict[str, datetime]:
    """Note which orphans of a table there are and return until when each is left alone; durable when it returns."""
    noted = _noted(objects, table.name)
    seen = {path: min(noted.get(path, now), now) for path in orphans(objects, table)}
    if seen != noted:
        body = {path: since.astimezone(UTC).isoformat() for path, since in seen.items()}
        objects.put(_path(table.name), orjson.dumps(body))
    fail_point("orphans.noted")
    return {path: since + ORPHAN_AGE for path, since in seen.items()}


def remove_orphans(
    objects: Objects, table: Table, now: datetime, keep: Callable[[str], bool] = lambda _: False
) -> list[str]:
    """Remove the orphans of a table that are old enough, and return their paths below the root.

    `keep` says of a path whether it is somebody else's to remove.

    1. Note those that are seen for the first time. A crash before it leaves them to be noted by the next look.
    2. Remove those that were noted long ago. A crash leaves the rest, which the next look removes.
    """
    # Step 1
    noted = note_orphans(objects, table, now)
    # Step 2
    removed = [path for path, until in noted.items() if until <= now and not keep(path)]
    for path in removed:
        objects.delete(path)
        fail_point("orphans.removed")
    return removed


def _noted(objects: Objects, table: str) -> Mapping[str, datetime]:
    try:
        noted = orjson.loads(objects.get(_path(table)) or b"{}")
        return {str(path): datetime.fromisoformat(since) for path, since in noted.items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # seen for the first time again


def _path(table: str) -> str:
    return f"_sweep/orphans/{table}.json"
