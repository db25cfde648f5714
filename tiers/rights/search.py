"""What there is of people in a month of the window: by token, on pages, in quarantine, in records of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.delta.table import Table
from lethe.tiers.rights.clean import NO_IDS
from lethe.tiers.rights.spread import Notes, Search, Spread, SpreadSearch
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.positions import Positions
from lethe.tiers.window.records import Part, at, open_entries, pages_of, places_of, rows_where

_NONE: Final = Positions()


@dataclass(slots=True)
class Found:
    """What there is of a person in one partition of the window."""

    part: Part
    identifiers: int = 0  # rows that carry a token of theirs
    beside: int = 0  # rows of others in records of usage data, which go whole
    records: Positions = _NONE  # which records those are
    entries: Positions = _NONE  # of which an original or window fields are kept
    quarantine: Positions = _NONE  # rejected records that name them
    usage: Positions = _NONE  # records of usage data: they go whole, with every identifier
    mentioned: Positions = _NONE  # records of others whose kept texts name them
    evidence: int = 0  # of those, originals: they go whole, and with them what could be produced in original
    ids: pa.Table = field(
        default_factory=NO_IDS.combine_chunks
    )  # of those, what a message id would be as token, beside each position
    held: dict[str, int] = field(default_factory=dict)  # hold id -> records it covers

    def __bool__(self) -> bool:
        return bool(self.identifiers or self.entries or self.quarantine or self.mentioned or self.usage)

    @property
    def concerned(self) -> Positions:
        """Every record that an erasure would change."""
        return Positions.all((self.records, self.quarantine, self.mentioned))


def searching(
    warehouse: Warehouse,
    subjects: tuple[Subject, ...],
    on_records: Callable[[int], None] = lambda _: None,
    notes: Notes | None = None,
    spread: Spread | None = None,
) -> Search | SpreadSearch:
    """Make what looks through kept texts for people; to be used for all partitions. `spread`: by tasks, elsewhere."""
    if spread is None or notes is None:
        return Search(warehouse, subjects, on_records)
    return SpreadSearch(warehouse, subjects, notes, spread, on_records)


def search(warehouse: Warehouse, part: Part, looking: Search | SpreadSearch) -> Found:
    """Say what a partition holds of people: by token, on the pages of those records, in the quarantine, and where the
    kept texts of other people's records name them. Every page of the partition is opened for the last.
    """
    tokens = pa.array(part.tokens(looking.subjects), pa.binary())
    found = Found(part)
    carrying = part.rows & pc.field("token").isin(tokens)
    found.records, found.identifiers = _where(warehouse.window["identifiers"], carrying)
    _search_usage(warehouse, found)
    pages = pages_of(warehouse, part, found.records)
    kept = Positions.of(places_of(page, open_entries(page, part.keys)) for page, _ in pages)
    found.entries = kept & found.records
    found.quarantine = looking.rejected(part)
    named = looking.others(part, found.records)
    found.mentioned, found.ids, found.evidence = named.records, named.ids, len(named.whole)
    return found


def _where(table: Table, chosen: Any) -> tuple[Positions, int]:
    """Return the positions of the rows of a table, freshly loaded, that are chosen, and how many rows that are."""
    count = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for batch in rows_where(table, chosen):
            count += batch.num_rows
            yield batch

    return Positions.of(batches()), count


def _search_usage(warehouse: Warehouse, found: Found) -> None:
    """Note which of the person's records are of usage data, and count all identifiers of those: they go together."""
    if not found.records or not files_of(warehouse.window["usage"], found.part.partition):
        return
    near = found.part.rows & at(found.records)
    found.usage = _where(warehouse.window["usage"], near)[0] & found.records
    if found.usage:
        rows = rows_where(warehouse.window["identifiers"], near)
        found.beside = sum(pc.sum(found.usage.mask(batch)).as_py() or 0 for batch in rows) - found.identifiers
