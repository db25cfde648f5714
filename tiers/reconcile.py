"""Reconciliation: does the ledger account for every offset, and do the tables hold what it says?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tiers import certificates
from tiers.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not add up, in words."""

    stream: str
    partition: int
    what: str

    def __str__(self) -> str:
        return f"{self.stream}/{self.partition}: {self.what}"


def ledger_rows(warehouse: Warehouse) -> pl.DataFrame:
    """The ledger, ordered by stream, partition and offset."""
    warehouse.publish()
    frame = pl.from_arrow(warehouse.ledger.delta.to_pyarrow_dataset().to_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101
    return frame.sort("stream", "partition", "first_offset")


def check(warehouse: Warehouse, on_stream: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Compare ledger and tables for every topic-partition; an empty list means that everything adds up.

    No gap and no overlap between ledger rows; records = split + late + rejected + tombstones in each; the archive
    holds split + late rows in each row's offsets and none outside, each record once; the quarantine holds the rejected
    and the tombstones of every month it still has.
    """
    ledger = ledger_rows(warehouse)
    findings: list[Finding] = []
    groups = ledger.partition_by("stream", "partition", as_dict=True)
    for done, ((stream, partition), rows) in enumerate(groups.items(), 1):
        place = (str(stream), int(str(partition)))
        findings += (Finding(*place, what) for what in _ranges(rows))
        findings += (Finding(*place, what) for what in _archive(warehouse, *place, rows))
        findings += (Finding(*place, what) for what in _quarantine(warehouse, *place, rows))
        if on_stream is not None:
            on_stream(done, len(groups))
    known = {(str(s), int(str(p))) for s, p in groups}
    for table in ("metadata", "identifiers", "quarantine"):
        places = _dataset(warehouse, table).to_table(columns=["stream", "partition"])
        for row in places.group_by(["stream", "partition"]).aggregate([]).to_pylist():
            if (row["stream"], row["partition"]) not in known:
                findings.append(
                    Finding(row["stream"], row["partition"], f"{table} holds rows no ledger row accounts for")
                )
    return findings


def _ranges(rows: pl.DataFrame) -> Iterator[str]:
    before: dict[str, Any] | None = None
    for row in rows.to_dicts():
        if before is not None and row["first_offset"] > before["last_offset"] + 1:
            yield f"offsets {before['last_offset'] + 1} to {row['first_offset'] - 1} are accounted for by no commit"
        if before is not None and row["first_offset"] <= before["last_offset"]:
            yield f"offsets {row['first_offset']} to {before['last_offset']} are accounted for twice"
        if row["records"] != row["split"] + row["late"] + row["rejected"] + row["tombstones"]:
            yield (
                f"offsets {row['first_offset']} to {row['last_offset']}: {row['records']} records in, but "
                f"{row['split']} split + {row['late']} late + {row['rejected']} rejected + "
                f"{row['tombstones']} tombstones"
            )
        before = row


def _archive(warehouse: Warehouse, stream: str, partition: int, rows: pl.DataFrame) -> Iterator[str]:
    found = _rows(warehouse, "metadata", stream, partition, ["offset", "index"])
    if found.group_by("offset", "index").len().height != found.height:
        twice = found.group_by("offset", "index").len().filter(pl.col("len") > 1).sort("offset").row(0)
        yield f"record at offset {twice[0]} is in the archive {twice[2]} times"
    expected = rows.get_column("split") + rows.get_column("late")
    if found.height < int(expected.sum()) and _archive_forgotten(warehouse):
        return  # the certificates say how many rows of which months have gone
    yield from _compare(found.get_column("offset"), rows, expected, "archive")


def _archive_forgotten(warehouse: Warehouse) -> bool:
    """Whether any of the archive has been forgotten, as its period was over."""
    return any(c["kind"] == "archive" for c in certificates.every(warehouse.objects))


def _quarantine(warehouse: Warehouse, stream: str, partition: int, rows: pl.DataFrame) -> Iterator[str]:
    found = _rows(warehouse, "quarantine", stream, partition, ["offset", "index"])
    expected = rows.get_column("rejected") + rows.get_column("tombstones")
    held, said = found.height, int(expected.sum())
    if held > said:
        yield f"quarantine holds {held} records, the ledger says {said}"
    elif held < said and not warehouse.forgotten():
        yield from _compare(found.get_column("offset"), rows, expected, "quarantine")


def _compare(offsets: pl.Series, rows: pl.DataFrame, expected: pl.Series, where: str) -> Iterator[str]:
    """Count offsets in each ledger row's range and compare with what it says."""
    held = np.sort(offsets.to_numpy())
    first = np.searchsorted(held, rows.get_column("first_offset").to_numpy(), "left")
    behind = np.searchsorted(held, rows.get_column("last_offset").to_numpy(), "right")
    counts = behind - first
    for at in np.flatnonzero(counts != expected.to_numpy()):
        row = rows.row(int(at), named=True)
        yield (
            f"offsets {row['first_offset']} to {row['last_offset']}: {where} holds {counts[at]} records, "
            f"the ledger says {expected[int(at)]}"
        )
    if (outside := len(held) - int(counts.sum())) > 0:
        yield f"{where} holds {outside} records at offsets that no ledger row accounts for"


def _rows(warehouse: Warehouse, table: str, stream: str, partition: int, columns: list[str]) -> pl.DataFrame:
    mine = (pc.field("stream") == stream) & (pc.field("partition") == pa.scalar(partition, pa.int32()))
    frame = pl.from_arrow(_dataset(warehouse, table).to_table(columns=columns, filter=mine))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101
    return frame


def _dataset(warehouse: Warehouse, table: str) -> Any:
    handle = warehouse.metadata if table == "metadata" else warehouse.window[table]
    handle.reload()
    return handle.delta.to_pyarrow_dataset()
