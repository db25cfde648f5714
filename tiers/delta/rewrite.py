"""Maintenance of a table: which files it has, files replaced or dropped in one commit, removed files deleted.

Every path here keeps the transaction versions, so that no worker reads anything again. Two that touch the same file
at the same time cannot both land: the table refuses the second one, which then looks again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from deltalake.transaction import RemoveAction

from lethe.schemas.arrow import PARTITIONED_BY, TABLES, complete
from lethe.schemas.compute import pc
from lethe.schemas.errors import FencedError, IntegrityError
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.places import read_parquet
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import Objects

BROKEN: Final = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError)
"""What reading a file raises that is damaged, or that somebody has tampered with."""

_DIGEST = re.compile(r"-([0-9a-f]{16})\.parquet")


def files_of(table: Table, partition: dict[str, str] | None = None) -> list[DataFile]:
    """Return the files of a table as its handle sees them, of one partition if asked, ordered by path."""
    keys = PARTITIONED_BY[table.name]
    wanted = ["path", "size_bytes", "num_records", "modification_time", *(f"partition.{key}" for key in keys)]
    actions = actions_of(table, partition).select(wanted).to_pylist()
    found = [
        DataFile(
            a["path"], a["size_bytes"], {k: str(a[f"partition.{k}"]) for k in keys}, a["num_records"] or 0,
            int(a["modification_time"]), "{}",
        )
        for a in actions
    ]  # fmt: skip
    return sorted(found, key=lambda f: f.path)


def actions_of(table: Table, partition: dict[str, str] | None = None) -> pa.Table:
    """Say what the log says of a table's files, of one partition if asked: a row each, as the library names it."""
    # Not `pa.table`: where pandas is installed that brings it in, which takes longer than a look-up.
    actions = pa.RecordBatchReader.from_stream(table.delta.get_add_actions(flatten=True)).read_all()
    for key, value in (partition or {}).items():
        actions = actions.filter(pc.equal(actions.column(f"partition.{key}").cast(pa.string()), value))
    return actions


def replace(
    table: Table,
    old: Sequence[DataFile],
    new: Sequence[DataFile],
    now_ms: int,
    said: str,
    data_change: bool = True,
    info: Mapping[str, str] | None = None,
) -> None:
    """Take files out of a table and others in, in one commit; `data_change` is False if the rows are the same.

    `info`: what else the commit says of itself, JSON by key.

    Raises `FencedError` when one of the old files was taken out by somebody else since the handle was loaded.
    The bytes stay until `delete_removed` or `delete_files`.
    """
    if not old and not new:
        return
    gone = [RemoveAction(f.path, data_change, now_ms, f.size, dict(f.partition)) for f in old]
    table.commit(new, {}, {"lethe.maintenance": said, **(info or {})}, gone, data_change)


def read_file(objects: Objects, table: str, file: DataFile) -> pa.Table | None:
    """Return the rows of one file with its partition's values; None when the file is gone.

    Raises `IntegrityError` when it cannot be read, or lacks columns or values that every row has.
    """
    data = objects.get(f"{table}/{file.path}")
    if data is None:
        return None
    schema = TABLES[table]
    try:
        rows = complete(read_parquet(data), table)
    except BROKEN as error:
        raise IntegrityError(
            f"{table}/{file.path} is damaged ({type(error).__name__}); bring it back from the backup"
        ) from None
    for name, value in file.partition.items():
        kind: Any = schema.field(name).type
        typed = int(value) if pa.types.is_integer(kind) else value
        rows = rows.append_column(schema.field(name), pa.repeat(pa.scalar(typed, kind), rows.num_rows))
    return rows.select(schema.names)


def cleaned_files(
    objects: Objects,
    table: str,
    files: Sequence[DataFile],
    cleaning: Callable[[pa.Table], pa.Table | None],
    now_ms: int,
) -> tuple[list[DataFile], list[DataFile]]:
    """Write anew what is left of the files that have to be cleaned; returns those to take out, and those to put in.

    `cleaning` is given the rows of a file and returns those that stay; None where nothing has to go. Nothing is
    committed: a crash leaves files in no commit. Raises `FencedError` when a file was deleted meanwhile.
    """
    old: list[DataFile] = []
    new: list[DataFile] = []
    for file in files:
        rows = read_file(objects, table, file)
        if rows is None:
            raise FencedError(f"{table}: a file was deleted meanwhile")
        cleaned = cleaning(rows)
        if cleaned is None:
            continue
        old.append(file)
        if cleaned.num_rows:
            new += write_files(objects, table, cleaned, range_of(file), now_ms)
    return old, new


def range_of(file: DataFile) -> str:
    """Return the part of a file's name that tells the offset ranges it was written for."""
    return Path(file.path).name.rsplit("-", 1)[0]


def digest_of(path: str) -> str | None:
    """Return the first 8 bytes of the SHA-256 of a file, as its name has it; None for a name of another kind."""
    found = _DIGEST.search(path)
    return found[1] if found else None


def removed_files(table: Table) -> list[str]:
    """List paths below the table that were committed once and belong to it no more."""
    listed = table.stored.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=True)
    current = {f.path for f in files_of(table)}
    return sorted(p for p in listed if p not in current)


def delete_removed(objects: Objects, table: Table, keep: Collection[str] = ()) -> int:
    """Delete the bytes of every file that was taken out of a table, but for those to `keep`; returns how many.

    Files that were never committed are left alone: a worker may be about to commit them.
    """
    table.reload()
    there = set(objects.list(table.name))
    gone = [path for p in removed_files(table) if p not in keep and (path := f"{table.name}/{p}") in there]
    objects.delete(*gone)
    return len(gone)


def everything_below(objects: Objects, folder: str) -> list[str]:
    """Return every path below a folder, what a crashed writer left half-written included."""
    found = set(objects.list(folder))
    root = Path(objects.root)
    if root.is_dir():
        for where, _, names in os.walk(root / folder):
            found |= {(Path(where) / n).relative_to(root).as_posix() for n in names if n.startswith(".")}
    return sorted(found)
