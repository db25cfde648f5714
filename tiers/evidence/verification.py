"""Verification of the whole archive: log, ledger and rows of every topic-partition, at one version of the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from cryptography.x509 import Certificate

from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.entries import Entry, Log
from lethe.integrity.log.note import Note
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.log.store import CHECKPOINT, REPLAYS, log_origin
from lethe.integrity.verify.archive import Progress, verify_archive
from lethe.integrity.verify.findings import Finding, Kind
from lethe.integrity.verify.log import verify_ledger, verify_log
from lethe.integrity.verify.replays import At, only, verify_replays
from lethe.integrity.verify.row_batch import Months, Rows
from lethe.keys.anchors import LedgerKey
from lethe.schemas.errors import ConfigurationError, IntegrityError, LetheError
from lethe.schemas.position import STREAM_PATTERN
from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.data_class import DataClass
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.tiers.archive.rows import Archive
from lethe.tiers.commit import declarations, ledger_entries
from lethe.tiers.commit.ledger_entries import REPLAYED
from lethe.tiers.evidence import parts
from lethe.tiers.evidence.log_store import FOLDER, LogStore, OneLook, logs_among, read_log
from lethe.tiers.evidence.unchanged import Unchanged
from lethe.tiers.ledger.commits import TopicPartition
from lethe.tiers.ledger.reading import read_ledger
from lethe.tiers.warehouse import Warehouse


@dataclass(slots=True)
class Report:
    """What was verified. `rows` are those in scope, `outside` those out of it, `first` the oldest month (None: all).

    `unchanged` counts rows out of scope in data files that are byte for byte as they were written: these were not read.
    `unpublished` counts commits that are not in their logs yet; their rows were not compared. `silent` counts those
    whose log entry is of version 1, which says nothing of rows out of scope. `more` counts findings that parts did not
    name, because there were too many.
    """

    version: int = -1
    logs: int = 0
    entries: int = 0
    rows: int = 0
    outside: int = 0
    unchanged: int = 0
    silent: int = 0
    stamps: int = 0
    unpublished: int = 0
    expected: int = 0
    more: int = 0
    first: Month | None = None
    last: Month | None = None


@dataclass(frozen=True, slots=True)
class Verifier:
    """What verification goes by: who is trusted, what else is known, and what is asked for.

    `known` are signed checkpoints that were kept elsewhere; those that are kept with the keys are added to them. `tick`
    is told (rows done, rows expected). Nothing is signed.
    """

    warehouse: Warehouse
    history: KeyHistory
    policy: RetentionPolicy
    now: datetime
    stream: str | None = None
    since: Month | None = None
    until: Month | None = None
    known: Sequence[bytes] = ()
    stamp_roots: Sequence[Certificate] = ()
    tick: Callable[[int, int], None] = lambda _done, _all: None
    report: Report = field(default_factory=Report)
    seen: set[bytes] = field(default_factory=set)
    undone: frozenset[str] = frozenset()
    """Streams of files that were taken out again, as certificates say that a trusted key has signed."""
    spread: parts.Spread | None = None
    """Does the work in parts, elsewhere; None: here."""
    every_row: bool = False
    """Are rows of unchanged files read, too?"""
    unchanged: dict[TopicPartition, set[int]] = field(default_factory=dict)
    """First offsets of commits whose rows out of scope are known to be as they were logged."""
    opened: dict[TopicPartition, Log] = field(default_factory=dict)
    """Logs that were opened to be told of data files: none is opened twice."""
    readers: dict[TopicPartition, OneLook] = field(default_factory=dict)
    """What reads the logs that are not compared yet."""
    listed: list[str] = field(default_factory=list)
    """What there is of all logs, listed once."""

    def run(self) -> Iterator[Finding]:
        """Yield every finding. The table is pinned first and the logs are opened after it, so that nothing is missed.

        Commits after the pinned version are left out: their publication may still be on its way.
        """
        report, table = self.report, self.warehouse.metadata
        self.warehouse.publish()
        table.reload()
        report.version = table.version
        report.first, report.last = self.first_month(), self.until
        look = None if self.spread is None else partial(parts.looked_through, spread=self.spread)
        unchanged = self._noted() if look is None and not self.every_row else Unchanged(Months())
        archive = Archive.of(
            self.warehouse.objects, table, report.first, report.last, self.stream, look, unchanged.leave_out
        )
        unchanged.settle(archive)
        self.unchanged.update(unchanged.proven)
        yield from archive.findings
        ledger, broken = self._ledger()
        yield from (Finding(Kind.ALTERED, path, what) for path, what in sorted(broken.items()))
        yield from self._forged(ledger)
        yield from self._notes()
        topic_partitions = sorted(set(archive.groups) | set(_places(ledger)) | set(self._logs()))
        if self.stream is not None and not topic_partitions:
            raise LetheError("no stream is called so; lethe ledger shows those there are")
        report.expected = sum(
            pc.sum(ledger.column(name)).as_py() or 0 for name in ("in_scope", "out_of_scope")
        )
        said = set(archive.findings)
        replayed = pc.equal(ledger["source"], REPLAYED)
        elsewhere: dict[TopicPartition, set[At]] = {}
        yield from self._replays(archive, ledger.filter(replayed), elsewhere)
        if self.spread is not None:
            yield from self._in_parts(self.spread, archive, topic_partitions, elsewhere, said)
            return
        yield from self._places(
            archive, ledger.filter(pc.invert(replayed)), topic_partitions, elsewhere, said
        )

    def _noted(self) -> Unchanged:
        """Return what the logs say of data files; what is wrong with a log is named when its rows are compared."""
        noted = Unchanged(Months(self.report.first, self.report.last))
        for topic_partition in sorted(set(self._logs())):
            if topic_partition == REPLAYS or topic_partition[0] in self.undone:
                continue
            with suppress(IntegrityError):
                log = read_log(self._reader(topic_partition), self.history, topic_partition)
                if log is not None:
                    self.opened[topic_partition] = log
                    noted.note(topic_partition, log, self._pinned(log))
        return noted

    def _pinned(self, log: Log) -> Iterator[Entry]:
        for index in range(log.size):
            with suppress(IntegrityError):
                entry = log.entry(index)
                if entry.version <= self.report.version:
                    yield entry

    def _places(
        self,
        archive: Archive,
        ledger: pa.Table,
        topic_partitions: Iterable[TopicPartition],
        elsewhere: dict[TopicPartition, set[At]],
        said: set[Finding],
    ) -> Iterator[Finding]:
        for topic_partition in topic_partitions:
            yield from self._place(archive, ledger, topic_partition, elsewhere.get(topic_partition, set()))
            yield from (finding for finding in archive.findings if finding not in said)
            said.update(archive.findings)
            self.readers.pop(topic_partition, None)

    def _in_parts(
        self,
        spread: parts.Spread,
        archive: Archive,
        topic_partitions: Sequence[TopicPartition],
        elsewhere: dict[TopicPartition, set[At]],
        said: set[Finding],
    ) -> Iterator[Finding]:
        """Yield what parts found, done elsewhere, and count what they counted."""
        asked = {
            "version": self.report.version, "stream": self.stream, "keys": [str(k) for k in self.history.keys],
            "since": None if self.report.first is None else str(self.report.first),
            "until": None if self.report.last is None else str(self.report.last),
            "known": [bytes(note).decode() for note in self._checkpoints()], "undone": sorted(self.undone),
            "vouched": self._key() is not None,
        }  # fmt: skip
        tasks = parts.compare_tasks(archive, topic_partitions, elsewhere, asked)
        for done in spread(parts.COMPARE, tasks):
            for name, count in done["counts"].items():
                setattr(self.report, name, getattr(self.report, name) + count)
            self.report.more += done["more"]
            self.tick(self.report.rows + self.report.outside, self.report.expected)
            for finding in map(parts.finding_of, done["findings"]):
                # Of a file or a declaration several parts may have told.
                shared = finding.where.startswith(("metadata/", "declaration "))
                if not (shared and finding in said):
                    yield finding
                if shared:
                    said.add(finding)

    def compare(self, task: Any) -> Any:
        """Verify the topic-partitions of a task of `lethe.tiers.evidence.parts`, and return what came of it.

        Raises `ConfigurationError` where other keys are known than where the task was planned.
        """
        if (task["keys"], task["vouched"]) != ([str(k) for k in self.history.keys], self._key() is not None):
            raise ConfigurationError(
                "a worker has not the signing keys of this machine; give all of them the same key directory"
            )
        self.report.version = task["version"]
        self.report.first, self.report.last = parts.month(task["since"]), parts.month(task["until"])
        archive, elsewhere = parts.archive_of(Archive(self.warehouse.objects, [], self.stream), task)
        ledger, _ = self._ledger()
        ledger = ledger.filter(pc.not_equal(ledger["source"], REPLAYED))
        places = [(str(stream), int(partition)) for stream, partition in task["places"]]
        return parts.said(self._places(archive, ledger, places, elsewhere, set()), self.report)

    def _checkpoints(self) -> Sequence[bytes]:
        """Return signed checkpoints that are kept where the warehouse's writers cannot change them."""
        anchors = self.warehouse.anchors
        return [*self.known, *(anchors.all_signed() if anchors else ())]

    def first_month(self) -> Month | None:
        """Return the oldest month whose rows must all be there: expired ones are not missing.

        Where countries have periods of their own, rows of a month leave the archive at different times, and a leaf
        file does not say of which country a row was: the shortest period decides.
        """
        years = self.policy.lengths(DataClass.ARCHIVE)[0]
        kept = Month(self.now.year - years, 1)
        return max(kept, self.since) if self.since else kept

    def _replays(
        self, archive: Archive, ledger: pa.Table, elsewhere: dict[TopicPartition, set[At]]
    ) -> Iterator[Finding]:
        """Yield the log of replays; adds to `elsewhere` the rows that it answers for."""
        if not ledger.num_rows and not self._known(REPLAYS):
            return
        log = yield from self._open(REPLAYS)
        if log is None:
            return
        entries, _ = yield from self._counted(log)
        counted = [entry for entry in entries if self.stream in (None, entry.stream)]
        yield from verify_ledger(counted, ledger, log.origin)
        months = Months(self.report.first, self.report.last)
        counted = [entry for entry in counted if entry.stream not in self.undone]
        for found in verify_replays(log, counted, archive.rows, months):
            if isinstance(found, Finding):
                yield found
                continue
            topic_partition, mine = found
            elsewhere.setdefault(topic_partition, set()).update(mine)
            self.report.rows, self.report.entries = self.report.rows + len(mine), self.report.entries + 1
        yield from self._declarations(counted)

    def _place(
        self, archive: Archive, ledger: pa.Table, topic_partition: TopicPartition, elsewhere: set[At]
    ) -> Iterator[Finding]:
        """Yield one topic-partition, without the rows that the log of replays answers for."""
        stream, partition = topic_partition
        mine = ledger.filter(
            pc.and_(
                pc.equal(ledger["stream"], stream),
                pc.equal(ledger["partition"], pa.scalar(partition, pa.int32())),
            )
        )
        rows = (
            only(archive.rows(topic_partition), elsewhere, without=True)
            if elsewhere
            else archive.rows(topic_partition)
        )
        if topic_partition == REPLAYS or not (
            mine.num_rows or self._known(topic_partition)
        ):  # no stream is called so
            yield from _unaccounted(rows, topic_partition)
            return
        if not self._known(topic_partition) and self._waiting(mine, []) is not None:
            return  # of a topic-partition whose log is about to begin
        log = yield from self._open(topic_partition)
        if log is None:
            return
        counted, pinned = yield from self._counted(log)
        cut = any(_size(note) > log.size for note in self._checkpoints() if _origin(note) == log.origin)
        waiting = None if cut else self._waiting(mine, counted)
        if waiting is not None:
            mine = mine.filter(pc.less(mine["first_offset"], waiting))
            rows = _before(rows, waiting)
        yield from verify_ledger(counted, mine, log.origin)
        if stream in self.undone:  # a signed certificate says that none of its rows is left
            yield from _left(rows, topic_partition)
            return
        months = Months(self.report.first, self.report.last)
        before = self.report.rows, self.report.entries, self.report.outside, self.report.unchanged

        def moved(state: Progress) -> None:
            report = self.report
            report.rows, report.entries = before[0] + state.rows, before[1] + state.entries
            report.outside, report.unchanged = before[2] + state.outside, before[3] + state.unchanged
            self.tick(report.rows + report.outside, max(report.expected, report.rows + report.outside))

        progress = Progress(tick=moved)
        yield from verify_archive(
            log, rows, months, pinned, progress, self.unchanged.get(topic_partition, set())
        )
        moved(progress)
        self.report.silent += sum(entry.outside is None for entry in counted)
        yield from self._declarations(counted)

    def _notes(self) -> Iterator[Finding]:
        """Yield the notes that brought in the signing keys and are not, or not so, where a verifier looks for them."""
        store = LogStore(self.warehouse.objects, f"{FOLDER}/keys")
        for number, note in enumerate(self.history.notes if self._listing() else ()):
            found = store.get(str(number))
            if found != bytes(note):
                kind = Kind.MISSING if found is None else Kind.ALTERED
                detail = "it brought in a set of signing keys; the next start of a worker puts it there again"
                if found is not None:
                    detail = "it is not the note that brought in the signing keys: remove it"
                yield Finding(kind, store.path(str(number)), detail)

    def _declarations(self, entries: Sequence[Entry]) -> Iterator[Finding]:
        """Yield the declarations that entries name and that are missing or altered."""
        for digest in sorted({digest for entry in entries for digest in entry.declarations} - self.seen):
            self.seen.add(digest)
            try:
                declarations.read(self.warehouse.objects, digest)
            except IntegrityError as error:
                where = f"declaration {digest.hex()}"
                yield Finding(Kind.NOT_PROVEN, where, f"who is origin and destination is not proven: {error}")

    def _forged(self, ledger: pa.Table) -> Iterator[Finding]:
        """Find ledger rows that are not what was committed, as far as this machine can tell."""
        key = self._key()
        for row in ledger.to_pylist() if key else ():
            if key and row["version"] >= key.since and not ledger_entries.authentic(row, key):
                where = f"ledger offsets {row['first_offset']} to {row['last_offset']}"
                where += f" of {row['stream']}/{row['partition']}"
                yield Finding(
                    Kind.ALTERED, where, "it is not what was committed: its authentication code is wrong"
                )

    def _waiting(self, ledger: pa.Table, entries: Sequence[Entry]) -> int | None:
        """Return the first offset of commits that wait to be published, of rows that were authenticated; None for none.

        A worker publishes seconds after its commits.
        """
        key, end = self._key(), max((entry.last_offset for entry in entries), default=-1)
        waiting = (
            [r for r in ledger.to_pylist() if r["first_offset"] > end and r["gap"] is None] if key else []
        )
        if not key or not waiting or not all(ledger_entries.authentic(row, key) for row in waiting):
            return None
        self.report.unpublished += len(waiting)
        return int(min(row["first_offset"] for row in waiting))

    def _key(self) -> LedgerKey | None:
        return self.warehouse.anchors.known_ledger_key if self.warehouse.anchors else None

    def _known(self, topic_partition: TopicPartition) -> bool:
        """Tell whether there is a log, or a checkpoint of one that was kept elsewhere.

        Rows may say that they are of any stream: what none can be called has no log, and becomes no path.
        """
        if not STREAM_PATTERN.fullmatch(topic_partition[0]) and topic_partition != REPLAYS:
            return False
        origin = log_origin(self.history.name, *topic_partition)
        published = self._reader(topic_partition).get(CHECKPOINT) is not None
        return published or any(_origin(note) == origin for note in self._checkpoints())

    def _reader(self, topic_partition: TopicPartition) -> OneLook:
        if topic_partition not in self.readers:
            store = LogStore.of(self.warehouse.objects, *topic_partition)
            self.readers[topic_partition] = OneLook(store)
        return self.readers[topic_partition]

    def _listing(self) -> list[str]:
        if not self.listed:
            self.listed.extend(self.warehouse.objects.list(FOLDER))
        return self.listed

    def _open(self, topic_partition: TopicPartition) -> Generator[Finding, None, Log | None]:
        """Yield a log, once it is verified. None: `verify_log` has named why, and nothing about its rows can be
        said.
        """
        origin, reader = log_origin(self.history.name, *topic_partition), self._reader(topic_partition)
        known = [note for note in self._checkpoints() if _origin(note) == origin]
        yield from verify_log(reader, self.history, origin, known, self.stamp_roots)
        try:
            log = self.opened.pop(topic_partition, None) or Log(reader, self.history, origin)
        except IntegrityError:
            return None
        self.report.logs += 1
        self.report.stamps += sum(path.endswith("/response") for path in reader.list("stamps"))
        return log

    def _counted(self, log: Log) -> Generator[Finding, None, tuple[list[Entry], int | None]]:
        """Yield the entries of commits the pinned table has, and its version; None if the table has lost some of
        them.
        """
        entries = []
        for index in range(log.size):
            try:
                entry = log.entry(index)
            except IntegrityError:
                continue
            entries.append(entry)
        newest = max((entry.version for entry in entries), default=-1)
        pinned: int | None = self.report.version
        if newest > self.report.version:
            # Of a commit that landed after the table was pinned; or of one that the table has lost.
            ends = self.warehouse.table("metadata").version
            if newest > ends:
                detail = f"the log has a commit of version {newest}, the table now ends with version {ends}"
                yield Finding(Kind.CUT_BACK, f"{log.origin} metadata", detail)
                pinned = None
        return [entry for entry in entries if pinned is None or entry.version <= pinned], pinned

    def _ledger(self) -> tuple[pa.Table, dict[str, str]]:
        self.warehouse.ledger.reload()
        rows, broken = read_ledger(
            self.warehouse, None if self.stream is None else pc.field("stream") == self.stream
        )
        return rows.filter(pc.less_equal(rows["version"], self.report.version)), broken

    def _logs(self) -> Iterable[TopicPartition]:
        """List topic-partitions with a log, or with a checkpoint kept elsewhere, whatever the ledger knows of them."""
        yield from (
            topic_partition
            for topic_partition in logs_among(self._listing())
            if self.stream in (None, topic_partition[0])
        )
        name = self.history.name
        for note in self._checkpoints():
            parts = _origin(note).removeprefix(f"{name}/").split("/")
            mine = len(parts) == 2 and parts[1].isdigit() and (parts[0], int(parts[1])) != REPLAYS
            if mine and self.stream in (None, parts[0]):
                yield parts[0], int(parts[1])


def _before(rows: Rows, end: int) -> Rows:
    """Yield the rows before an offset."""

    def chosen(first: int, last: int | None) -> Iterator[tuple[str | None, pa.Table]]:
        last = end - 1 if last is None else min(last, end - 1)
        yield from rows(first, last) if first <= last else ()

    return chosen


def _places(ledger: pa.Table) -> list[TopicPartition]:
    distinct = ledger.select(["stream", "partition"]).group_by(["stream", "partition"]).aggregate([])
    return [(row["stream"], row["partition"]) for row in distinct.to_pylist()]


def _size(note: bytes) -> int:
    size = note.split(b"\n", 2)[1:2]
    return int(size[0]) if size and size[0].isdigit() else 0


def _origin(note: bytes) -> str:
    return note.split(b"\n", 1)[0].decode("utf-8", "replace")


def _unaccounted(between: Rows, topic_partition: TopicPartition) -> Iterator[Finding]:
    """Yield rows of a topic-partition that neither ledger nor log has ever heard of."""
    for file, rows in between(0, None):
        if rows.num_rows:
            detail = f"{rows.num_rows} rows of a topic-partition without ledger and log"
            yield Finding(Kind.ADDED, f"{topic_partition[0]}/{topic_partition[1]}", detail, file)


def _left(between: Rows, topic_partition: TopicPartition) -> Iterator[Finding]:
    """Yield rows of a file that was taken out of all tables again."""
    for file, rows in between(0, None):
        if rows.num_rows:
            detail = f"{rows.num_rows} rows of a file that was taken out again"
            yield Finding(Kind.ADDED, f"{topic_partition[0]}/{topic_partition[1]}", detail, file)


def checkpoint_of(data: bytes) -> bytes:
    """Return the signed checkpoint in a file: the note itself, or that of an evidence file. Raises `IntegrityError`."""
    try:
        note = json.loads(data)["checkpoint"].encode() if data.lstrip().startswith(b"{") else data
        Checkpoint.parse(Note.parse(note).text)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IntegrityError("this is neither a signed checkpoint nor an evidence file") from None
    return bytes(note)
