"""Many positions in little memory: offsets and indexes of each topic-partition as numbers, in order, each once.

A hold or an erasure may cover a hundred million. A position takes 12 bytes here, and some 300 as an object in a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lethe.schemas.compute import pc
from lethe.schemas.position import Position

WHERE: Final = ["stream", "partition", "offset", "index"]
_GATHERED: Final = 1 << 16
"""Objects that are made numbers of at one time."""

_Offsets = npt.NDArray[np.int64]
_Indexes = npt.NDArray[np.int32]  # -1: none
_Numbers = tuple[_Offsets, _Indexes]
_Place = tuple[str, int]


class Positions:
    """A set of positions that does not change; iterated over by stream, partition, offset and index."""

    def __init__(self, places: Mapping[_Place, _Numbers] | None = None) -> None:
        """Take offsets and indexes that are in order and distinct; use `of` or `each` for any others."""
        self._places = {place: numbers for place, numbers in (places or {}).items() if len(numbers[0])}

    @classmethod
    def of(cls, rows: Iterable[pa.RecordBatch | pa.Table]) -> Positions:
        """Return the positions of rows with the columns `WHERE`, of any number and in any order."""
        found: dict[_Place, list[_Numbers]] = {}
        for batch in rows:
            for place, numbers, _ in _apart(batch):
                found.setdefault(place, []).append(numbers)
        return cls({place: _distinct(pieces) for place, pieces in found.items()})

    @classmethod
    def each(cls, positions: Iterable[Position]) -> Positions:
        """Return the positions that are given as objects, of which few are held at one time."""

        def batches() -> Iterator[pa.Table]:
            some: list[Position] = []
            for position in positions:
                some.append(position)
                if len(some) == _GATHERED:
                    yield _table(some)
                    some = []
            yield _table(some)

        return cls.of(batches())

    @classmethod
    def all(cls, several: Iterable[Positions]) -> Positions:
        """Return the positions of several."""
        found: dict[_Place, list[_Numbers]] = {}
        for one in several:
            for place, numbers in one._places.items():
                found.setdefault(place, []).append(numbers)
        return cls({place: _distinct(pieces) for place, pieces in found.items()})

    def __len__(self) -> int:
        return sum(len(offsets) for offsets, _ in self._places.values())

    def __iter__(self) -> Iterator[Position]:
        for some in self.chunks(_GATHERED):
            yield from some

    def chunks(self, size: int) -> Iterator[list[Position]]:
        """Yield so many positions at a time, in order: of one topic-partition each time."""
        for (stream, partition), (offsets, indexes) in sorted(self._places.items()):
            for at in range(0, len(offsets), size):
                pairs = zip(offsets[at : at + size].tolist(), indexes[at : at + size].tolist(), strict=True)
                yield [
                    Position(stream, partition, offset, None if index < 0 else index)
                    for offset, index in pairs
                ]

    def __contains__(self, position: object) -> bool:
        if not isinstance(position, Position):
            return False
        return position in set(
            self.within(position.stream, position.partition, position.offset, position.offset)
        )

    def within(self, stream: str, partition: int, first: int, last: int) -> Positions:
        """Return those of a topic-partition whose offsets are from `first` to `last`, both included."""
        numbers = self._places.get((stream, partition))
        if numbers is None:
            return Positions()
        start, end = np.searchsorted(numbers[0], first, "left"), np.searchsorted(numbers[0], last, "right")
        return Positions({(stream, partition): (numbers[0][start:end], numbers[1][start:end])})

    def mask(self, rows: pa.RecordBatch | pa.Table) -> pa.BooleanArray:
        """Tell of each row, with the columns `WHERE`, whether its position is here."""
        here = np.zeros(rows.num_rows, np.bool_)
        for place, numbers, mine in _apart(rows):
            if place in self._places:
                here[mine] = _among(numbers, self._places[place])
        return pa.array(here)

    def rows(self) -> pa.Table:
        """Return a row of each, with the columns `WHERE`, in order; an index of -1 where there is none."""
        pieces = [
            pa.table(
                [pa.repeat(pa.scalar(stream, pa.string()), len(offsets)),
                 pa.repeat(pa.scalar(partition, pa.int32()), len(offsets)), offsets, indexes], names=WHERE,
            )
            for (stream, partition), (offsets, indexes) in sorted(self._places.items())
        ]  # fmt: skip
        return pa.concat_tables(pieces) if pieces else _table([])

    def offsets(self) -> Iterator[tuple[str, int, _Offsets]]:
        """Yield each topic-partition with the offsets of it, in order, each once."""
        for (stream, partition), (offsets, _) in sorted(self._places.items()):
            yield stream, partition, np.unique(offsets)

    def __or__(self, other: Positions) -> Positions:
        """Return the positions of both."""
        return Positions.all((self, other))

    def __and__(self, other: Positions) -> Positions:
        """Return those that are in the other one too."""
        return self._those(other, there=True)

    def __sub__(self, other: Positions) -> Positions:
        """Return those that are not in the other one."""
        return self._those(other, there=False)

    def _those(self, other: Positions, there: bool) -> Positions:
        nothing = np.empty(0, np.int64), np.empty(0, np.int32)
        return Positions(
            {
                place: _chosen(numbers, other._places.get(place, nothing), there)
                for place, numbers in self._places.items()
            }
        )


def _apart(
    rows: pa.RecordBatch | pa.Table,
) -> Iterator[tuple[_Place, _Numbers, npt.NDArray[np.bool_]]]:
    """Yield offsets and indexes of each topic-partition among rows, and which rows those are."""
    if not rows.num_rows:
        return
    streams = (
        pa.chunked_array([rows.column("stream")])
        if isinstance(rows, pa.RecordBatch)
        else rows.column("stream")
    )
    coded = streams.cast(pa.string()).combine_chunks().dictionary_encode()
    codes = coded.indices.to_numpy()
    partitions = _numpy(rows.column("partition"))
    offsets = _numpy(rows.column("offset")).astype(np.int64)
    indexes = _numpy(pc.fill_null(rows.column("index"), -1)).astype(np.int32)
    for code, partition in np.unique(np.column_stack((codes, partitions)), axis=0).tolist():
        mine = (codes == code) & (partitions == partition)
        yield (coded.dictionary[code].as_py(), partition), (offsets[mine], indexes[mine]), mine


def _numpy(column: Any) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = (
        column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    )
    return found


def _table(positions: list[Position]) -> pa.Table:
    columns = [
        pa.array([getattr(position, name) for position in positions], kind)
        for name, kind in zip(WHERE, (pa.string(), pa.int32(), pa.int64(), pa.int32()), strict=True)
    ]
    return pa.table(columns, names=WHERE)


def _distinct(pieces: list[_Numbers]) -> _Numbers:
    """Return numbers of several pieces in order, each pair once."""
    offsets = np.concatenate([offsets for offsets, _ in pieces])
    indexes = np.concatenate([indexes for _, indexes in pieces])
    pieces.clear()
    order = np.lexsort((indexes, offsets))
    offsets, indexes = offsets[order], indexes[order]
    first = np.ones(len(offsets), np.bool_)
    first[1:] = (offsets[1:] != offsets[:-1]) | (indexes[1:] != indexes[:-1])
    return offsets[first], indexes[first]


def _chosen(mine: _Numbers, others: _Numbers, there: bool) -> _Numbers:
    """Return those of the first that are among the second, or those that are not; both are distinct."""
    offsets = np.concatenate((mine[0], others[0]))
    indexes = np.concatenate((mine[1], others[1]))
    theirs = np.arange(len(offsets)) >= len(mine[0])
    order = np.lexsort((theirs, indexes, offsets))
    offsets, indexes, theirs = offsets[order], indexes[order], theirs[order]
    both = np.zeros(len(offsets), np.bool_)
    both[:-1] = (offsets[1:] == offsets[:-1]) & (indexes[1:] == indexes[:-1])
    chosen = ~theirs & (both == there)
    return offsets[chosen], indexes[chosen]


def _among(rows: _Numbers, those: _Numbers) -> npt.NDArray[np.bool_]:
    """Tell of each row, in any order and more than once, whether it is among distinct ones."""
    offsets = np.concatenate((those[0], rows[0]))
    indexes = np.concatenate((those[1], rows[1]))
    are_rows = np.arange(len(offsets)) >= len(those[0])
    order = np.lexsort(
        (are_rows, indexes, offsets)
    )  # of those that are equal the one that is no row comes first
    offsets, indexes, are_rows = offsets[order], indexes[order], are_rows[order]
    first = np.ones(len(offsets), np.bool_)
    first[1:] = (offsets[1:] != offsets[:-1]) | (indexes[1:] != indexes[:-1])
    leads = ~are_rows[first]
    here = np.empty(len(offsets), np.bool_)
    here[order] = leads[np.cumsum(first) - 1]
    return here[len(those[0]) :]
