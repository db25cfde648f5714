"""Which files are merged next, and where their rows are cut: pure, from what the table's log and the footers say.

Runs of about one size are merged when there are sixteen of them, so that a row is written once for each time the month
has become sixteen times larger: five times at most for a month of a million files. A month that is over is merged
whole, once what has come since is worth it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import pyarrow as pa

import lethe
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.compaction.layout import (
    FILE_BYTES,
    SLICE_BYTES,
    SLICE_ROWS,
    TOKENS,
    USUAL_FILE_BYTES,
    USUAL_SLICE_ROWS,
    place_of,
)
from lethe.tiers.delta.log import DataFile

RUNS: Final = 16
"""Runs of about one size that are merged into one."""
_MOST_RUNS: Final = 128
_SMALLEST: Final = 4_096
_OVER: Final = timedelta(days=2)
"""How long after its end a month is merged whole: late records have come by then."""
_LATE_RUNS: Final = 4
_WORTH: Final = 4
"""A month that is over is merged whole when what has come since is a quarter of it."""

_MOST_FOOTERS: Final = 1_000_000
"""What footers are shared out into, about; of more only some are looked at, for all."""
_MOST_PARTITIONS: Final = 100_000
"""A footer that tells of more is not shared out: no topic has as many, and who says so may have been tampered with."""

Key = tuple[str, int, int]
"""Stream, partition, offset."""
Bound = int | Key | None
"""Where a slice of a table begins or ends: a prefix of tokens or a position; None: where the table does."""
Footer = tuple[Key, Key, int]
"""The first and last position that the rows of a row group can have, and how many rows it has."""


@dataclass(frozen=True, slots=True)
class Job:
    """One merge: the files of a partition that become a run. `release` is the code that does it."""

    table: str
    partition: Mapping[str, str]
    inputs: tuple[DataFile, ...]
    id: str
    release: str

    @property
    def rows(self) -> int:
        """How many rows the run will have."""
        return sum(f.rows for f in self.inputs)

    @property
    def size(self) -> int:
        """How many bytes are read, and about as many written."""
        return sum(f.size for f in self.inputs)


@dataclass(frozen=True, slots=True)
class Task:
    """One file of a run to be written: which of the job's rows are in it, slice by slice. No key, no identifier."""

    job: Job
    number: int
    of: int
    slices: tuple[tuple[Bound, Bound], ...]

    def to_json(self) -> str:
        """Return the task as text, for an engine to carry."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Read a task back."""
        raw = json.loads(text)
        slices = tuple((_bound(a), _bound(b)) for a, b in raw["slices"])
        return cls(job_of(raw["job"]), raw["number"], raw["of"], slices)


def job_of(raw: Mapping[str, Any]) -> Job:
    """Read a job back from its JSON."""
    return Job(**{**raw, "inputs": tuple(DataFile(**f) for f in raw["inputs"])})


def _bound(raw: Any) -> Bound:
    return (str(raw[0]), int(raw[1]), int(raw[2])) if isinstance(raw, list) else raw


def release() -> str:
    """Say what has to be the same wherever tasks of one job run, so that they write the same bytes."""
    return f"lethe {lethe.__version__}, pyarrow {pa.__version__}"


def check_release(planned: str) -> None:
    """Raise `ConfigurationError` where a task comes from another release than the one that would do it."""
    if planned != release():
        raise ConfigurationError(f"a task of {planned} does not run here ({release()}); use one release")


def new_job(table: str, partition: Mapping[str, str], inputs: Iterable[DataFile]) -> Job:
    """Make a job of files; the same files give the same job, whoever makes it."""
    files = tuple(sorted(inputs, key=lambda f: f.path))
    text = json.dumps([table, sorted(partition.items()), [f.path for f in files], release()])
    return Job(table, dict(partition), files, sha256(text.encode()).hexdigest()[:16], release())


def runs_of(files: Iterable[DataFile]) -> list[list[DataFile]]:
    """Return the runs that files of a partition make up, the smallest first. A file of a worker is a run of its own."""
    runs: dict[str, list[DataFile]] = {}
    for file in files:
        place = place_of(file.path)
        runs.setdefault(place.job if place else file.path, []).append(file)
    return sorted(runs.values(), key=lambda run: (_size(run), run[0].path))


def level_of(run: Sequence[DataFile]) -> int:
    """Say how large a run is, in powers of sixteen of 4 KB."""
    level, size = 0, _size(run) // _SMALLEST
    while size >= RUNS:
        level, size = level + 1, size // RUNS
    return level


def merges(table: str, files: Sequence[DataFile], now: datetime, whole: bool = False) -> list[Job]:
    """Choose what to merge next in each partition of a table; `whole` makes each one run. Empty: nothing is due."""
    partitions: dict[tuple[tuple[str, str], ...], list[DataFile]] = {}
    for file in files:
        partitions.setdefault(tuple(sorted(file.partition.items())), []).append(file)
    jobs = []
    for partition, mine in sorted(partitions.items()):
        runs = runs_of(mine)
        if whole:
            chosen = [runs] if len(runs) > 1 or place_of(runs[0][0].path) is None else []
        else:
            chosen = _over(runs) if _is_over(dict(partition), now) else _levels(table, runs)
        jobs += [new_job(table, dict(partition), (f for run in some for f in run)) for some in chosen]
    return jobs


def _levels(table: str, runs: Sequence[list[DataFile]]) -> list[list[list[DataFile]]]:
    """Choose of each level with sixteen runs as many as fit into memory well."""
    levels: dict[int, list[list[DataFile]]] = {}
    for run in runs:
        levels.setdefault(level_of(run), []).append(run)
    chosen = []
    for level in sorted(levels):
        waiting = levels[level]
        while len(waiting) >= RUNS:
            count = min(_MOST_RUNS, len(waiting), max(RUNS, _fitting(table, waiting)))
            chosen.append(waiting[:count])
            waiting = waiting[count:]
    return chosen


def _fitting(table: str, runs: Sequence[list[DataFile]]) -> int:
    """Count how many runs have no more rows than are sorted at a time: small files are read once for each time."""
    rows = 0
    for count, run in enumerate(runs):
        rows += sum(f.rows for f in run)
        if rows > _slice_rows(table, sum(map(_size, runs)), max(1, sum(f.rows for r in runs for f in r))):
            return count
    return len(runs)


def _over(runs: Sequence[list[DataFile]]) -> list[list[list[DataFile]]]:
    if len(runs) < 2:
        return []
    *rest, largest = runs
    if sum(map(_size, rest)) * _WORTH >= _size(largest) or place_of(largest[0].path) is None:
        return [list(runs)]
    return [rest] if len(rest) >= _LATE_RUNS else []


def _is_over(partition: Mapping[str, str], now: datetime) -> bool:
    try:
        return "month" in partition and Month.parse(partition["month"]).plus(1).start() + _OVER <= now
    except (ValueError, OverflowError):
        return False


def tasks(job: Job, footers: Iterable[Footer] = ()) -> list[Task]:
    """Cut a job into the files it will write. `footers` of all its inputs are needed for all but identifiers."""
    slice_rows = _slice_rows(job.table, job.size, max(1, job.rows))
    file_bytes = FILE_BYTES.get(job.table, USUAL_FILE_BYTES)
    if job.table == "identifiers":
        of = -(-job.size // file_bytes)
        each = max(1, -(-job.rows // (of * slice_rows)))
        cuts = [-(-TOKENS * at // (of * each)) for at in range(of * each)]
        slices = list(zip(cuts, [*cuts[1:], None], strict=True))
        parts = [tuple(slices[at * each : (at + 1) * each]) for at in range(of)]
        return [Task(job, number, of, part) for number, part in enumerate(parts)]
    keys = _cut(sorted(_by_partition(list(footers))), slice_rows)
    bounds: list[tuple[Bound, Bound]] = list(zip([None, *keys], [*keys, None], strict=True))
    each = max(1, file_bytes * max(1, job.rows) // max(1, job.size) // slice_rows)
    groups = [tuple(bounds[at : at + each]) for at in range(0, len(bounds), each)]
    return [Task(job, number, len(groups), part) for number, part in enumerate(groups)]


def _by_partition(footers: Sequence[Footer]) -> list[Footer]:
    """Return footers of rows of one partition each: of those that tell of many the rows are shared out.

    A worker's file has rows of all its partitions. Taken as a whole each would begin in the first of them, and all that
    lies in the others would come into the last slice.
    """

    def is_wide(footer: Footer) -> bool:
        first, last, _ = footer
        return first[0] == last[0] and first[1] < last[1] < first[1] + _MOST_PARTITIONS

    wide = sorted(filter(is_wide, footers))
    found = [footer for footer in footers if not is_wide(footer)]
    step = max(1, sum(last[1] - first[1] + 1 for first, last, _ in wide) // _MOST_FOOTERS)
    for first, last, count in wide[::step]:
        partitions = range(first[1], last[1] + 1)
        share = -(-count * step // len(partitions))
        found += [((first[0], at, first[2]), (first[0], at, last[2]), share) for at in partitions]
    return found


def _cut(footers: Sequence[Footer], slice_rows: int) -> list[Key]:
    """Choose positions between which lie about as many rows as are sorted at a time."""
    cuts: list[Key] = []
    rows = 0
    for first, _, count in footers:
        if rows and rows + count > slice_rows and (not cuts or first > cuts[-1]):
            cuts.append(first)
            rows = 0
        rows += count
    return cuts


def _slice_rows(table: str, size: int, rows: int) -> int:
    return max(1, min(SLICE_ROWS.get(table, USUAL_SLICE_ROWS), SLICE_BYTES * rows // max(1, size)))


def _size(run: Iterable[DataFile]) -> int:
    return sum(f.size for f in run)
