"""Compaction as people and the leader ask for it: what there is to merge, merged until nothing is due."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Any, Final

from lethe.operations.engines.tasks import Cluster, file_of
from lethe.operations.runtime import Runtime
from lethe.schemas.arrow import TABLES
from lethe.schemas.errors import ConfigurationError, LetheError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.compaction import jobs
from lethe.tiers.compaction.perform import perform
from lethe.tiers.compaction.plan import Job, Task, level_of, merges, runs_of
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.delta.table import Table

log = logging.getLogger("lethe.compact")

_PASSES: Final = 20


@dataclass(frozen=True, slots=True)
class Merge:
    """One merge that was made, or would be."""

    table: str
    partition: dict[str, str]
    files_before: int
    files_after: int | None
    rows: int
    bytes_before: int
    bytes_after: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """One partition of a table as it is: `runs` by level, and how many merges are due."""

    table: str
    partition: dict[str, str]
    files: int
    rows: int
    bytes: int
    levels: dict[str, int]
    due: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What to compact: tables, one month or all, and where. `whole`: one run a partition, whatever it costs."""

    tables: tuple[str, ...] = tuple(
        name for name in TABLES if name not in ("adjustments", "codes")
    )  # those stay small
    month: str | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        """Refuse what there cannot be."""
        for table in self.tables:
            if table not in TABLES:
                raise ConfigurationError(f"no table is called so; there are {', '.join(TABLES)}")
        if self.month is not None:
            try:
                Month.parse(self.month)
            except ValueError:
                raise ConfigurationError("a month is written as 2026-11") from None


def compact(
    runtime: Runtime,
    asked: Asked,
    cluster: Cluster | None = None,
    on_merge: Callable[[Merge], None] = lambda _: None,
    go_on: Callable[[], bool] = lambda: True,
) -> list[Merge]:
    """Merge what is due, table by table, until nothing is; workers, look-ups and other maintenance go on meanwhile.

    1. Finish the merges that a crash has left.
    2. Plan from the table as it is, and merge; again, until nothing is due or `go_on` says no. On a cluster the files
       of all merges due are written together: one alone has mostly fewer than there are workers.
    3. Write a checkpoint, so that opening the table reads none of the commits of the merged files.
    4. Note in the ledger, which comes after the archive, that what was merged there needs no look again.
    5. Delete the old files of merges that are an hour old.

    A merge that fails keeps no other from being made; its error is raised at the end.
    """
    done: list[Merge] = []
    failures: list[LetheError] = []
    for name in asked.tables:
        try:
            table = Table(runtime.objects, name, runtime.storage)
            jobs.check_table(table)
            _compact(runtime, table, asked, cluster, done, failures, on_merge, go_on)
            if any(merge.table == name for merge in done):
                table.write_checkpoint()
                if name == "metadata":
                    runtime.warehouse.pass_over()
            jobs.tidy(runtime.objects, table, runtime.clock())
        except LetheError as error:
            failures.append(error)
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise type(failures[0])(f"{failures[0]}{more}") from failures[0]
    return done


def _compact(
    runtime: Runtime,
    table: Table,
    asked: Asked,
    cluster: Cluster | None,
    done: list[Merge],
    failures: list[LetheError],
    on_merge: Callable[[Merge], None],
    go_on: Callable[[], bool],
) -> None:
    tried: set[str] = set()
    for _ in range(_PASSES):
        # Step 1
        due = [job for job in jobs.unfinished(runtime.objects, table) if job.id not in tried]
        # Step 2
        if not due:
            due = [job for job in _due(runtime, table, asked) if job.id not in tried]
        if not due:
            return
        together = _Together(runtime, table, cluster, due if len(due) > 1 else ())
        for job in due:
            if not go_on():
                return
            tried.add(job.id)
            try:
                note = together.merged(job)
            except LetheError as error:
                failures.append(error)
                continue
            if note is not None:
                done.append(_merge(job, note.outputs))
                on_merge(done[-1])


class _Together:
    """Jobs whose files are all given to a cluster at once; each is committed as soon as its own are written.

    Where one fails, each of the rest is done by itself, which tells whose fault it is; what was written of it is
    written again, the same bytes.
    """

    def __init__(self, runtime: Runtime, table: Table, cluster: Cluster | None, due: Sequence[Job]) -> None:
        self._runtime, self._table, self._cluster = runtime, table, cluster
        self._begun: dict[str, jobs.Begun] = {}
        self._files: Iterator[Any] = iter(())
        if cluster is None or not due:
            return
        try:
            begun = [one for job in due if (one := jobs.begin(runtime.objects, table, job)) is not None]
        except LetheError:
            return
        self._begun = {one.note.job.id: one for one in begun}
        self._files = cluster.map("compact", [task.to_json() for one in begun for task in one.tasks])

    def merged(self, job: Job) -> jobs.Note | None:
        """Merge the files of a job, those of its turn; raises as `jobs.run` does."""
        runtime, table = self._runtime, self._table
        if (begun := self._begun.pop(job.id, None)) is not None:
            try:
                files = [file_of(raw) for raw in islice(self._files, len(begun.tasks))]
            except LetheError:
                self._begun.clear()
            else:
                return jobs.finish(runtime.objects, table, begun.note, files, runtime.clock)
        return jobs.run(runtime.objects, table, job, _execute(runtime, self._cluster), runtime.clock)


def due(runtime: Runtime, asked: Asked) -> list[Merge]:
    """Say what a compaction would do first. Nothing is changed."""
    found = []
    for name in asked.tables:
        table = Table(runtime.objects, name, runtime.storage)
        found += [_merge(job, None) for job in _due(runtime, table, asked)]
    return found


def overview(runtime: Runtime, asked: Asked) -> list[Part]:
    """Count files, rows, bytes and levels of each partition, and the merges a compaction would begin with."""
    found = []
    for name in asked.tables:
        table = Table(runtime.objects, name, runtime.storage)
        files = _chosen(files_of(table), asked)
        partitions = sorted({tuple(sorted(f.partition.items())) for f in files})
        for key in partitions:
            mine = [f for f in files if tuple(sorted(f.partition.items())) == key]
            levels: dict[str, int] = {}
            for run in runs_of(mine):
                level = str(level_of(run))
                levels[level] = levels.get(level, 0) + 1
            waiting = merges(name, mine, runtime.clock(), asked.whole)
            found.append(
                Part(
                    name, dict(key), len(mine), sum(f.rows for f in mine), sum(f.size for f in mine),
                    dict(sorted(levels.items())), len(waiting),
                )
            )  # fmt: skip
    return found


def _due(runtime: Runtime, table: Table, asked: Asked) -> list[Job]:
    table.reload()
    files = _chosen(jobs.free_files(runtime.objects, table), asked)
    return merges(table.name, files, runtime.clock(), asked.whole)


def _chosen(files: Sequence[DataFile], asked: Asked) -> list[DataFile]:
    return [f for f in files if asked.month is None or f.partition.get("month") == asked.month]


def _execute(runtime: Runtime, cluster: Cluster | None) -> jobs.Execute:
    """Run tasks on a cluster, or here and now when there is none."""

    def execute(tasks: list[Task]) -> list[DataFile | None]:
        if cluster is None:
            return [perform(runtime.objects, task) for task in tasks]
        return [file_of(raw) for raw in cluster.map("compact", [task.to_json() for task in tasks])]

    return execute


def _merge(job: Job, outputs: Sequence[DataFile] | None) -> Merge:
    after = None if outputs is None else len(outputs)
    size = None if outputs is None else sum(f.size for f in outputs)
    return Merge(job.table, dict(job.partition), len(job.inputs), after, job.rows, job.size, size)


def compact_for(runtime: Runtime, seconds: float) -> list[Merge]:
    """Merge what is due here and now, beginning no merge after so many seconds: what the leader does in its sweep."""
    end = monotonic() + seconds
    return compact(runtime, Asked(), go_on=lambda: monotonic() < end)
