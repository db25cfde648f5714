"""Reconciliation: does the ledger account for every offset, and do the tables hold what it says?"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from lethe.tiers.certificates.expected_losses import ExpectedLosses
from lethe.tiers.commit.ledger_entries import REPLAYED
from lethe.tiers.ledger.reading import read_ledger
from lethe.tiers.ledger.tables import FRESH, PLACE, Short, Tables, read_rows
from lethe.tiers.warehouse import Warehouse

CLOSED: Final = 1 << 62
"""The position of a file's stream that was taken out again (`lethe.tiers.undo`): nothing follows on it."""
_TABLES: Final = ("metadata", "identifiers", "quarantine", "usage")
_COUNTED: Final = ("archive", "quarantine", "identifiers", "usage")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not add up, in words."""

    stream: str
    partition: int
    what: str

    def __str__(self) -> str:
        return f"{self.stream}/{self.partition}: {self.what}"


def ledger_rows(warehouse: Warehouse) -> pl.DataFrame:
    """Read the ledger, ordered by stream, partition and offset; files that cannot be read are left out."""
    return _readable(warehouse)[0]


def _readable(warehouse: Warehouse) -> tuple[pl.DataFrame, dict[str, str]]:
    warehouse.publish()
    rows, broken = read_ledger(warehouse)
    frame = pl.from_arrow(rows.drop_columns(["mac"]))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101
    return frame.sort("stream", "partition", "first_offset", "version"), broken


def check(warehouse: Warehouse, on_stream: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Compare ledger and tables for every topic-partition; an empty list means that everything adds up.

    No gap and no overlap between ledger rows, and none missing behind the last one; records = split + late + rejected
    + tombstones in each. With what replays have moved, in each row's offsets: the archive holds split + late records,
    each once (usage data is in a table of its own instead), the quarantine the rejected and the tombstones, the
    identifiers as many rows as were committed; and none of them holds any outside. What was forgotten, erased, taken
    out again or has outlived the archive is not missed, as far as keys, certificates and notes say that it was. A
    window table that is ahead of the ledger (a crash between two commits) is no finding: what lies beyond the last row
    does not count yet.
    """
    gone = ExpectedLosses.of(warehouse.objects, warehouse.now())
    ledger, broken = _readable(warehouse)
    for table in _TABLES:  # no table as it was before the ledger was read
        warehouse.handle(table).reload()
    findings: list[Finding] = []
    short: list[tuple[str, int, Short]] = []
    groups = ledger.partition_by("stream", "partition", as_dict=True)
    for done, ((stream, partition), rows) in enumerate(groups.items(), 1):
        topic_partition = (str(stream), int(str(partition)))
        regular, moved = rows.filter(pl.col("source") != REPLAYED), rows.filter(pl.col("source") == REPLAYED)
        said = _expected(regular)
        what = [*_ranges(regular), *_ends(warehouse, regular), *_moved(said, moved)]
        if stream in gone.undone:
            said = [{**row, **dict.fromkeys(_COUNTED, 0)} for row in said]
        for one in Tables(warehouse, *topic_partition, said, gone, broken).compare():
            if isinstance(one, Short):
                short.append((*topic_partition, one))
            else:
                what.append(one)
        findings += (Finding(*topic_partition, one) for one in what)
        if on_stream is not None:
            on_stream(done, len(groups))
    findings += (Finding(stream, partition, one.what) for stream, partition, one in _unexplained(short, gone))
    findings += _unknown(warehouse, {(str(s), int(str(p))) for s, p in groups}, broken)
    files = [Finding(path.split("/")[0], 0, f"{path}: {what}") for path, what in sorted(broken.items())]
    return files + findings


def _expected(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of commits with what each table should hold of them, before replays."""
    return [
        {
            **row,
            "archive": row["split"] + row["late"] - (row["usage"] or 0),
            "usage": row["usage"] or 0,
            "quarantine": row["rejected"] + row["tombstones"],
        }
        for row in rows.to_dicts()
    ]


def _ranges(rows: pl.DataFrame) -> Iterator[str]:
    before: dict[str, Any] | None = None
    for row in rows.to_dicts():
        if before is not None and row["first_offset"] > before["last_offset"] + 1:
            yield f"offsets {before['last_offset'] + 1} to {row['first_offset'] - 1} are accounted for by no commit"
        if before is not None and row["first_offset"] <= before["last_offset"]:
            last = min(row["last_offset"], before["last_offset"])
            yield f"offsets {row['first_offset']} to {last} are accounted for twice"
        yield from _sum(row)
        if before is None or row["last_offset"] >= before["last_offset"]:
            before = row


def _sum(row: dict[str, Any]) -> Iterator[str]:
    if row["records"] != row["split"] + row["late"] + row["rejected"] + row["tombstones"]:
        yield (
            f"offsets {row['first_offset']} to {row['last_offset']}: {row['records']} records in, but "
            f"{row['split']} split + {row['late']} late + {row['rejected']} rejected + "
            f"{row['tombstones']} tombstones"
        )
    yield from _scopes(row)


def _scopes(row: dict[str, Any]) -> Iterator[str]:
    """Compare what was committed to, in scope and out of it, with the rows of the archive; nothing before 0.2.0."""
    rows = row["split"] + row["late"] - (row["usage"] or 0)
    if row["out_of_scope"] is not None and row["in_scope"] + row["out_of_scope"] != rows:
        yield (
            f"offsets {row['first_offset']} to {row['last_offset']}: {rows} rows for the archive, but "
            f"{row['in_scope']} in scope and {row['out_of_scope']} out of it were committed to"
        )


def _ends(warehouse: Warehouse, rows: pl.DataFrame) -> Iterator[str]:
    """Compare ends with the archive's own position: a row missing behind the last one of a source leaves no gap."""
    warehouse.metadata.reload(FRESH)
    for source, last in rows.group_by("source", maintain_order=True).agg(pl.col("last_offset").max()).rows():
        position = warehouse.metadata.transaction(source)
        if position is not None and last < position != CLOSED:
            yield f"the archive is committed up to offset {position}, the ledger ends at {last}"


def _moved(said: list[dict[str, Any]], moved: pl.DataFrame) -> Iterator[str]:
    """Add to what each commit says what replays moved of it."""
    known: set[tuple[int, int]] = set()
    begins = [row["first_offset"] for row in said]
    for row in moved.to_dicts():
        first, last = row["first_offset"], row["last_offset"]
        if (row["version"], first) in known:
            yield f"the replay of offsets {first} to {last} (version {row['version']}) is accounted for twice"
            continue
        known.add((row["version"], first))
        yield from _sum(row)
        at = bisect_right(begins, first) - 1
        if at < 0 or last > said[at]["last_offset"]:
            yield f"offsets {first} to {last} were replayed, but no commit accounts for them"
            continue
        of = said[at]
        of["archive"] += row["split"] + row["late"] - (row["usage"] or 0)
        of["usage"] += row["usage"] or 0
        of["quarantine"] += row["rejected"]
        of["identifiers"] += row["identifiers"]


def _unexplained(
    short: list[tuple[str, int, Short]], gone: ExpectedLosses
) -> Iterator[tuple[str, int, Short]]:
    """Say what is missing beyond all that certificates and notes say is gone; of that, nobody can tell which is
    which.
    """
    allowed = {
        "archive": gone.archive,
        "quarantine": gone.quarantine,
        "identifiers": gone.erased.total(),
        "usage": gone.usage,
    }
    for table in _COUNTED:
        mine = [one for one in short if one[2].table == table]
        if sum(one[2].rows for one in mine) > allowed[table] and not (mine and gone.unfinished):
            yield from mine


def _unknown(warehouse: Warehouse, known: set[tuple[str, int]], broken: dict[str, str]) -> list[Finding]:
    findings = []
    for table in _TABLES:
        topic_partitions = read_rows(warehouse, table, PLACE[:2], None, broken)
        for row in topic_partitions.group_by(PLACE[:2]).aggregate([]).to_pylist():
            if (row["stream"], row["partition"]) not in known:
                what = f"{table} holds rows no ledger row accounts for"
                findings.append(Finding(row["stream"], row["partition"], what))
    return findings
