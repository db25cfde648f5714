"""Archive rows by offset, read back: of one commit from the very files it added, or wherever rows are now."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lethe.integrity.rows.canonical_rows import check_schema
from lethe.schemas.arrow import METADATA, complete, file_schema
from lethe.schemas.errors import LetheError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.places import read_parquet
from lethe.tiers.delta.rewrite import BROKEN, files_of
from lethe.tiers.warehouse import Warehouse

COLUMNS: Final = file_schema("metadata").names


def rows_of_commit(
    warehouse: Warehouse, stream: str, partition: int, first: int, last: int, version: int
) -> pa.Table:
    """Return rows of a topic-partition from offset `first` to `last`, which version `version` of the table added."""
    paths = _added(warehouse, version)
    if paths == []:
        return file_schema(
            "metadata"
        ).empty_table()  # all was rejected; rows that are there now were replayed
    parts = [warehouse.objects.get(f"metadata/{path}") for path in paths or ()]
    here = (
        (pc.field("stream") == stream)
        & (pc.field("partition") == pa.scalar(partition, pa.int32()))
        & (pc.field("offset") >= first)
        & (pc.field("offset") <= last)
    )
    if paths and all(part is not None for part in parts):
        tables = [complete(read_parquet(part or b""), "metadata") for part in parts]
        return pa.concat_tables(tables).filter(here)
    # The commit's own files are gone (compacted), or the table's history no longer names them.
    warehouse.metadata.reload()
    dataset = warehouse.metadata.dataset()
    return dataset.to_table(columns=COLUMNS, filter=here).cast(file_schema("metadata"))


def archive_rows(
    warehouse: Warehouse, topic_partition: tuple[str, int], month: Month, first: int, last: int
) -> pa.Table:
    """Return rows of a topic-partition and month from offset `first` to `last`, as the handle of the archive sees it.

    Files that are damaged or gone are left out, and rows that lack a value every row has: they are missing.
    """
    here = (
        (pc.field("month") == str(month))
        & (pc.field("stream") == topic_partition[0])
        & (pc.field("partition") == pa.scalar(topic_partition[1], pa.int32()))
        & (pc.field("offset") >= first)
        & (pc.field("offset") <= last)
    )
    dataset = warehouse.metadata.dataset()
    try:
        return dataset.to_table(columns=METADATA.names, filter=here).cast(METADATA)
    except BROKEN:
        paths = {fragment.path for fragment in dataset.get_fragments(filter=here)}
    # File by file: one that was tampered with has another size than the table says, and stops it all.
    found = [METADATA.empty_table()]
    for file in files_of(warehouse.metadata, {"month": str(month)}):
        if file.path in paths:
            data = warehouse.objects.get(f"metadata/{file.path}")
            with suppress(*BROKEN):
                found += [] if data is None else [_as_far_as_they_go(data, str(month)).filter(here)]
    return pa.concat_tables(found)


def _as_far_as_they_go(data: bytes, month: str) -> pa.Table:
    """Return the rows of a file that may have been tampered with; raises `ValueError` when it has other columns."""
    rows = read_parquet(data)
    try:
        check_schema(rows.schema)
    except LetheError as error:
        raise ValueError(str(error)) from None
    for field in METADATA:
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    at = rows.column_names.index("month")
    rows = rows.set_column(at, METADATA.field("month"), pa.repeat(pa.scalar(month), rows.num_rows))
    for field in METADATA:
        if not field.nullable and rows.column(field.name).null_count:
            rows = rows.filter(pc.is_valid(rows.column(field.name)))
    return rows.select(METADATA.names).cast(METADATA)


def _added(warehouse: Warehouse, version: int) -> list[str] | None:
    """Return the files that a version of the table added; None when its log entry is gone or cannot be read."""
    data = warehouse.objects.get(f"metadata/_delta_log/{version:020d}.json")
    if not data:
        return None
    try:
        actions = [orjson.loads(line) for line in data.splitlines() if line.strip()]
        return [str(action["add"]["path"]) for action in actions if "add" in action]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
