"""One small number for each record of a month, found by its position: in pages, since a month's offsets have gaps.

A record that comes months late lies far behind the others of its month. Only pages of 4,096 offsets in which the month
has records take memory: one byte a record as long as there are 255 codes or fewer, two to 65,535, else four.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lethe.schemas.errors import InputError
from lethe.schemas.position import Position
from lethe.tiers.detection.columns import POSITION, coded, whole

_BITS: Final = 12
_PAGE: Final = 1 << _BITS
_MOST_PAGES: Final = 1 << 28  # of the directory: a gigabyte
_MOST_SPREAD: Final = 1 << 10
_WIDTHS: Final = (np.uint8, np.uint16, np.uint32)

Places = npt.NDArray[np.int64]


@dataclass(slots=True)
class Ends:
    """Offsets of a topic-partition in the month, and how many places an offset has: of one record, or of several."""

    first: int
    last: int
    places: int


class Codes:
    """Codes by position. Place 0 is of no record, and its code is 0."""

    def __init__(self, ends: dict[tuple[str, int], Ends], rows: int) -> None:
        self._keys = sorted(ends)
        self._streams = {s: at for at, s in enumerate(sorted({s for s, _ in self._keys}))}
        partitions = max((p for _, p in self._keys), default=0) + 1
        known = [ends[key] for key in self._keys]
        sizes = np.array([(e.last - e.first + 1) * e.places for e in known] or [0], np.int64)
        pages = (sizes >> _BITS) + 1
        self._starts = np.cumsum(pages) - pages
        if int(pages.sum()) > _MOST_PAGES:
            raise InputError("the month's offsets span too much to be held in memory: ask for another month")
        # By stream and partition, the last ones of which are those that are not known: nothing is inside them.
        shape = (len(self._streams) + 1, partitions + 1)
        of = (
            np.zeros(shape, np.int64),
            np.ones(shape, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
        )
        for at, (stream, partition) in enumerate(self._keys):
            values = known[at].first, known[at].places, sizes[at], self._starts[at]
            for one, value in zip(of, values, strict=True):
                one[self._streams[stream], partition] = value
        self._first, self._stride, self._size, self._start = of
        self._firsts, self._strides = [e.first for e in known], [e.places for e in known]
        self._directory = np.zeros(int(pages.sum()), np.int32)
        self._used = 1
        self._entries: npt.NDArray[np.int64] | None = None  # of each page, where it stands in the directory
        # Zeros take memory as far as they are used: with a quarter more there is seldom anything to move.
        self._codes: Any = np.zeros(rows * 5 // 4 + _PAGE * 64, np.uint8)
        self._lock = Lock()

    def places(self, batch: pa.RecordBatch, make: bool = False) -> Places:
        """Return where the code of each row is; `batch` has the four columns of a position. `make`: of all rows."""
        first, stride, size, start, of = self._topics(batch)
        where = whole(batch.column("offset")) - first[of]
        index = batch.column("index")
        if index.null_count < len(index) or (self._stride != 1).any():
            at = _within(index)
            where = np.where(at < stride[of], where * stride[of] + at, -1)
        inside = where.view(np.uint64) < size[of]  # nor below 0
        every = bool(inside.all())
        if not every:
            where[~inside] = 0
        entry = where >> _BITS
        entry += start[of]
        page = self._directory[entry]
        if make and not page.all():
            missing = np.sort(entry[(page == 0) & inside])
            self._add(missing[np.diff(missing, prepend=-1) > 0])
            page = self._directory[entry]
        where &= _PAGE - 1
        places: Places = page.astype(np.int64)
        places <<= _BITS
        places |= where
        if not every or not page.all():
            places[~(inside & (page > 0))] = 0
        return places

    @property
    def places_used(self) -> int:
        """How many places there are, with place 0."""
        return self._used << _BITS

    def put(self, places: Places, codes: npt.NDArray[np.uint32]) -> None:
        """Set the codes of places."""
        with self._lock:
            for width in _WIDTHS:
                if codes.max() <= np.iinfo(width).max:
                    break
            if np.dtype(width).itemsize > self._codes.itemsize:
                self._resize(len(self._codes), width)
            self._codes[places] = codes

    def get(self, places: Places) -> npt.NDArray[np.uint32]:
        """Return the codes of places; 0 where there is none."""
        found: npt.NDArray[np.uint32] = self._codes[places].astype(np.uint32)
        return found

    def positions(self, places: Sequence[int]) -> list[str]:
        """Name places by their positions: what a reveal can be asked of."""
        if self._entries is None or len(self._entries) != self._used:
            taken = np.flatnonzero(self._directory)
            self._entries = np.zeros(self._used, np.int64)
            self._entries[self._directory[taken]] = taken
        said = []
        for place in places:
            entry = int(self._entries[place >> _BITS])
            of = int(np.searchsorted(self._starts, entry, "right")) - 1
            where = ((entry - int(self._starts[of])) << _BITS) | (place & (_PAGE - 1))
            offset, index = divmod(where, self._strides[of])
            stream, partition = self._keys[of]
            position = Position(stream, partition, self._firsts[of] + offset, index - 1 if index else None)
            said.append(str(position))
        return said

    def _topics(self, batch: pa.RecordBatch) -> tuple[Places, ...]:
        """Return first offsets, places, sizes and starts of topic-partitions, and which one each row is of."""
        names, streams = coded(batch.column("stream"))
        mine = np.array([self._streams.get(name, len(self._streams)) for name in names], np.int64)
        tables, width = (self._first, self._stride, self._size, self._start), self._first.shape[1]
        of = np.minimum(whole(batch.column("partition")), width - 1).astype(np.int64)
        if len(names) == 2 and not batch.column("stream").null_count:
            return *(one[mine[0]] for one in tables), of
        return *(one.ravel() for one in tables), of + mine[streams] * width

    def _add(self, entries: Places) -> None:
        with self._lock:
            new = entries[self._directory[entries] == 0]
            end = self._used + len(new)
            if end * _PAGE > len(self._codes):
                self._resize(max(end * _PAGE, len(self._codes) * 5 // 4), self._codes.dtype.type)
            self._directory[new] = np.arange(self._used, end)
            self._used = end

    def _resize(self, size: int, width: Any) -> None:
        """Move the codes to a larger or wider array, of which what is not used takes no memory."""
        wider = np.zeros(size, width)
        used = min(self._used * _PAGE, len(self._codes))
        wider[:used] = self._codes[:used]
        self._codes = wider


def _within(index: pa.Array) -> Places:
    """Number the records of a message from 1, as their indices do from 0; 0 is that of a message of one record."""
    return whole(index.cast(pa.int64()).fill_null(-1)) + 1


def footer_bounds(group: Any) -> list[tuple[str, int, Ends]] | None:
    """Tell by the footer where the topic-partitions of a row group may end, at the outside; None if it does not say.

    `group`: an Arrow fragment of one row group.
    """
    [info] = group.row_groups
    footer = group.metadata.row_group(info.id)
    said = {}
    for at in range(footer.num_columns):
        column = footer.column(at)
        if column.path_in_schema in POSITION:
            said[column.path_in_schema] = column.statistics
    indices = said.pop("index", None)
    if (
        indices is None
        or len(said) < len(POSITION) - 1
        or not all(s and s.has_min_max for s in said.values())
    ):
        return None
    stream, partition, offset = said["stream"], said["partition"], said["offset"]
    alone = not indices.has_min_max and indices.has_null_count and indices.null_count == footer.num_rows
    if (
        stream.min != stream.max
        or not (alone or indices.has_min_max)
        or partition.max - partition.min > _MOST_SPREAD
    ):
        return None
    places = 1 if alone else indices.max + 2
    return [
        (stream.min, p, Ends(offset.min, offset.max, places)) for p in range(partition.min, partition.max + 1)
    ]


def pages_of(ends: Iterable[Ends]) -> int:
    """Return how long a directory is of so many ends."""
    return sum(((e.last - e.first + 1) * e.places >> _BITS) + 1 for e in ends)


def bounds(batch: pa.RecordBatch) -> list[tuple[str, int, Ends]]:
    """Find the ends of each topic-partition of a batch."""
    frame = pl.DataFrame(
        {
            "stream": coded(batch.column("stream"))[1],
            "partition": whole(batch.column("partition")),
            "offset": whole(batch.column("offset")),
            "index": _within(batch.column("index")),
        }
    )
    names = coded(batch.column("stream"))[0]
    found = frame.group_by("stream", "partition").agg(
        pl.col("offset").min(), pl.col("offset").max().alias("last"), pl.col("index").max()
    )
    return [(names[s], p, Ends(first, last, most + 1)) for s, p, first, last, most in found.rows()]
