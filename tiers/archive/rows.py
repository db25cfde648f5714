"""The archive as verification reads it: rows of one topic-partition, an offset range at a time, file by file.

What a Parquet footer says of its rows is not believed: where rows lie is found out from the rows themselves, because
a false statistic could hide a row that was added. How rows are spread over files does not matter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lethe.integrity.rows.canonical_rows import check_schema, conform
from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.row_batch import extent
from lethe.schemas.arrow import TIMESTAMP, file_schema
from lethe.schemas.errors import LetheError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.compaction.layout import Contents, Notes, place_of
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.places import in_utc, open_parquet, schema_of
from lethe.tiers.delta.rewrite import BROKEN, files_of
from lethe.tiers.delta.table import Table
from lethe.tiers.ledger.commits import TopicPartition
from lethe.tiers.store.objects import Objects, opened

_SCHEMA: Final = file_schema("metadata")
_STRINGS: Final = [f.name for f in _SCHEMA if pa.types.is_string(f.type)]
_WHERE: Final = ["stream", "partition", "offset"]
_OPEN_FILES: Final = 128
_HELD_GROUPS: Final = 4


@dataclass(frozen=True, slots=True)
class Group:
    """One row group of a file, as far as one topic-partition goes: its rows lie between these offsets."""

    file: DataFile
    number: int
    first: int
    last: int
    alone: bool  # no other topic-partition has rows in it
    ordered: bool  # its offsets ascend


@dataclass
class Archive:
    """The metadata table at one version. `findings` are about files that cannot be read.

    `wanted` leaves the rows of other streams out. Files of other months than from `first` to `last` are not read.
    """

    objects: Objects
    files: list[DataFile]
    wanted: str | None = None
    findings: list[Finding] = field(default_factory=list)
    groups: dict[TopicPartition, list[Group]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    """Paths of files that are not opened: their rows are known to be as they were logged."""
    scoped: set[tuple[str, TopicPartition]] = field(default_factory=set)
    """Files of whose rows of a topic-partition only those in scope are read: others are known to be as logged."""
    _open: OrderedDict[str, pq.ParquetFile] = field(default_factory=OrderedDict, init=False)
    _notes: dict[str, Notes | None] = field(default_factory=dict, init=False)
    _held: OrderedDict[tuple[str, int, TopicPartition], pa.Table] = field(
        default_factory=OrderedDict, init=False
    )

    @cached_property
    def local(self) -> bool:
        """Whether the files are on a disk here."""
        return Path(self.objects.root).is_dir()

    @classmethod
    def of(
        cls,
        objects: Objects,
        table: Table,
        first: Month | None = None,
        last: Month | None = None,
        wanted: str | None = None,
        elsewhere: Callable[[Archive], None] | None = None,
        before: Callable[[Archive], None] = lambda _: None,
    ) -> Archive:
        """Return the table as its handle sees it, looked through once: here, or `elsewhere`.

        `before` that, it may be told what of it need not be read.
        """
        months = (str(first or ""), str(last or "~"))
        files = [f for f in files_of(table) if months[0] <= f.partition["month"] <= months[1]]
        archive = cls(objects, files, wanted)
        before(archive)
        archive.look_through(elsewhere)
        return archive

    def look_through(
        self,
        elsewhere: Callable[[Archive], None] | None = None,
    ) -> None:
        """Find out where the rows of each topic-partition lie, here or `elsewhere`."""
        if elsewhere is not None:
            elsewhere(self)
        else:
            for file in self.files:
                if file.path not in self.closed:
                    self._look_through(file)
        self._sort()

    def open_again(self, paths: Set[str]) -> None:
        """Look through files that were not opened, after all."""
        self.closed -= paths
        for file in self.files if paths else ():
            if file.path in paths:
                self._look_through(file)
        self._sort()

    def _sort(self) -> None:
        for groups in self.groups.values():
            groups.sort(key=lambda g: (g.first, g.last))

    def rows(
        self, topic_partition: TopicPartition
    ) -> Callable[[int, int | None], Iterable[tuple[str | None, pa.Table]]]:
        """Yield rows of a topic-partition, as `lethe.integrity.verify.row_batch.Rows` says."""
        groups = self.groups.get(topic_partition, [])

        def between(first: int, last: int | None) -> Iterator[tuple[str | None, pa.Table]]:
            for group in groups:
                if group.last >= first and (last is None or group.first <= last):
                    table = self._read(group, topic_partition)
                    if table is not None:
                        yield f"metadata/{group.file.path}", _slice(table, group, first, last)

        return between

    def _look_through(self, file: DataFile) -> None:
        try:
            parquet = self._parquet(file)
            check_schema(schema_of(parquet))
            for number in range(parquet.num_row_groups):
                where = conform(parquet.read_row_group(number, columns=_WHERE, use_threads=False))
                self._note(file, number, where)
        except FileNotFoundError:
            self._found(Kind.MISSING, file, "the file is gone, and all its rows with it")
        except BROKEN as error:
            self._found(Kind.ALTERED, file, f"the file cannot be read ({type(error).__name__})")
        except LetheError as error:
            self._found(Kind.ALTERED, file, str(error))

    def _note(self, file: DataFile, number: int, where: pa.Table) -> None:
        if not where.num_rows:
            return
        if any(where.column(name).null_count for name in _WHERE):
            self._found(Kind.ALTERED, file, "rows have lost their position")
            where = where.drop_null()
        offsets = where.column("offset").to_numpy()
        bounds = _bounds(where, offsets)
        ordered = len(bounds) == 1 and bool((offsets[1:] >= offsets[:-1]).all())
        for found in bounds:
            topic_partition = str(found["stream"]), int(found["partition"])
            if self.wanted is None or topic_partition[0] == self.wanted:
                group = Group(
                    file, number, found["offset_min"], found["offset_max"], len(bounds) == 1, ordered
                )
                self.groups.setdefault(topic_partition, []).append(group)

    def _read(self, group: Group, topic_partition: TopicPartition) -> pa.Table | None:
        """Return the rows of a topic-partition in a row group, by offset if the group is not ordered itself."""
        key = group.file.path, group.number, topic_partition
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        try:
            parquet = self._parquet(group.file)
            table = in_utc(parquet.read_row_group(group.number), parquet)
            self._compare_notes(group, parquet, table)
            if not group.alone:
                here = pc.and_(
                    pc.equal(table["stream"], topic_partition[0]),
                    pc.equal(table["partition"], topic_partition[1]),
                )
                table = table.filter(here)
            if (group.file.path, topic_partition) in self.scoped:
                table = table.filter(pc.is_valid(table["integrity_hash"]))
            if not group.ordered:
                table = table.sort_by([("offset", "ascending")])
            table = _with_month(table, group.file.partition["month"])
        except BROKEN as error:
            self._found(Kind.ALTERED, group.file, f"the file cannot be read ({type(error).__name__})")
            return None
        self._held[key] = table
        while len(self._held) > _HELD_GROUPS:
            self._held.popitem(last=False)
        return table

    def _compare_notes(self, group: Group, parquet: pq.ParquetFile, rows: pa.Table) -> None:
        """Find a merged file that notes of its rows what they are not: a look-up believes it."""
        path = group.file.path
        if path not in self._notes:
            said = Contents.decode(parquet.metadata.metadata) if place_of(path) is not None else None
            self._notes[path] = None if said is None else Notes(said, _SCHEMA)
        notes = self._notes[path]
        if notes is not None and not notes.hold_of(group.number, rows):
            self._found(
                Kind.ALTERED, group.file, "what it notes of its rows is not what they are; look-ups show it"
            )

    def _parquet(self, file: DataFile) -> pq.ParquetFile:
        known = self._open.get(file.path)
        if known is None:
            if self.local:
                path = self.objects.url(f"metadata/{file.path}")
                opened(Path(path)).close()  # of a pipe or a device nothing is read, and nobody waits for it
                source = pa.memory_map(path)
            else:
                data = self.objects.get(f"metadata/{file.path}")
                if data is None:
                    raise FileNotFoundError(file.path)
                source = pa.BufferReader(data)
            # Dictionaries are kept: strings are then neither built nor searched for repetitions.
            known = open_parquet(source, None, _STRINGS)
            self._open[file.path] = known
            while len(self._open) > _OPEN_FILES:
                closed, _ = self._open.popitem(last=False)
                self._notes.pop(closed, None)
        self._open.move_to_end(file.path)
        return known

    def _found(self, kind: Kind, file: DataFile, detail: str) -> None:
        finding = Finding(kind, f"metadata/{file.path}", detail)
        if finding not in self.findings:
            self.findings.append(finding)


def _bounds(where: pa.Table, offsets: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return the first and last offset of each topic-partition among rows, at least one."""
    streams, partitions = where.column("stream").combine_chunks(), where.column("partition").to_numpy()
    if pa.types.is_dictionary(streams.type) and len(streams.dictionary) == 1:
        first, last = int(partitions.min()), int(partitions.max())
        if first == last:  # as of most files: grouping costs as much as 500 rows
            stream = streams.dictionary[0].as_py()
            ends = {"offset_min": int(offsets.min()), "offset_max": int(offsets.max())}
            return [{"stream": stream, "partition": first, **ends}]
    keys = where.group_by(["stream", "partition"], use_threads=False)
    found: list[dict[str, Any]] = keys.aggregate([("offset", "min"), ("offset", "max")]).to_pylist()
    return found


def _slice(table: pa.Table, group: Group, first: int, last: int | None) -> pa.Table:
    """Return the rows of an offset range, of a table in the order of its offsets."""
    if group.first >= first and (last is None or group.last <= last):
        return table
    offsets = table.column("offset").to_numpy()
    low = int(np.searchsorted(offsets, first, "left"))
    high = len(offsets) if last is None else int(np.searchsorted(offsets, last, "right"))
    return table.slice(low, high - low)


def _with_month(table: pa.Table, month: str) -> pa.Table:
    """Return the rows with the month whose partition they lie in, if they are not all of that month.

    What a file says of its month itself is left out: the table does not go by it.
    """
    if table.schema.get_all_field_indices("month"):
        table = table.drop_columns(["month"])
    if not table.num_rows:
        return table
    (start, end), span = _instants(month), extent(table.column("event_time"))
    if span and start <= span[0] and span[1] < end:
        return table
    return table.append_column("month", pa.repeat(pa.scalar(month), table.num_rows))


@cache
def _instants(month: str) -> tuple[int, int]:
    """Return the first instant of a month and of the next one (microseconds since 1970); of what is none, no time."""
    try:
        start, end = Month.parse(month).start(), Month.parse(month).plus(1).start()
        return pa.scalar(start, TIMESTAMP).value, pa.scalar(end, TIMESTAMP).value
    except (ValueError, OverflowError):
        return 0, 0  # every row is in the wrong place
