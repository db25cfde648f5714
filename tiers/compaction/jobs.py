"""A merge from its note to the deletion of the old files: every step can be done again, by anyone, after a crash.

What has to be done is read from notes and from the table, never from what a process remembers. Two compactors of the
same files have the same job and write the same bytes; of other files that overlap, the table lets one of them land.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import orjson

from lethe.schemas.errors import (
    ConfigurationError,
    FencedError,
    IntegrityError,
    LetheError,
    UnknownOutcomeError,
)
from lethe.tiers.compaction.layout import place_of
from lethe.tiers.compaction.perform import footers
from lethe.tiers.compaction.plan import Job, Task, job_of, tasks
from lethe.tiers.delta import rewrite
from lethe.tiers.delta.log import DataFile
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.delta.table import Table
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects

FOLDER: Final = "_compaction"
READERS: Final = timedelta(hours=1)
"""How long a reader that has opened a table before a merge finds the old files."""

Execute = Callable[[list[Task]], list[DataFile | None]]
"""Runs tasks, anywhere, and returns the files they wrote, in their order."""
State = Literal["planned", "performed", "settled"]
STATES: Final[tuple[State, ...]] = ("planned", "performed", "settled")


@dataclass(frozen=True, slots=True)
class Note:
    """What is written down of a job: how far it is, which files it wrote, since when the old ones are not needed."""

    job: Job
    state: State = "planned"
    outputs: tuple[DataFile, ...] = field(default=())
    since: datetime | None = None

    @property
    def path(self) -> str:
        """Where the note is. Each state has one of its own, which nobody changes."""
        return _path(self.job, self.state)

    def encode(self) -> bytes:
        """Return the note as bytes."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, data: bytes, path: str) -> Note:
        """Read a note; raises `LetheError` for one that is damaged."""
        try:
            raw = orjson.loads(data)
            since = datetime.fromisoformat(raw["since"]) if raw["since"] else None
            outputs = tuple(DataFile(**f) for f in raw["outputs"])
            return cls(job_of(raw["job"]), raw["state"], outputs, since)
        except (ValueError, TypeError, LookupError):
            raise LetheError(f"{path} is damaged; delete it: the merge it notes is planned anew") from None


def notes(objects: Objects, table: str) -> list[Note]:
    """Return the jobs of a table that are under way, or whose old files are still there for readers."""
    found: dict[str, Note] = {}
    for path in objects.list(f"{FOLDER}/{table}"):
        if (data := objects.get(path)) is not None:
            note = Note.decode(data, path)
            known = found.get(note.job.id)
            if known is None or STATES.index(known.state) < STATES.index(note.state):
                found[note.job.id] = note
    return [found[job] for job in sorted(found)]


def retired(objects: Objects, table: str) -> set[str]:
    """List files that a merge has taken out of a table and that readers may still read."""
    return {f.path for n in notes(objects, table) if n.state == "settled" for f in n.job.inputs}


def check_table(table: Table) -> None:
    """Raise `ConfigurationError` when another engine has upgraded a table beyond what can be merged here."""
    if not table.appendable:
        raise ConfigurationError(
            f"{table.name}: another engine has upgraded the table; compact it with that engine, nothing was changed"
        )


def run(
    objects: Objects, table: Table, job: Job, execute: Execute, now: Callable[[], datetime]
) -> Note | None:
    """Merge the files of a job and return its note; None if somebody has taken one of them out meanwhile.

    1. Note the job: from here on whoever finds a file of it knows why it is there. A crash leaves the note.
    2. Write the files, those that are not there yet. A crash leaves files in no commit; the next run writes the others.
    3. Note them. Their rows are as many as there were, or `IntegrityError`.
    4. Commit: the old files out, the new ones in, in one commit that the table refuses when an old one is gone already.
       A crash before leaves step 4 to be done again, a crash after leaves step 5.
    5. Note since when the old files are not needed. Readers that opened the table before have an hour; `tidy` follows.
    """
    # Steps 1 and 2
    begun = begin(objects, table, job)
    if begun is None:
        return None
    try:
        written = execute(begun.tasks) if begun.tasks else []
    except FencedError:
        _abandon(objects, table, begun.note)
        return None
    return finish(objects, table, begun.note, written, now)


@dataclass(frozen=True, slots=True)
class Begun:
    """A job that is noted, and the files that have to be written for it; none where that was done before."""

    note: Note
    tasks: list[Task]


def begin(objects: Objects, table: Table, job: Job) -> Begun | None:
    """Do step 1 of `run` and plan step 2; None if somebody has taken a file of the job out meanwhile."""
    note = _newest(objects, job)
    fail_point("compact.noted")
    if note.state != "planned":
        return Begun(note, [])
    try:
        return Begun(note, tasks(job, () if job.table == "identifiers" else footers(objects, job)))
    except FencedError:
        _abandon(objects, table, note)
        return None


def finish(
    objects: Objects,
    table: Table,
    note: Note,
    files: Sequence[DataFile | None],
    now: Callable[[], datetime],
) -> Note | None:
    """Do steps 3 to 5 of `run`, with the files that the tasks of a job have written, in their order."""
    job = note.job
    if note.state == "planned":
        fail_point("compact.performed")
        # Step 3
        written = tuple(f for f in files if f is not None)
        if sum(f.rows for f in written) != job.rows:
            raise IntegrityError(
                f"{job.table}: {sum(f.rows for f in written)} rows came of {job.rows}; nothing was changed; "
                "run `lethe verify`"
            )
        note = _advance(objects, replace(note, state="performed", outputs=written))
        fail_point("compact.ready")
    if note.state == "performed":
        # Step 4
        if not _commit(objects, table, note, now):
            _abandon(objects, table, note)
            return None
        fail_point("compact.committed")
        # Step 5
        note = _advance(objects, replace(note, state="settled", since=now().astimezone(UTC)))
        fail_point("compact.settled")
    return note


def _commit(objects: Objects, table: Table, note: Note, now: Callable[[], datetime]) -> bool:
    """Exchange the files of a job; False if that cannot land any more. An unknown outcome is settled by looking."""
    table.reload()
    there = {f.path for f in files_of(table, dict(note.job.partition))}
    if _landed(note, there):
        return True
    if not {f.path for f in note.job.inputs} <= there:
        return False
    check_table(table)
    for output in note.outputs:
        if objects.get_range(f"{table.name}/{output.path}", 0, 4) is None:
            raise FencedError(f"{table.name}: a merged file was deleted before its commit; run it again")
    try:
        stamp = int(now().timestamp() * 1000)
        rewrite.replace(table, note.job.inputs, note.outputs, stamp, "compact", data_change=False)
    except (FencedError, UnknownOutcomeError) as error:
        table.reload()
        there = {f.path for f in files_of(table, dict(note.job.partition))}
        if _landed(note, there):
            return True
        if isinstance(error, UnknownOutcomeError):
            raise
        return False
    return True


def _landed(note: Note, there: set[str]) -> bool:
    return any(f.path in there for f in note.outputs)


def _abandon(objects: Objects, table: Table, note: Note) -> None:
    table.reload()
    _discard(objects, table, note, {f.path for f in files_of(table)})


def _discard(objects: Objects, table: Table, note: Note, there: set[str]) -> None:
    """Forget a job that can never land: an old file of it is gone, and a file that is gone never comes back."""
    folder = "".join(f"{key}={value}/" for key, value in note.job.partition.items())
    for path in objects.list(f"{table.name}/{folder}".rstrip("/")):
        place = place_of(path)
        if (
            place is not None
            and place.job == note.job.id
            and path.removeprefix(f"{table.name}/") not in there
        ):
            objects.delete(path)
    _forget(objects, note.job)


def discard_fenced(objects: Objects, table: Table) -> None:
    """Delete what merges have written that can never land, because files of theirs were taken out: by an erasure,
    by the end of their month. It must not outlive these.
    """
    _discard_fenced(objects, table, *_listed(objects, table))


def _discard_fenced(objects: Objects, table: Table, listed: Sequence[Note], there: set[str]) -> None:
    for note in listed:
        inputs = {f.path for f in note.job.inputs}
        if note.state != "settled" and not inputs <= there and not _landed(note, there):
            _discard(objects, table, note, there)


def delete_retired(objects: Objects, table: Table) -> None:
    """Discard as `discard_fenced` does, and delete what merges have taken out of a table, readers or not: an erasure
    must not leave it.

    The notes of the merges name it, which a checkpoint of the table does for a week only.
    """
    listed, there = _listed(objects, table)
    _discard_fenced(objects, table, listed, there)
    for note in listed:
        for file in note.job.inputs:
            if file.path not in there and _landed(note, there):
                objects.delete(f"{table.name}/{file.path}")


def _listed(objects: Objects, table: Table) -> tuple[list[Note], set[str]]:
    """Return the notes there are and, as they were read before it, the files of the table."""
    listed = notes(objects, table.name)
    if not listed:
        return [], set()
    table.reload()
    return listed, {f.path for f in files_of(table)}


def tidy(objects: Objects, table: Table, now: datetime) -> int:
    """Delete old files whose readers' time is over, and what crashes have left; returns how many files there were.

    1. List files, then notes, then look at the table: a file that is in none of the later two is of no merge that can
       still land, since each is noted before its first file.
    2. Forget jobs that can never land.
    3. Delete the old files of jobs that landed an hour ago, then their notes.
    """
    # Step 1
    files = [p.removeprefix(f"{table.name}/") for p in objects.list(table.name)]
    listed = notes(objects, table.name)
    table.reload()
    there = {f.path for f in files_of(table)}
    noted = {n.job.id for n in listed} | {
        place.job for n in listed for f in n.job.inputs if (place := place_of(f.path))
    }
    deleted = 0
    for path in files:
        place = place_of(path)
        if place is not None and place.job not in noted and path not in there:
            objects.delete(f"{table.name}/{path}")
            deleted += 1
    # Step 2
    _discard_fenced(objects, table, listed, there)
    # Step 3
    for note in listed:
        if note.state == "settled" and note.since is not None and now - note.since >= READERS:
            for file in note.job.inputs:
                if file.path not in there:
                    objects.delete(f"{table.name}/{file.path}")
                    deleted += 1
            fail_point("compact.deleted")
            _forget(objects, note.job)
    return deleted


def unfinished(objects: Objects, table: Table) -> Iterator[Job]:
    """Yield the jobs that a crash has left, or that another compactor is about; they are finished before others are
    begun.
    """
    for note in notes(objects, table.name):
        if note.state != "settled":
            yield note.job


def free_files(objects: Objects, table: Table) -> Sequence[DataFile]:
    """Return the files of a table that no unfinished job has, as its handle sees it."""
    taken = {f.path for job in unfinished(objects, table) for f in job.inputs}
    return [f for f in files_of(table) if f.path not in taken]


def _path(job: Job, state: State) -> str:
    return f"{FOLDER}/{job.table}/{job.id}.{state}.json"


def _newest(objects: Objects, job: Job) -> Note:
    """Return the note of a job as far as anyone has brought it; noted now if nobody has."""
    for state in reversed(STATES):
        path = _path(job, state)
        if (data := objects.get(path)) is not None:
            return Note.decode(data, path)
    return _advance(objects, Note(job))


def _advance(objects: Objects, note: Note) -> Note:
    """Write a note's next state; where somebody else has, theirs counts."""
    objects.create(note.path, note.encode())
    data = objects.get(note.path)
    return note if data is None else Note.decode(data, note.path)


def _forget(objects: Objects, job: Job) -> None:
    """Delete the notes of a job, the last state at last: it tells the next run to do so again."""
    for state in STATES:
        objects.delete(_path(job, state))
