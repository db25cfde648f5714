"""What the tables hold of one topic-partition, compared with what commits and replays say; by offset where it can be.

Which record is missing can often be told: every offset of a range without holes has a message, every element of an
envelope a number, and the identifiers of a record show that it was archived.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.arrow import TABLES
from lethe.schemas.errors import IntegrityError
from lethe.tiers.certificates.expected_losses import ExpectedLosses
from lethe.tiers.delta.rewrite import BROKEN, files_of, read_file
from lethe.tiers.warehouse import Warehouse

PLACE: Final = ["stream", "partition", "offset", "index"]
FRESH: Final = 60.0
"""Seconds for which a table counts as it was looked at: it is read for each topic-partition."""
_MOST_NAMED: Final = 5
_MOST_OFFSETS: Final = 20_000_000
_UNTOLD: Final = "which cannot be told from the tables"

At = tuple[int, int | None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Short:
    """A table holds fewer rows than it should, which may be because they were forgotten, erased or expired."""

    table: str
    rows: int
    what: str


class Tables:
    """The rows of one topic-partition. `said`: ledger rows, with what `archive` and `quarantine` should hold of it.

    What is wrong with files that cannot be read is put into `broken`, by their paths.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        stream: str,
        partition: int,
        said: Sequence[Row],
        gone: ExpectedLosses,
        broken: dict[str, str],
    ) -> None:
        self._warehouse, self._stream, self._partition = warehouse, stream, partition
        self._said, self._gone, self._broken = said, gone, broken
        self._first = np.array([row["first_offset"] for row in said], np.int64)
        self._last = np.array([row["last_offset"] for row in said], np.int64)

    def compare(self) -> Iterator[str | Short]:
        """Yield everything that differs."""
        for table, rows in (
            ("archive", self.archive),
            ("quarantine", self.quarantine),
            ("usage", self.usage),
        ):
            for offset, index, times in _twice(rows.select("offset", "index")):
                yield f"record at offset {named([(offset, index)])} is in the {table} {times} times"
            rows = rows.unique(["offset", "index"])
            for at, count in self._differing(table, rows):
                yield self._judged(table, self._said[at], count)
            yield from self._outside(table, rows)
        months: Counter[str] = Counter()
        for at, count in self._differing("identifiers", self.identifiers):
            found = self._identifiers(self._said[at], count)
            if found is not None:
                yield found
                months.update(self._in(self.archive, self._said[at]).get_column("month").to_list())
        yield from self._outside("identifiers", self.identifiers)
        yield from self._lost_months(months)

    @cached_property
    def archive(self) -> pl.DataFrame:
        """Offset, index and month of the archive's rows."""
        return self._rows("metadata", ["offset", "index", "month"])

    @cached_property
    def _landed(self) -> pl.DataFrame:
        """What was split: the archive's rows and those of usage data."""
        return pl.concat([self.archive, self.usage])

    @cached_property
    def quarantine(self) -> pl.DataFrame:
        """Offset and index of the rejected."""
        return self._rows("quarantine", ["offset", "index"])

    @cached_property
    def usage(self) -> pl.DataFrame:
        """Offset, index and month of the records of usage data."""
        return self._rows("usage", ["offset", "index", "month"])

    @cached_property
    def identifiers(self) -> pl.DataFrame:
        """Offset and index of the identifiers, and their month."""
        return self._rows("identifiers", ["offset", "index", "month"])

    def _rows(self, table: str, columns: list[str]) -> pl.DataFrame:
        mine = (pc.field("stream") == self._stream) & (
            pc.field("partition") == pa.scalar(self._partition, pa.int32())
        )
        frame = pl.from_arrow(read_rows(self._warehouse, table, columns, mine, self._broken))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101
        return frame

    def _differing(self, table: str, rows: pl.DataFrame) -> Iterator[tuple[int, int]]:
        """Find the commits of whose offsets a table holds another count than expected, with that count."""
        held = np.sort(rows.get_column("offset").to_numpy())
        counts = np.searchsorted(held, self._last, "right") - np.searchsorted(held, self._first, "left")
        expected = np.array([row[table] for row in self._said], np.int64)
        for at in np.flatnonzero(counts != expected):
            yield int(at), int(counts[at])

    def _outside(self, table: str, rows: pl.DataFrame) -> Iterator[str]:
        """Yield rows at offsets of no commit. A window table may be ahead of the ledger: beyond its end they do not
        count.
        """
        offsets = np.unique(rows.get_column("offset").to_numpy())
        inside = np.zeros(len(offsets), np.bool_)
        for first, last in zip(self._first, self._last, strict=True):
            low, high = np.searchsorted(offsets, first, "left"), np.searchsorted(offsets, last, "right")
            inside[low:high] = True
        if table != "archive" and len(self._last):
            inside |= offsets > self._last.max()
        stray = set(offsets[~inside].tolist())
        if stray:
            count = rows.filter(pl.col("offset").is_in(list(stray))).height
            where = named((offset, None) for offset in stray)
            yield f"{table} holds {count} records at offsets that no ledger row accounts for: {where}"

    def _judged(self, table: str, row: Row, count: int) -> str | Short:
        text = f"{_range(row)}: {table} holds {count} records, the ledger says {row[table]}"
        missing = row[table] - count
        if missing > 0:
            which = self._missing(table, row)
            text += f"; missing: {named(which)}" if which else f"; {_UNTOLD}"
            forgotten = {"archive": self._gone.archive, "usage": self._gone.usage}
            return (
                Short(table, missing, text)
                if forgotten.get(table, len(self._gone.months)) or self._gone.unfinished
                else text
            )
        archive, quarantine = self._in(self._landed, row), self._in(self.quarantine, row)
        both = _positions(archive) & _positions(quarantine)
        both |= {at for at in _positions(quarantine) if at[1] is None and at[0] in _offsets(archive)}
        if table == "quarantine" and both:
            other = (
                "in the archive as well (`lethe quarantine replay` finishes a replay that was interrupted)"
            )
            return f"{text}; {other}: {named(both)}"
        return f"{text}; {_UNTOLD}"

    def _missing(self, table: str, row: Row) -> set[At]:
        """Say which records of a commit a table lacks; none if that cannot be told."""
        archive, quarantine = self._in(self._landed, row), self._in(self.quarantine, row)
        if row["usage"]:  # which of the two tables a record was to be in, nobody can tell
            return set()
        lacking = {
            "archive": row["archive"] - _distinct(archive),
            "quarantine": row["quarantine"] - _distinct(quarantine),
        }
        proven = _positions(self._in(self.identifiers, row))
        candidates = _absent(row, _positions(archive) | _positions(quarantine), proven)
        archived = candidates & proven
        if len(candidates) == sum(max(0, n) for n in lacking.values()):
            if lacking["archive" if table == "quarantine" else "quarantine"] <= 0:
                return candidates
            if len(archived) == lacking["archive"]:
                return archived if table == "archive" else candidates - archived
        if table == "archive" and len(archived) == lacking["archive"]:
            return archived
        return set()

    def _identifiers(self, row: Row, count: int) -> str | Short | None:
        """Say what differs in the identifiers of a commit; None while nobody can say that it should not."""
        archive, rows = self._in(self._landed, row), self._in(self.identifiers, row)
        if row["usage"] > self._in(self.usage, row).height and self._gone.usage:
            return None
        months = set(archive.get_column("month").to_list()) | set(rows.get_column("month").to_list())
        if months & self._gone.months or (
            self._in(self.archive, row).height < row["archive"] and self._gone.archive
        ):
            return None
        left = _rejected(rows, self._in(self.quarantine, row))
        count -= (
            left.height
        )  # of a replay that was interrupted: they do not count, and the next one takes them out
        if count == row["identifiers"]:
            return None
        text = f"{_range(row)}: identifiers holds {count} rows, the ledger says {row['identifiers']}"
        missing = row["identifiers"] - count
        if missing < 0:
            twice = _twice(self._whole_identifiers(row))
            where = f"twice: {named((t[0], t[1]) for t in twice)}" if twice else _UNTOLD
            return f"{text}; {where}"
        without = _positions(archive) - _positions(rows)
        text += f"; none for: {named(without)}" if 0 < len(without) <= missing else f"; {_UNTOLD}"
        erased = any(self._gone.erased[month] for month in months)
        return Short("identifiers", missing, text) if erased or self._gone.unfinished else text

    def _whole_identifiers(self, row: Row) -> pl.DataFrame:
        frame = self._rows("identifiers", ["offset", "index", "role", "kind", "token", "message_token"])
        return self._in(frame, row)

    def _lost_months(self, months: Iterable[str]) -> Iterator[str]:
        """Find months of which the window holds nothing here, and nothing says that they were forgotten."""
        here = set(self.identifiers.get_column("month").unique().to_list())
        for month in sorted(set(months) & self._gone.keyed - self._gone.months - here):
            if not self._gone.erased[month]:
                yield f"month {month}: the window holds no identifiers, and no certificate says that it was forgotten"

    def _in(self, rows: pl.DataFrame, row: Row) -> pl.DataFrame:
        return rows.filter(pl.col("offset").is_between(row["first_offset"], row["last_offset"]))


def read_rows(
    warehouse: Warehouse, table: str, columns: list[str], chosen: Any, broken: dict[str, str]
) -> pa.Table:
    """Read columns of the chosen rows of a table as it is now, or was a minute ago (None: of all).

    Where a file is damaged, or not what the table's log says of it, files are read one by one: one that cannot be is
    put into `broken`, and the others count.
    """
    handle = warehouse.handle(table)
    handle.reload(FRESH)
    try:
        return handle.dataset().to_table(columns=columns, filter=chosen)
    except BROKEN:
        pass  # which file it is nobody says
    found = [TABLES[table].empty_table().select(columns)]
    for file in files_of(handle):
        path = f"{table}/{file.path}"
        try:
            rows = read_file(warehouse.objects, table, file)
        except IntegrityError:
            broken[path] = "the file cannot be read"
            continue
        if rows is None:
            broken[path] = "the file is gone"
            continue
        found.append((rows if chosen is None else rows.filter(chosen)).select(columns))
    return pa.concat_tables(found)


def named(positions: Iterable[At]) -> str:
    """Name positions by their offsets (`offset/index` in an envelope), runs drawn together, the first few of them."""
    runs: list[list[At]] = []
    for at in sorted(set(positions), key=lambda p: (p[0], -1 if p[1] is None else p[1])):
        last = runs[-1][-1] if runs else None
        if last is not None and at[1] is None is last[1] and at[0] == last[0] + 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    said = [_name(run[0]) + (f" to {_name(run[-1])}" if len(run) > 1 else "") for run in runs[:_MOST_NAMED]]
    more = sum(map(len, runs[_MOST_NAMED:]))
    return ", ".join(said) + (f" and {more} more" if more else "")


def _name(at: At) -> str:
    return str(at[0]) if at[1] is None else f"{at[0]}/{at[1]}"


def _range(row: Row) -> str:
    return f"offsets {row['first_offset']} to {row['last_offset']}"


def _positions(rows: pl.DataFrame) -> set[At]:
    return set(rows.select("offset", "index").rows())


def _offsets(rows: pl.DataFrame) -> set[int]:
    return set(rows.get_column("offset").to_list())


def _distinct(rows: pl.DataFrame) -> int:
    return rows.select("offset", "index").n_unique() if rows.height else 0


def _twice(rows: pl.DataFrame) -> list[tuple[int, int | None, int]]:
    """Count what is there more than once: offset, index and count; rows are the same if all columns are."""
    found = rows.group_by(rows.columns).len().filter(pl.col("len") > 1).sort("offset", "index")
    return [(offset, index, count) for offset, index, count in found.select("offset", "index", "len").rows()]


def _rejected(rows: pl.DataFrame, quarantine: pl.DataFrame) -> pl.DataFrame:
    """Return the identifier rows of records that are rejected: ahead of an archive row that never came."""
    if not quarantine.height or not rows.height:
        return rows.clear()
    whole = quarantine.filter(pl.col("index").is_null()).get_column("offset")
    alone = rows.join(quarantine, on=["offset", "index"], how="semi", nulls_equal=True)
    return pl.concat([alone, rows.filter(pl.col("offset").is_in(whole.implode()))]).unique()


def _absent(row: Row, present: set[At], proven: set[At]) -> set[At]:
    """Find positions of a commit at which a record must have been and none is."""
    absent = {at for at in proven if at not in present}
    offsets = {offset for offset, _ in present | absent}
    size = row["last_offset"] - row["first_offset"] + 1
    if row["messages"] == size <= _MOST_OFFSETS:  # a range without holes: every offset had a message
        absent |= {(o, None) for o in range(row["first_offset"], row["last_offset"] + 1) if o not in offsets}
    elements: dict[int, set[int]] = {}
    for offset, index in present | absent:
        if index is not None:
            elements.setdefault(offset, set()).add(index)
    for offset, indexes in elements.items():
        absent |= {(offset, n) for n in range(max(indexes)) if n not in indexes}
    return absent
