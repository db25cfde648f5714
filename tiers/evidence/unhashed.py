"""Rows in integrity scope that have no hash: those that came when their month's window had ended."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.retention.calendar import Month
from lethe.tiers.delta.rewrite import BROKEN
from lethe.tiers.warehouse import Warehouse

WHY: Final = (
    "their month's window had ended when they came: its salt key is gone, "
    "and a hash without a salt could be guessed"
)
_PLACE: Final = ["month", "stream", "partition"]


@dataclass(frozen=True, slots=True)
class Unhashed:
    """Some rows of a month and topic-partition: how many, and the offsets between which they lie."""

    month: str
    stream: str
    partition: int
    rows: int
    first_offset: int
    last_offset: int


def unhashed(
    warehouse: Warehouse,
    scope: str | tuple[str, ...],
    first: Month | None = None,
    last: Month | None = None,
    stream: str | None = None,
) -> list[Unhashed]:
    """Find the rows of a scope without a hash, by month and topic-partition, as the handle of the archive sees it.

    They are told by the column `late`, which rows of earlier releases do not have.
    """
    if scope == "none":
        return []
    wanted = pc.field("late") & pc.is_null(pc.field("integrity_hash"))
    if first is not None:
        wanted &= pc.field("month") >= str(first)
    if last is not None:
        wanted &= pc.field("month") <= str(last)
    if stream is not None:
        wanted &= pc.field("stream") == stream
    if not isinstance(scope, str):
        of_several = pc.match_substring_regex(pc.field("countries"), rf"\b(?:{'|'.join(scope)})\b")
        wanted &= pc.is_in(pc.field("country"), pa.array(scope)) | of_several
    dataset, columns = warehouse.metadata.dataset(), [*_PLACE, "offset"]
    found = [dataset.schema.empty_table().select(columns)]
    for fragment in dataset.get_fragments(filter=wanted):
        with suppress(*BROKEN):  # a damaged file is a finding already
            found.append(fragment.to_table(schema=dataset.schema, columns=columns, filter=wanted))
    rows = pa.concat_tables(found)
    counted = rows.group_by(_PLACE, use_threads=False).aggregate(
        [([], "count_all"), ("offset", "min"), ("offset", "max")]
    )
    return [
        Unhashed(r["month"], r["stream"], r["partition"], r["count_all"], r["offset_min"], r["offset_max"])
        for r in counted.sort_by([(name, "ascending") for name in _PLACE]).to_pylist()
    ]
