"""Pages: originals and window fields of many records, compressed together and sealed once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from lethe.keys.pages import seal_page
from lethe.keys.ring import KeyRing
from lethe.schemas.arrow import ORIGINALS
from lethe.schemas.compute import pc
from lethe.schemas.retention.calendar import Month

_PAGE_RECORDS: Final = 4_096
_PAGE_BYTES: Final = 1 << 20
_WHERE: Final = ("month", "window_months", "stream", "partition")


def to_pages(entries: pa.Table, ring: KeyRing) -> pa.Table:
    """Return rows of the originals table for entries (`lethe.schemas.transformed.ENTRIES`), in the order of their
    offsets.
    """
    rows: list[dict[str, Any]] = []
    for where, mine in _groups(entries):
        keys = ring.keys_for(Month.parse(where["month"]), where["window_months"], create=True)
        for page in _cut(mine.select(["offset", "index", "form", "value"])):
            offsets = page.column("offset")
            first, last = offsets[0].as_py(), offsets[-1].as_py()
            sealed = seal_page(keys, "originals", where["stream"], where["partition"], first, last, page)
            rows.append(
                {
                    **where,
                    "first_offset": first,
                    "last_offset": last,
                    "records": page.num_rows,
                    "page": sealed,
                }
            )
    return pa.Table.from_pylist(rows, schema=ORIGINALS)


def _groups(entries: pa.Table) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Yield the entries of each month, window and topic-partition, by offset and index.

    They come almost in this order: nothing is moved unless it has to be, since moving is what costs.
    """
    if not entries.num_rows:
        return
    group = np.zeros(entries.num_rows, np.int64)
    for name in _WHERE:
        codes = entries.column(name).combine_chunks().dictionary_encode()
        group = group * len(codes.dictionary) + codes.indices.to_numpy()
    # Numbered as they come, so that groups one after the other are in order.
    group = pa.array(group).dictionary_encode().indices.to_numpy()
    offset = entries.column("offset").to_numpy()
    index = entries.column("index").fill_null(-1).to_numpy()
    before, after = slice(None, -1), slice(1, None)
    later = (offset[before] < offset[after]) | (
        (offset[before] == offset[after]) & (index[before] <= index[after])
    )
    ordered = (group[before] < group[after]) | ((group[before] == group[after]) & later)
    if not ordered.all():
        order = np.lexsort((index, offset, group))
        entries, group = entries.take(pa.array(order)), group[order]
    ends = [*(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
    for start, end in pairwise([0, *ends]):
        mine = entries.slice(start, end - start)
        yield mine.select(_WHERE).slice(0, 1).to_pylist()[0], mine


def _cut(entries: pa.Table) -> Iterator[pa.Table]:
    """Cut pages of a bounded size; the elements of one message stay together, so that offset ranges never overlap."""
    sizes = np.cumsum(pc.binary_length(entries.column("value")).to_numpy(), dtype=np.int64)
    offsets = entries.column("offset").to_numpy()
    start, spent = 0, 0
    while start < len(offsets):
        full = min(start + _PAGE_RECORDS, int(np.searchsorted(sizes, spent + _PAGE_BYTES)) + 1, len(offsets))
        end = int(np.searchsorted(offsets, offsets[full - 1], side="right"))
        yield entries.slice(start, end - start)
        start, spent = end, int(sizes[end - 1])
