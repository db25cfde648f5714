"""Pages: originals and window fields of many records, compressed together and sealed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from keys.pages import seal_page
from keys.ring import KeyRing
from schemas.arrow import ORIGINALS
from schemas.retention import Month

_PAGE_RECORDS: Final = 4_096
_PAGE_BYTES: Final = 1 << 20
_ORDER: Final = [("offset", "ascending"), ("index", "ascending")]
_WHERE: Final = ("month", "window_months", "stream", "partition")


def to_pages(entries: pa.Table, ring: KeyRing) -> pa.Table:
    """Rows of the originals table for entries (`tiers.prepared.ENTRIES`), in the order of their offsets."""
    rows: list[dict[str, Any]] = []
    for where in entries.select(_WHERE).group_by(_WHERE, use_threads=False).aggregate([]).to_pylist():
        mine = entries
        for name in _WHERE:
            mine = mine.filter(pc.equal(mine.column(name), where[name]))
        keys = ring.keys_for(Month.parse(where["month"]), where["window_months"], create=True)
        ordered = mine.select(["offset", "index", "form", "value"]).sort_by(_ORDER).combine_chunks()
        for page in _cut(ordered):
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


def _cut(entries: pa.Table) -> Iterator[pa.Table]:
    """Pages of a bounded size; the elements of one message stay together, so that offset ranges never overlap."""
    sizes = pc.cumulative_sum(pc.binary_length(entries.column("value")).cast(pa.int64())).to_pylist()
    offsets = entries.column("offset").to_pylist()
    start = 0
    spent = 0
    for at in range(1, len(offsets) + 1):
        full = at - start >= _PAGE_RECORDS or sizes[at - 1] - spent >= _PAGE_BYTES
        if at == len(offsets) or (full and offsets[at] != offsets[at - 1]):
            yield entries.slice(start, at - start)
            start, spent = at, sizes[at - 1]
