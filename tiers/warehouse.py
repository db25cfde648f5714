"""The warehouse: the tables and the numbered commit that moves a record into both tiers exactly once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from lethe.keys.anchors import Anchors, LedgerKey
from lethe.keys.ring import KeyRing
from lethe.schemas.arrow import WINDOW_TABLES
from lethe.schemas.compute import pc
from lethe.schemas.errors import FencedError, TransientError, UnknownOutcomeError
from lethe.schemas.transformed import TransformedBatch
from lethe.schemas.words import counted
from lethe.tiers.commit import clock_check, declarations
from lethe.tiers.commit import ledger_entries as ledger
from lethe.tiers.commit.ledger_entries import Hashed
from lethe.tiers.commit.pages import to_pages
from lethe.tiers.delta import cleaned_log
from lethe.tiers.delta.files import range_name, write_files
from lethe.tiers.delta.log import DataFile, checkpoint_path, log_path
from lethe.tiers.delta.table import Table, Waited
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects

if TYPE_CHECKING:
    from lethe.tiers.quality.check import Quality

log = logging.getLogger("lethe.warehouse")

_TRIES: Final = 20
_PUBLISHED: Final = "metadata"
"""Transaction id in the ledger: the version of the metadata table up to which it has been derived."""


@dataclass(frozen=True, slots=True)
class Range:
    """The offsets of one source in a commit, both ends included."""

    stream: str
    partition: int
    first: int
    last: int


Ranges = Mapping[str, Range]


class _Opened(Mapping[str, Table]):
    """The tables of the window by name, each opened when it is first asked for."""

    def __init__(self, opening: Callable[[str], Table]) -> None:
        self._opening = opening
        self._opened: dict[str, Table] = {}

    def __getitem__(self, name: str) -> Table:
        if name not in WINDOW_TABLES:
            raise KeyError(name)
        if name not in self._opened:
            self._opened[name] = self._opening(name)
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(WINDOW_TABLES)

    def __len__(self) -> int:
        return len(WINDOW_TABLES)


class Warehouse:
    """The tables under one root. One thread at a time; the worker commits from a single one."""

    def __init__(
        self,
        objects: Objects,
        storage: Mapping[str, str],
        clock: Callable[[], datetime],
        anchors: Anchors | None = None,
    ) -> None:
        """Make all tables if there is no archive; else each is opened when it is first asked for.

        Without `anchors` commits are not authenticated, and no log may be made of them.
        """
        self.objects = objects
        self.anchors = anchors
        self._storage = dict(storage)
        self._clock = clock
        self.window: Mapping[str, Table] = _Opened(self.table)
        if not any(objects.get(path) for path in (checkpoint_path("metadata"), log_path("metadata", 0))):
            for name in (*WINDOW_TABLES, "metadata", "ledger"):
                self._open_one(name)
        self._stamped: datetime | None = None
        self._complete = False
        self._committed: datetime | None = None
        self._declarations: set[bytes] = set()

    def table(self, name: str) -> Table:
        """Return a fresh handle on a table, made if it is not there."""
        return Table(self.objects, name, self._storage)

    @cached_property
    def quality(self) -> Quality:
        """What each format is compared with at a commit; a command that commits nothing does not bring it in."""
        from lethe.tiers.quality.check import Quality

        return Quality(self.objects)

    @cached_property
    def metadata(self) -> Table:
        """The handle on the archive."""
        return self.table("metadata")

    @cached_property
    def ledger(self) -> Table:
        """The handle on the account of what was committed."""
        return self.table("ledger")

    @contextmanager
    def opening(self, names: Iterable[str]) -> Iterator[None]:
        """Open several tables while something else is done: on an object store each takes a few requests in a row."""
        with ThreadPoolExecutor(len(WINDOW_TABLES) + 2) as threads:
            opened = [threads.submit(self._open_one, name) for name in names]
            yield
        for one in opened:
            one.result()

    def _open_one(self, name: str) -> None:
        _ = self.ledger if name == "ledger" else self.handle(name)

    def handle(self, name: str) -> Table:
        """Return the handle this warehouse has on the archive or on a table of the window."""
        return self.metadata if name == "metadata" else self.window[name]

    @property
    def ledger_key(self) -> LedgerKey | None:
        """What commits are authenticated with."""
        return self.anchors.ledger_key if self.anchors else None

    def position(self, source: str) -> int | None:
        """Return the last offset of a source that is done: both halves durable. None: nothing yet."""
        self.metadata.reload()
        return self.metadata.transaction(source)

    def now(self) -> datetime:
        """Return the present instant, by the clock it was opened with."""
        return self._clock()

    def forgotten(self) -> bool:
        """Tell whether any month's window has been dropped from this warehouse."""
        return any(path.endswith(".destroyed.json") for path in self.objects.list("_keys"))

    def sources(self) -> dict[str, str]:
        """Return every source the ledger knows -> the stream its records are named by. A replay is no source."""
        self.publish()
        taken_in = pc.field("source") != ledger.REPLAYED
        dataset = self.ledger.dataset()
        rows = dataset.to_table(columns=["stream", "source"], filter=taken_in)
        return {
            r["source"]: r["stream"] for r in rows.group_by(["stream", "source"]).aggregate([]).to_pylist()
        }

    def topic_partitions(self) -> list[str]:
        """List every topic-partition (or file) the ledger knows, as `stream/partition`: where records came from."""
        self.publish()
        rows = self.ledger.dataset().to_table(columns=["stream", "partition"])
        known = rows.group_by(["stream", "partition"]).aggregate([]).to_pylist()
        return sorted(f"{row['stream']}/{row['partition']}" for row in known)

    def commit(self, batches: Sequence[TransformedBatch], ring: KeyRing) -> list[Hashed]:
        """Move batches into the tables: all of them, or none that counts. Returns what the log needs of them.

        Batches of one source follow on each other and on what is committed; anything else raises `FencedError`.

        1. Reload and look: each source goes on where the metadata table stands, and the clock can be believed
           (`ClockError` if not). A crash here leaves nothing.
        2. Commit identifiers, originals, quarantine and usage, each with the last offset of every source. A crash
           after any of them leaves window tables ahead of the metadata; the replay gives them only what lies beyond
           their own version, and as every row depends on its position alone, the rows fit.
        3. Keep the declarations the rows were made by, and commit the metadata with the same offsets and the account of
           the commit. This is the one that counts: a crash before it leaves the records to be read again, a crash after
           it leaves step 4 to be derived.
        4. Publish: derive the ledger from what metadata commits said. The next start does what a crash leaves.
        5. Compare what was committed with what its formats were before. A crash here, or a fault, leaves the past a
           little shorter.
        """
        if not batches:
            return []
        now = self._clock()
        batches = [ledger.stamped(batch, now) for batch in batches]
        ranges = _ranges(batches)
        name = range_name([(source, r.first, r.last) for source, r in ranges.items()])
        # Step 1
        self.add_missing_columns()
        self._check_follows(ranges)
        self._check_clock(batches, now)
        fail_point("commit.begin")
        # Step 2
        self._commit_window(
            "identifiers", pa.concat_tables([b.identifiers for b in batches]), ranges, name, now
        )
        entries = pa.concat_tables([b.entries for b in batches])
        self._commit_window("originals", entries, ranges, name, now, ring)
        self._commit_window(
            "quarantine", pa.concat_tables([b.quarantine for b in batches]), ranges, name, now
        )
        self._commit_window("usage", pa.concat_tables([b.usage for b in batches]), ranges, name, now)
        # Step 3
        hashes = ledger.hashed(batches)
        self.keep_declarations(hashes.values())
        hashes = self._commit_metadata(batches, hashes, ranges, name, now)
        # Step 4
        try:
            self._derive_ledger()
        except (TransientError, UnknownOutcomeError, FencedError) as error:
            # The commit counts all the same: the next one, or the next start, derives what is missing.
            log.warning("the ledger is behind for now", exc_info=error)
        fail_point("commit.end")
        # Step 5
        self.quality.check(batches, now)
        self._committed = now
        return list(hashes.values())

    def keep_declarations(self, hashes: Iterable[Hashed]) -> None:
        """Keep what the rows of a commit were made by; see `lethe.tiers.commit.declarations.keep`."""
        declarations.keep(self.objects, (one.declarations for one in hashes), self._declarations)

    def add_missing_columns(self) -> None:
        """Give the tables of an earlier release the columns of this one, once; a crash leaves columns that are null."""
        if not self._complete:
            for table in (*self.window.values(), self.metadata, self.ledger):
                table.add_missing_columns()
            self.table(
                "adjustments"
            )  # made if it is not there: readers of the archive leave out what it names
            self._complete = True

    def stamped(self, milliseconds: int) -> None:
        """Note the newest time stamp the broker has given messages that are about to be committed; -1 for none."""
        stamp = clock_check.time_of_stamp(milliseconds)
        if stamp is not None and (self._stamped is None or stamp > self._stamped):
            self._stamped = stamp

    def newest_commit(self) -> datetime | None:
        """Look up when the newest records were committed, by that worker's clock; None before the first."""
        self.publish()
        times = self.ledger.dataset().to_table(columns=["committed_time"])
        found: datetime | None = pc.max(times.column("committed_time")).as_py() if times.num_rows else None
        return found

    def _check_clock(self, batches: Sequence[TransformedBatch], now: datetime) -> None:
        if self._committed is None:
            self._committed = self.newest_commit()
        late = sum(batch.counts.late for batch in batches)
        clock_check.check(now, late, self._stamped, self._committed, self.objects)

    def _check_follows(self, ranges: Ranges) -> None:
        self.metadata.reload()
        moved = frozenset(
            source
            for source, offsets in ranges.items()
            if (done := self.metadata.transaction(source)) is not None and done != offsets.first - 1
        )
        if moved:
            raise FencedError(
                f"{counted(len(moved), 'topic-partition')} went on elsewhere since they were read here", moved
            )

    def _commit_window(
        self,
        table: str,
        rows: pa.Table,
        ranges: Ranges,
        name: str,
        now: datetime,
        ring: KeyRing | None = None,
    ) -> None:
        """Commit the rows of a window table that lie beyond what it holds; nothing to add is no commit."""
        handle = self.window[table]
        # No look at the table first: a commit that somebody else has overtaken is refused, and then it is looked at.
        for _ in range(_TRIES):
            done = {s: at for s in ranges if (at := handle.transaction(s)) is not None}
            missing = {s: r.last for s, r in ranges.items() if done.get(s, -1) < r.last}
            beyond = _beyond(rows, [(ranges[s], at) for s, at in done.items() if at >= ranges[s].first])
            if not beyond.num_rows or not missing:
                return
            if ring is not None:
                beyond = to_pages(beyond, ring)
            waited = Waited()
            files = write_files(self.objects, table, beyond, name, _milliseconds(now))
            fail_point(f"{table}.written")
            if self._try_commit(handle, files, missing, {}):
                if (
                    waited.too_long()
                ):  # a sweep may have taken them for orphans: the same rows are the same files
                    write_files(self.objects, table, beyond, name, _milliseconds(now))
                fail_point(f"{table}.committed")
                return
        raise FencedError(
            f"{table}: other writers commit the same topic-partitions all the time", frozenset(ranges)
        )

    def _commit_metadata(
        self,
        batches: Sequence[TransformedBatch],
        hashes: Mapping[str, Hashed],
        ranges: Ranges,
        name: str,
        now: datetime,
    ) -> dict[str, Hashed]:
        """Commit the archive rows with the account of the commit; returns the hashes with the files they are of."""
        rows = pa.concat_tables([b.metadata for b in batches])
        for _ in range(_TRIES):
            waited = Waited()
            files = write_files(self.objects, "metadata", rows, name, _milliseconds(now))
            fail_point("metadata.written")
            placed = ledger.placed(hashes, files)
            said = {ledger.COMMIT_INFO: json.dumps(ledger.entries(batches, placed, now, self.ledger_key))}
            if self._try_commit(self.metadata, files, {s: r.last for s, r in ranges.items()}, said):
                if waited.too_long():
                    write_files(self.objects, "metadata", rows, name, _milliseconds(now))
                fail_point("metadata.committed")
                return placed
            self._check_follows(ranges)
        raise FencedError(
            "metadata: other writers commit the same topic-partitions all the time", frozenset(ranges)
        )

    def _try_commit(
        self,
        handle: Table,
        files: Sequence[DataFile],
        transactions: Mapping[str, int],
        said: Mapping[str, str],
    ) -> bool:
        """Commit once; False if another writer came first. An unknown outcome is resolved by looking."""
        before = handle.version
        try:
            handle.commit(files, transactions, said)
        except FencedError:
            handle.reload()
            return False
        except UnknownOutcomeError:
            # Neither success nor failure. All ids are looked at: one alone may be somebody else's commit.
            handle.reload()
            if any(handle.transaction(source) != last for source, last in transactions.items()):
                raise
            handle.sync(before)
        return True

    def publish(self) -> None:
        """Derive the ledger up to the newest metadata commit. Runs on every start."""
        self.metadata.reload()
        self._derive_ledger()

    def pass_over(self) -> None:
        """Derive the ledger, and note in it that the commits so far, merges too, need not be read again for that.

        A crash before it leaves commits to be read by whoever derives next.
        """
        self.metadata.reload()
        self._derive_ledger(note=True)

    def _derive_ledger(self, note: bool = False) -> None:
        """Derive it up to the newest metadata commit this handle has seen; whoever made a later one derives that.

        `note`: even where no commit has said anything.
        """
        self.ledger.add_missing_columns()  # it looks at the newest version: not between a look and its commit
        for _ in range(_TRIES):
            self.ledger.reload()
            done = self.ledger.transaction(_PUBLISHED)
            newest = self.metadata.version
            said, whole = self._said_since(-1 if done is None else done)
            if not said and whole and not (note and done != newest):
                return
            files = (
                write_files(
                    self.objects,
                    "ledger",
                    ledger.rows(said),
                    f"{said[0][0]:020d}-{said[-1][0]:020d}",
                    _milliseconds(self._clock()),
                )
                if said
                else []
            )
            fail_point("ledger.written")
            if self._try_commit(self.ledger, files, {_PUBLISHED: newest}, {}):
                fail_point("ledger.committed")
                return
        raise FencedError("ledger: other writers publish all the time")

    def _said_since(self, version: int) -> tuple[list[tuple[int, Any]], bool]:
        """Return what commits after `version` said for the ledger; and whether all of them are there still.

        Others may have removed commits of their own (OPTIMIZE, VACUUM) from the log. Raises `UnknownOutcomeError` if
        one of ours may have been among them, which only the ledger's row could account for.
        """
        try:
            return self.metadata.info_since(version, ledger.COMMIT_INFO), True
        except UnknownOutcomeError:
            said = cleaned_log.info_left(self.objects, self.metadata, version, ledger.COMMIT_INFO)
            if not self._follow_the_ledger(said):
                raise
            return said, False

    def _follow_the_ledger(self, said: Sequence[tuple[int, Any]]) -> bool:
        """Tell whether ledger and `said`, one after the other, account for all the archive has of each source."""
        known = cleaned_log.transactions(self.objects, self.metadata)
        rows = self.ledger.dataset().to_table(columns=["source", "last_offset"])
        last = dict(
            zip(
                *rows.group_by("source").aggregate([("last_offset", "max")]).to_pydict().values(), strict=True
            )
        )
        for entry in (one for _, entries in said for one in entries):
            if entry["source"] not in last and not self._begins(entry):
                return False
            if last.get(entry["source"], entry["first_offset"] - 1) != entry["first_offset"] - 1:
                return False
            last[entry["source"]] = entry["last_offset"]
        return known is not None and all(last.get(source) == at for source, at in known.items())

    def _begins(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether the archive has nothing of a topic-partition before an entry of a source new to the ledger."""
        mine = (pc.field("stream") == entry["stream"]) & (
            pc.field("partition") == pa.scalar(entry["partition"], pa.int32())
        )
        earlier = mine & (pc.field("offset") < entry["first_offset"])
        return bool(self.metadata.dataset().count_rows(filter=earlier) == 0)


def _ranges(batches: Sequence[TransformedBatch]) -> dict[str, Range]:
    """Return first and last offset of each source; batches of a source must follow on each other."""
    ranges: dict[str, Range] = {}
    for batch in batches:
        known = ranges.get(batch.source)
        if known is not None and batch.first != known.last + 1:
            raise ValueError("batches of one source do not follow on each other")
        ranges[batch.source] = (
            Range(batch.stream, batch.partition, batch.first, batch.last)
            if known is None
            else replace(known, last=batch.last)
        )
    return ranges


def _beyond(rows: pa.Table, done: Sequence[tuple[Range, int]]) -> pa.Table:
    """Return the rows a table that is ahead does not hold yet."""
    for offsets, at in done:
        mine = pc.and_(
            pc.equal(rows.column("stream"), offsets.stream),
            pc.equal(rows.column("partition"), offsets.partition),
        )
        rows = rows.filter(pc.invert(pc.and_(mine, pc.less_equal(rows.column("offset"), at))))
    return rows


def _milliseconds(now: datetime) -> int:
    return int(now.timestamp() * 1000)
