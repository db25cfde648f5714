"""Profiles: what the records of a format look like, column by column, without saying anything of one of them.

A profile counts: records, missing values, zeros, negative ones, codes that are in the archive as they are, and how many
numbers lie between which powers of two. Times are compared with when the records came. It is made of archive rows,
which have no identifier in them, and nothing in it is of a single record but the marks by which one that is sent again
is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lethe.schemas.transformed import TransformedBatch

FEW: Final = (
    "channel direction source_kind destination_kind status_group status error permanent_error currency price_unit "
    "charge_basis redacted"
).split()
"""Columns of codes of which new ones are rare."""
MANY: Final = "country mcc mnc network route account application".split()
"""Columns of codes to which traffic adds by itself."""
OF_USAGE: Final = "account user address action path method".split()
"""Columns of usage data beside its status: only of the method is said which there are."""
NAMES: Final = ("sender", "recipient")
NUMBERS: Final = "parts duration_ms charged_duration_ms price charge".split()
REFUSED, REPEATED, AGE, DONE = "refused", "repeated", "event_time", "done_time"
"""Of a format, not of a column of it: what was refused, what came again; when things happened and when they ended."""
NEWEST: Final = "newest"
"""How long ago the newest twentieth of the records of a window happened, where they came at different times."""

_SAMPLE: Final = 1_000
_RUNS: Final = 8  # of rows that follow on each other
_MARKED: Final = 256  # rows of which marks are made
_KEPT_AN_HOUR: Final = 128
_HOURS: Final = 72
_CODES: Final = 200
_AHEAD: Final = 120_000  # ms by which the clocks of a vendor and a broker may differ
_SAME_CLOCK: Final = 1_000
_HOUR_US: Final = 3_600_000_000
_STAND_IN: Final = "~"
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_LOOKED_AT: Final = [*FEW, *MANY, *NAMES, *NUMBERS, "event_time", "done_time", "format"]
_SHOWN_OF_USAGE: Final = r"^(?:[0-9]{3}|[A-Z]{2,10})$"  # nothing that could be somebody's
_TWIN_OF_USAGE: Final = "event_time action method status format".split()
_TWIN: Final = "event_time done_time status account parts duration_ms charge route country".split()


@dataclass(slots=True)
class Column:
    """What was seen in a column. `counts`: of codes, or of numbers but zero by half powers of two.

    `bands`: the least and the most that a measure was in any window; for times `middle`, `spread` and `arrivals` (both
    between the quartiles) in milliseconds.
    """

    rows: int = 0
    missing: int = 0
    zeros: int = 0
    negatives: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    bands: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, other: Column) -> None:
        """Count another one in."""
        for name in ("rows", "missing", "zeros", "negatives", "windows"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for key, count in other.counts.items():
            if key in self.counts or len(self.counts) < _CODES:
                self.counts[key] += count
        for name, (low, high) in other.bands.items():
            mine = self.bands.get(name, (low, high))
            self.bands[name] = min(mine[0], low), max(mine[1], high)

    @property
    def full(self) -> bool:
        """Tell whether there are more codes than are kept, so that none is new."""
        return len(self.counts) >= _CODES


@dataclass(slots=True)
class Marks:
    """Marks of some records of an hour: all whose first number is below `below`."""

    below: int
    marks: dict[int, int] = field(default_factory=dict, repr=False)  # mark -> the number it is chosen by

    def add(self, other: Marks) -> None:
        """Count others in, and keep as many as there may be."""
        self.below = min(self.below, other.below)
        together = {**self.marks, **other.marks}
        if len(together) > _KEPT_AN_HOUR:
            self.below = min(self.below, sorted(together.values())[_KEPT_AN_HOUR])
        self.marks = {mark: number for mark, number in together.items() if number < self.below}


@dataclass(slots=True)
class Profile:
    """What the records of a format look like. `rows`: all that came, refused ones too; `day`: when most happened."""

    rows: int = 0
    day: str = ""
    columns: dict[str, Column] = field(default_factory=dict)
    hours: dict[int, Marks] = field(default_factory=dict)
    again: Counter[int] = field(default_factory=Counter)
    """Hours since 1970 -> how many of their marked records are repeats of others of the same commit."""

    def add(self, other: Profile) -> None:
        """Count another one in."""
        self.rows += other.rows
        self.day = max(self.day, other.day)
        for name, column in other.columns.items():
            self.columns.setdefault(name, Column()).add(column)
        self.again.update(other.again)
        self.add_hours(other.hours)

    def add_hours(self, others: Mapping[int, Marks]) -> None:
        """Count marks in; of the last hours alone are kept."""
        for hour, marks in others.items():
            self.hours.setdefault(hour, Marks(marks.below)).add(marks)
        if len(self.hours) > _HOURS:
            for hour in sorted(self.hours)[:-_HOURS]:
                del self.hours[hour]


def profiles(batches: Sequence[TransformedBatch], now_ms: int) -> dict[str, Profile]:
    """Profile what is about to be committed, by format. Looks at some thousand rows of each, however many there are."""
    found: dict[str, Profile] = {}
    groups: dict[str, list[TransformedBatch]] = {}
    used: list[TransformedBatch] = []
    for batch in batches:
        if batch.metadata.num_rows:
            groups.setdefault(batch.metadata.column("format")[0].as_py(), []).append(batch)
        if batch.done.num_rows:
            used.append(batch)
    for mine in groups.values():
        _accepted(mine, now_ms, found)
    if used:
        _used(used, now_ms, found)
    _refused(batches, found)
    return found


def _accepted(batches: Sequence[TransformedBatch], now_ms: int, found: dict[str, Profile]) -> None:
    total = sum(batch.metadata.num_rows for batch in batches)
    parts, came = [], []
    every = -(-len(batches) // _RUNS) if total > _SAMPLE else 1
    for batch in batches[batches[0].first % every :: every]:
        # A run of rows, not every hundredth: it is there already, and costs nothing to look at.
        height = batch.metadata.num_rows
        size = height if total <= _SAMPLE else min(height, -(-height * every * _SAMPLE // total))
        part = batch.metadata.select(_LOOKED_AT).slice((batch.first * 7) % (height - size + 1), size)
        parts.append(part)
        came.append(batch.received_ms if batch.received_ms > 0 else now_ms)
    rows = pa.concat_tables(parts).combine_chunks()
    arrived = np.repeat(np.array(came, np.int64), [part.num_rows for part in parts])
    names = pc.unique(rows.column("format")).to_pylist()
    for name in names:
        some, when = rows, arrived
        if len(names) > 1:
            which = pc.equal(rows.column("format"), name)
            some, when = rows.filter(which), arrived[which.to_numpy()]
        profile = found.setdefault(name, Profile())
        profile.add(_profile(some, when, max(1, round(total * some.num_rows / max(1, rows.num_rows)))))
        if len(names) == 1:
            hours, again = _marks(batches, total)
            profile.add_hours(hours)
            profile.again.update(again)


def _used(batches: Sequence[TransformedBatch], now_ms: int, found: dict[str, Profile]) -> None:
    """Profile usage data, all rows of it: when it happened, what is missing, methods and numbers of a status."""
    rows = pa.concat_tables([batch.done for batch in batches])
    came = np.array([b.received_ms if b.received_ms > 0 else now_ms for b in batches], np.int64)
    arrived = np.repeat(came, [batch.done.num_rows for batch in batches])
    for name in pc.unique(rows.column("format")).to_pylist():
        which = pc.equal(rows.column("format"), name)
        some, when = rows.filter(which), arrived[which.to_numpy()]
        columns = {
            column: Column(some.num_rows, some.column(column).null_count) for column in (*OF_USAGE, "status")
        }
        for column in ("method", "status"):
            words = some.column(column)
            shown = pc.fill_null(pc.match_substring_regex(words, _SHOWN_OF_USAGE), True)
            columns[column] = _codes(pc.if_else(shown, words, _STAND_IN))
        profile = found.setdefault(name, Profile())
        profile.add(Profile(some.num_rows, _day(some), columns | _times(some, when)))
        hours, again = _marks_of(some, _TWIN_OF_USAGE, some.num_rows)
        profile.add_hours(hours)
        profile.again.update(again)


def _profile(rows: pa.Table, arrived: npt.NDArray[np.int64], total: int) -> Profile:
    height = rows.num_rows
    columns = {name: _codes(rows.column(name)) for name in (*FEW, *MANY)}
    for name in NAMES:
        columns[name] = Column(height, rows.column(name).null_count)
    for name in NUMBERS:
        columns[name] = _numbers(rows.column(name))
    columns |= _times(rows, arrived)
    event, done = _event_ms(rows), rows.column("done_time")
    there = done.is_valid().to_numpy()
    columns[DONE] = _lapse(
        done.filter(pa.array(there)).cast(pa.int64()).to_numpy() // 1000 - event[there], height, _SAME_CLOCK
    )
    return Profile(total, _day(rows), columns)


def _event_ms(rows: pa.Table) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = rows.column("event_time").cast(pa.int64()).to_numpy() // 1000
    return found


def _day(rows: pa.Table) -> str:
    """Name the day on which most of it happened."""
    if not rows.num_rows:
        return ""
    return str(np.datetime64(int(np.median(_event_ms(rows))), "ms").astype("datetime64[D]"))


def _times(rows: pa.Table, arrived: npt.NDArray[np.int64]) -> dict[str, Column]:
    """Profile how long before they came records happened."""
    age, columns = arrived - _event_ms(rows), {}
    columns[AGE] = _lapse(age, rows.num_rows, _AHEAD)
    if len(np.unique(arrived)) > 1:  # a file is there at once, whenever it is taken in
        columns[NEWEST] = _lapse(age, rows.num_rows, _AHEAD, of=5)
        low, high = np.percentile(arrived, (25, 75)).tolist()
        columns[NEWEST].bands["arrivals"] = high - low, high - low
    return columns


def _codes(values: pa.ChunkedArray) -> Column:
    column = Column(len(values), values.null_count)
    if column.missing < column.rows:
        for entry in pc.value_counts(values).to_pylist():
            if (code := entry["values"]) is not None:
                word = str(code)
                column.counts[_STAND_IN if word.startswith(_STAND_IN) else word] += entry["counts"]
    return column


def _numbers(values: pa.ChunkedArray) -> Column:
    column = Column(len(values), values.null_count)
    if column.missing < column.rows:
        numbers = values.drop_null().cast(pa.float64()).to_numpy()
        column.zeros = int((numbers == 0).sum())
        column.negatives = int((numbers < 0).sum())
        _sort_in(column, np.abs(numbers[numbers != 0]))
    return column


def _lapse(lapses: npt.NDArray[Any], height: int, room: int, of: int = 50) -> Column:
    """Profile times that have passed, in milliseconds; negative is what happened too early by more than `room`.

    `of`: the percentile that stands for all of them.
    """
    column = Column(height, height - len(lapses))
    if len(lapses):
        column.negatives = int((lapses < -room).sum())
        low, middle, high = np.percentile(lapses, (25, of, 75)).tolist()
        column.bands |= {"middle": (middle, middle), "spread": (high - low, high - low)}
    return column


def _sort_in(column: Column, sizes: npt.NDArray[Any]) -> None:
    """Count the sizes of numbers, whatever their sign, by half powers of two."""
    if len(sizes):
        halves = np.floor(2 * np.log2(sizes)).astype(np.int64)
        values, counts = np.unique(halves, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            column.counts[str(value)] += count


def _marks(batches: Sequence[TransformedBatch], total: int) -> tuple[dict[int, Marks], Counter[int]]:
    """Mark some records, the same ones whenever they come: chosen by when they happened; count repeats among them."""
    return _marks_of(pa.concat_tables([batch.metadata for batch in batches]), _TWIN, total)


def _marks_of(rows: pa.Table, twin: Sequence[str], total: int) -> tuple[dict[int, Marks], Counter[int]]:
    import polars as pl  # here: a look-up needs none of it

    below = (1 << 32) if total <= _MARKED else (_MARKED << 32) // total
    event = rows.column("event_time").cast(pa.int64()).to_numpy()
    numbers = (event.astype(np.uint64) * _SPREAD) >> np.uint64(32)
    chosen = np.flatnonzero(numbers < below)
    frame = pl.from_arrow(rows.select(list(twin)).take(pa.array(chosen)))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  (of a table it is one)
    marks = (frame.hash_rows(seed=7).to_numpy() >> np.uint64(32)).tolist()
    found: dict[int, Marks] = {}
    again: Counter[int] = Counter()
    for hour, mark, number in zip(
        (event[chosen] // _HOUR_US).tolist(), marks, numbers[chosen].tolist(), strict=True
    ):
        mine = found.setdefault(hour, Marks(below)).marks
        again[hour] += mark in mine
        mine[mark] = number
    return found, again


def _refused(batches: Sequence[TransformedBatch], found: dict[str, Profile]) -> None:
    reasons: dict[str, Counter[str]] = {}
    for batch in batches:
        if batch.quarantine.num_rows:
            pairs = batch.quarantine.select(["format", "reason"])
            for row in pairs.group_by(["format", "reason"]).aggregate([([], "count_all")]).to_pylist():
                if row["reason"] != "tombstone":
                    reasons.setdefault(row["format"], Counter())[row["reason"]] += row["count_all"]
    for name in {*found, *reasons}:
        profile, mine = found.setdefault(name, Profile()), reasons.get(name, Counter())
        accepted = profile.rows
        profile.rows += mine.total()
        profile.columns[REFUSED] = Column(profile.rows, accepted, counts=mine)
