"""Read a month's numbers and what the archive says of their records, batch by batch, in columns.

Archive and identifiers have no order in common, so what a detector needs of an archive row is one small number, its
code, in an array that a position leads into: four bytes a record. All else is one batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.tokens import reverse_numbers
from lethe.schemas.arrow import TOKEN
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.warehouse import Warehouse

_BATCH: Final = 1 << 20
_MOST_PLACES: Final = 4_000_000_000
_HOUR: Final = 3_600_000_000

Codes = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of a month: E.164 numbers (as integers), hours since the month began, codes of their archive rows."""

    numbers: Numbers = field(repr=False)
    hours: npt.NDArray[np.int32]
    codes: Codes


@dataclass(frozen=True, slots=True)
class _Place:
    start: int  # of the topic-partition in the array
    first: int  # its first offset
    stride: int  # places an offset has: as many as records lie in one message
    size: int


@dataclass(slots=True)
class MonthRows:
    """A month, coded. `table` says what each code is, by the columns asked for; code 0 is of no archive row."""

    warehouse: Warehouse
    month: Month
    columns: tuple[str, ...]
    table: pl.DataFrame
    rows: int
    _codes: Codes = field(repr=False)
    _places: dict[tuple[str, int], _Place] = field(repr=False)

    @classmethod
    def read(cls, warehouse: Warehouse, month: Month, columns: Sequence[str]) -> MonthRows:
        """Code the archive rows of a month by some of their columns: where they lie first, then what they say."""
        warehouse.metadata.reload()
        places, total = _places(warehouse, month)
        codes = np.zeros(total, np.uint32)
        known: dict[tuple[Any, ...], int] = {}
        rows = 0
        for frame in archive_batches(warehouse, month, ["stream", "partition", "offset", "index", *columns]):
            rows += frame.height
            distinct = frame.select(*columns).unique().with_row_index("code")
            coded = frame.join(distinct, on=list(columns), nulls_equal=True, maintain_order="left")
            named = np.array(
                [known.setdefault(key, len(known) + 1) for key in distinct.select(*columns).rows()], np.uint32
            )
            at = _at(coded, places)
            codes[at] = named[coded["code"].to_numpy()]
        table = pl.DataFrame(list(known), _types(warehouse, columns), orient="row")
        return cls(warehouse, month, tuple(columns), table, rows, codes, places)

    def batches(self, keys: Sequence[tuple[int, MonthKeys]]) -> Iterator[Rows]:
        """Yield the month's rows that name a phone number, one batch at a time; `keys` by months of the window."""
        start = int(self.month.start().timestamp() * 1_000_000)
        for frame, numbers in self._identifiers(keys, ["event_time"]):
            hours = ((frame["event_time"].cast(pl.Int64).to_numpy() - start) // _HOUR).astype(np.int32)
            yield Rows(numbers, hours, self._codes[_at(frame, self._places)])

    def positions(self, keys: Sequence[tuple[int, MonthKeys]], wanted: Numbers) -> dict[int, str]:
        """Name one record of each of a few numbers by its position: what a reveal can be asked of."""
        found: dict[int, str] = {}
        ordered = np.sort(wanted)
        for frame, numbers in self._identifiers(keys, []):
            near = np.minimum(np.searchsorted(ordered, numbers), len(ordered) - 1)
            for i in np.flatnonzero(ordered[near] == numbers).tolist():
                if int(numbers[i]) not in found:
                    stream, partition, offset, index = frame.row(i)[:4]
                    found[int(numbers[i])] = f"{stream}/{partition}/{offset}" + (
                        "" if index is None else f"/{index}"
                    )
            if len(found) == len(ordered):
                break
        return found

    def _identifiers(
        self, keys: Sequence[tuple[int, MonthKeys]], more: list[str]
    ) -> Iterator[tuple[pl.DataFrame, Numbers]]:
        table = self.warehouse.window["identifiers"]
        table.reload()
        dataset = table.dataset()
        for window, month_keys in keys:
            here = (
                (pc.field("month") == str(self.month))
                & (pc.field("window_months") == window)
                & (pc.field("kind") == "msisdn")
                & pc.field("token").is_valid()
                & pc.field("role").isin(["recipient", "callee"])
            )
            names = ["stream", "partition", "offset", "index", "token", *more]
            for batch in dataset.to_batches(columns=names, filter=here, batch_size=_BATCH):
                if batch.num_rows:
                    numbers = reverse_numbers(month_keys, batch.column(4).cast(TOKEN))
                    frame = pl.from_arrow(pa.Table.from_batches([batch.drop_columns(["token"])]))
                    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
                    keep = numbers > 0
                    if not keep.all():  # what is no plain number has a seal of its own
                        frame, numbers = frame.filter(pl.Series(keep)), numbers[keep]
                    yield frame, numbers


def archive_batches(warehouse: Warehouse, month: Month, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield a month's rows of the archive, some of their columns, one batch at a time."""
    here = pc.field("month") == str(month)
    for batch in warehouse.metadata.dataset().to_batches(
        columns=list(columns), filter=here, batch_size=_BATCH
    ):
        if batch.num_rows:
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
            yield frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def _types(warehouse: Warehouse, columns: Sequence[str]) -> dict[str, Any]:
    schema = pl.DataFrame(warehouse.metadata.dataset().schema.empty_table()).schema
    return {name: pl.String if schema[name] == pl.Categorical else schema[name] for name in columns}


def _places(warehouse: Warehouse, month: Month) -> tuple[dict[tuple[str, int], _Place], int]:
    """Give each topic-partition its part of the array, from its first offset of the month to its last."""
    ends: dict[tuple[str, int], list[int]] = {}
    for frame in archive_batches(warehouse, month, ["stream", "partition", "offset", "index"]):
        for stream, partition, first, last, most in (
            frame.group_by("stream", "partition")
            .agg(
                pl.col("offset").min().alias("first"),
                pl.col("offset").max().alias("last"),
                pl.col("index").max().fill_null(0).alias("most"),
            )
            .rows()
        ):
            known = ends.setdefault((stream, partition), [first, last, most])
            known[:] = min(known[0], first), max(known[1], last), max(known[2], most)
    places, start = {}, 1
    for key, (first, last, most) in sorted(ends.items()):
        size = (last - first + 1) * (most + 1)
        places[key] = _Place(start, first, most + 1, size)
        start += size
    if start > _MOST_PLACES:
        raise InputError("the month's offsets span too much to be held: detect by stream is not there yet")
    return places, start


def _at(frame: pl.DataFrame, places: dict[tuple[str, int], _Place]) -> npt.NDArray[np.int64]:
    """Return where each row's code is; place 0, which holds no code, for rows outside of the archive's."""
    at = np.zeros(frame.height, np.int64)
    offsets = frame["offset"].to_numpy()
    index = frame["index"].fill_null(0).to_numpy()
    streams = frame["stream"].cast(pl.String)
    pairs = pl.DataFrame({"s": streams, "p": frame["partition"]})
    for key in pairs.unique().rows():
        place = places.get(key)
        if place is None:
            continue
        mine = ((pairs["s"] == key[0]) & (pairs["p"] == key[1])).to_numpy()
        where = (offsets[mine] - place.first) * place.stride + index[mine]
        inside = (where >= 0) & (where < place.size) & (index[mine] < place.stride)
        at[mine] = np.where(inside, where + place.start, 0)
    return at
