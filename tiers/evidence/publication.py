"""Publication: the integrity log of every topic-partition, derived from what the commits said of themselves.

Not part of the commit and never in its way. A crash between a commit and its publication, at any step, is healed by
the next start: the first `run` begins with what the ledger has and the logs lack.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

import orjson
import pyarrow as pa

from lethe.integrity.log.entries import Entry, Log, LogCommit, Outside
from lethe.integrity.log.leaves import digest
from lethe.integrity.log.publish import publish
from lethe.integrity.log.signing import Signer
from lethe.integrity.log.stamp import Authority, stamp
from lethe.integrity.log.store import CHECKPOINT, REPLAYS, log_origin, remember
from lethe.schemas.errors import FencedError, IntegrityError, LetheError, TransientError
from lethe.tiers.archive.commit_rows import rows_of_commit
from lethe.tiers.commit import declarations
from lethe.tiers.commit.ledger_entries import Hashed
from lethe.tiers.evidence.log_store import PUBLISHED, LogStore, logs, publish_history, published_log
from lethe.tiers.evidence.replay_log import publish_replays
from lethe.tiers.ledger.commits import (
    LedgerEntry,
    TopicPartition,
    committed_since,
    ledger_entries,
    require_authentic,
    topic_partitions,
)
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.warehouse import Warehouse

log = logging.getLogger("lethe.log")

TROUBLE: Final = "trouble"
"""Beside a log: what keeps it from being published. For `doctor`; no verifier looks at it."""

_TRIES: Final = 10
_AT_ONCE: Final = 256
"""Commits published together: their leaf files are held in memory."""
_MOST_HELD: Final = 256 << 20
"""Bytes of leaf files kept for what waits; beyond it they are made again from the archive."""


@dataclass(slots=True)
class Published:
    """What a run has done: entries published, and what went wrong, by topic-partition."""

    entries: int = 0
    failures: dict[TopicPartition, LetheError] = field(default_factory=dict)


class Publication:
    """Publishes what commits leave behind. One thread at a time, with a warehouse (handles on the tables) of its own.

    `signer` is asked on every run, because the keys may have been handed over meanwhile.
    """

    def __init__(
        self, warehouse: Warehouse, signer: Callable[[], Signer], clock: Callable[[], datetime]
    ) -> None:
        self._warehouse = warehouse
        self._signer = signer
        self._clock = clock
        self._fresh: dict[tuple[str, int, int], Hashed] = {}
        self._waiting: set[TopicPartition] = set()
        self._seen = -1  # version of the metadata table up to which its commits were read here
        self._sets = 0
        self._troubled: dict[TopicPartition, str] = {}
        self.unstamped: set[TopicPartition] = set()
        self._round: list[TopicPartition] = []
        self._declarations: set[bytes] = set()
        self.healed = False

    @property
    def pending(self) -> int:
        """List topic-partitions with commits that are not published."""
        return len(self._waiting)

    def add(self, hashes: Iterable[Hashed]) -> None:
        """Note what a commit that has landed leaves to be published."""
        for one in hashes:
            self._fresh[one.stream, one.partition, one.first] = one
            self._waiting.add((one.stream, one.partition))
        if sum(len(one.leaf_file) for one in self._fresh.values()) > _MOST_HELD:
            self._fresh.clear()

    def run(self) -> Published:
        """Publish what has been added; the first time, and after `healed` was cleared, all that was ever missed.

        Failures of single logs are returned, and the others go on; raises `LetheError` when none can be signed.
        """
        signer = self._signer()
        if len(signer.history.sets) != self._sets:
            publish_history(self._warehouse.objects, signer.history)
            self._sets = len(signer.history.sets)
        done = Published()
        fail_point("log.begin")
        if not self.healed:
            self._heal(signer, done)
        elif self._waiting:
            metadata = self._warehouse.metadata
            metadata.reload()
            said = committed_since(self._warehouse, self._seen)
            self._seen = metadata.version
            self._publish(
                signer,
                {topic_partition: said.get(topic_partition, []) for topic_partition in sorted(self._waiting)},
                done,
            )
        fail_point("log.end")
        return done

    def _heal(self, signer: Signer, done: Published) -> None:
        """Publish every commit that the ledger has and its log lacks.

        1. Bring the ledger up to date, and read what it says of versions after the noted one.
        2. Publish. A crash anywhere in here is healed the same way.
        3. Note the version up to which all logs are complete now, unless one has failed. A crash before it makes the
           next start look at more than it would need to.
        """
        # Step 1
        self._warehouse.publish()
        self._note_what_is_signed(signer)
        newest = self._warehouse.metadata.version
        noted = noted_version(self._warehouse)
        behind: dict[TopicPartition, list[LedgerEntry]] = ledger_entries(self._warehouse, after=noted)
        if REPLAYS in topic_partitions(self._warehouse):
            behind[REPLAYS] = []  # after all others: what was replayed lies among what they have logged
        # Step 2
        self._publish(signer, behind, done)
        # Step 3
        self._seen = newest
        self._waiting = set(done.failures)
        self._fresh = {key: one for key, one in self._fresh.items() if key[:2] in done.failures}
        if not done.failures and newest > noted:
            self._warehouse.objects.put(PUBLISHED, str(newest).encode())
        self.healed = True

    def _note_what_is_signed(self, signer: Signer) -> None:
        """Note the checkpoints that an earlier release has signed, and those that others have since the last start.

        A log that does not continue what is noted is left to its publication, which says so.
        """
        memory = self._warehouse.anchors
        if memory is None:
            return
        _ = memory.ledger_key  # made before anything is noted: later it would be missed
        if memory.all_signed():
            return
        for topic_partition in [REPLAYS, *logs(self._warehouse.objects)]:
            log = published_log(self._warehouse.objects, signer.history, topic_partition)
            if log is not None:
                remember(memory, signer.history, log.origin, bytes(log.note))

    def _publish(
        self, signer: Signer, behind: Mapping[TopicPartition, Sequence[LedgerEntry]], done: Published
    ) -> None:
        for topic_partition, said in behind.items():
            try:
                done.entries += self._bring_up(signer, topic_partition, said)
            except LetheError as error:
                self._waiting.add(topic_partition)
                self._failed(topic_partition, error)
                done.failures[topic_partition] = error
            else:
                self._waiting.discard(topic_partition)
                for key in [key for key in self._fresh if key[:2] == topic_partition]:
                    del self._fresh[key]  # published by another process
                self._well(topic_partition)

    def _bring_up(self, signer: Signer, topic_partition: TopicPartition, said: Sequence[LedgerEntry]) -> int:
        """Bring one log up to date; asked again for every try is how far it has come, whoever brought it there."""
        for _ in range(_TRIES):
            try:
                if topic_partition == REPLAYS:
                    self._warehouse.publish()
                    self.unstamped.add(topic_partition)
                    return publish_replays(self._warehouse, signer, int(self._clock().timestamp()))
                end = self._end(signer, topic_partition)
                todo = _following(said, end)
                if todo is None:
                    self._warehouse.publish()
                    todo = _complete(
                        topic_partition,
                        ledger_entries(self._warehouse, only=topic_partition).get(topic_partition, []),
                        end,
                    )
                return self._publish_one(signer, topic_partition, todo)
            except FencedError:
                signer = self._signer()  # another process publishes the same log, perhaps with newer keys
        raise FencedError(
            f"the log {topic_partition[0]}/{topic_partition[1]} is published by others all the time"
        )

    def _end(self, signer: Signer, topic_partition: TopicPartition) -> int | None:
        """Return the last offset in a log, None when it has no entry. Never remembered: what is signed next follows
        on it.
        """
        store = self._store(topic_partition)
        if topic_partition not in self._troubled and (trouble := store.get(TROUBLE)):
            self._troubled[topic_partition] = trouble.decode("utf-8", "replace")
        if store.get(CHECKPOINT) is None:
            return None
        published = Log(store, signer.history, log_origin(signer.name, *topic_partition))
        return published.entry(published.size - 1).last_offset if published.size else None

    def _publish_one(
        self, signer: Signer, topic_partition: TopicPartition, todo: Sequence[LedgerEntry]
    ) -> int:
        store, now = self._store(topic_partition), int(self._clock().timestamp())
        begins = store.get(CHECKPOINT) is None
        for start in range(0, len(todo), _AT_ONCE):
            some = todo[start : start + _AT_ONCE]
            require_authentic(self._warehouse, some, begins)
            named = {digest for account in some for digest in account.declarations}
            declarations.restore(self._warehouse.objects, named, self._declarations)
            publish(store, signer, *topic_partition, self._commits(some), now, self._warehouse.anchors)
            begins = False
            self.unstamped.add(topic_partition)
            for account in some:
                self._fresh.pop((*topic_partition, account.first), None)
            fail_point("log.published")
        return len(todo)

    def _commits(self, some: Sequence[LedgerEntry]) -> Iterator[LogCommit]:
        for account in some:
            fresh = self._fresh.get((account.stream, account.partition, account.first))
            said = account.last, account.commitment, account.outside, account.data_files
            mine = fresh and (fresh.last, fresh.commitment, fresh.outside.commitment, fresh.data_files)
            if fresh is not None and mine == said:
                entry = Entry(
                    fresh.stream, fresh.partition, fresh.first, fresh.last, fresh.commitment, digest(fresh.leaf_file),
                    fresh.months, account.version, Outside.of(fresh.outside), account.declarations,
                )  # fmt: skip
                yield LogCommit(entry, fresh.leaf_file, outside_file=fresh.outside.file)
            else:
                yield self._read_back(account)

    def _read_back(self, account: LedgerEntry) -> LogCommit:
        where = f"offsets {account.first} to {account.last} of {account.stream}/{account.partition}"
        offsets = account.first, account.last
        try:
            rows = rows_of_commit(
                self._warehouse, account.stream, account.partition, *offsets, account.version
            )
            commit = LogCommit.of(
                rows, *account.topic_partition, offsets, account.version,
                declarations=account.declared, data_files=account.data_files,
            )  # fmt: skip
        except (pa.ArrowException, OSError) as error:
            raise IntegrityError(
                f"the archive rows of {where} cannot be read back ({type(error).__name__}): nothing was signed"
            ) from None
        if not account.is_of(commit.entry):
            raise IntegrityError(
                f"the archive rows of {where} are not those that were committed: nothing was signed"
            )
        return commit

    def _failed(self, topic_partition: TopicPartition, error: LetheError) -> None:
        if self._troubled.get(topic_partition) != str(error):
            log.error("the log %s/%d cannot be published: %s", *topic_partition, error)
            self._troubled[topic_partition] = str(error)
            text = {"error": str(error), "since": self._clock().isoformat(timespec="seconds")}
            try:
                self._warehouse.objects.put(self._store(topic_partition).path(TROUBLE), orjson.dumps(text))
            except (LetheError, OSError) as also:
                log.error("and that cannot be noted: %s", also)

    def _well(self, topic_partition: TopicPartition) -> None:
        if self._troubled.pop(topic_partition, None) is not None:
            self._store(topic_partition).delete(TROUBLE)
            log.info("the log %s/%d is published again", *topic_partition)

    def _store(self, topic_partition: TopicPartition) -> LogStore:
        return LogStore.of(self._warehouse.objects, *topic_partition)

    def topic_partitions(self) -> list[TopicPartition]:
        """Return every topic-partition there ever was a commit of, and the replays."""
        self._warehouse.publish()
        return topic_partitions(self._warehouse)

    def sign_again(self, on_step: Callable[[int, int], None] = lambda _done, _all: None) -> int:
        """Sign the checkpoint of every log with the newest keys; returns how many logs there are."""
        signer = self._signer()
        publish_history(self._warehouse.objects, signer.history)
        every = self.topic_partitions()
        for number, topic_partition in enumerate(every, 1):
            for _ in range(_TRIES):
                try:
                    now = int(self._clock().timestamp())
                    publish(
                        self._store(topic_partition),
                        signer,
                        *topic_partition,
                        [],
                        now,
                        self._warehouse.anchors,
                    )
                    break
                except FencedError:
                    continue
            on_step(number, len(every))
        return len(every)

    def stamp(self, authority: Authority, enough: Callable[[], bool] = lambda: False) -> int:
        """Have every log stamped that has grown since; returns how many stamps there are more.

        With many logs and a slow authority that takes long, and nothing is published meanwhile: after each stamp
        `enough` is asked whether to leave the rest of this round (`stamping`) to the next call. A log that grows during
        a round has its turn in the next one. What was not stamped stays in `unstamped`: the next stamp covers it.

        Raises `TransientError` when the authority does not answer, with the round to go on with; and, once the others
        are stamped, what kept a log from being stamped.
        """
        self._round = self._round or sorted(self.unstamped)
        made, failure = 0, None
        while self._round and not (made and enough()):
            fail_point("stamp.begin")
            topic_partition = self._round[0]
            try:
                made += stamp(self._store(topic_partition), authority) is not None
                self.unstamped.discard(topic_partition)
            except TransientError:
                raise
            except LetheError as error:  # this log's own trouble, not the authority's
                failure = failure or error
            del self._round[0]
        if failure is not None:
            raise failure
        return made

    @property
    def stamping(self) -> int:
        """List logs that the present round of stamps has not come to yet."""
        return len(self._round)


def noted_version(warehouse: Warehouse) -> int:
    """Return the version of the metadata table up to which every log is complete; -1 when nothing is noted."""
    noted = warehouse.objects.get(PUBLISHED)
    return int(noted) if noted and noted.isdigit() else -1


def _following(said: Sequence[LedgerEntry], end: int | None) -> list[LedgerEntry] | None:
    """Say what of `said` comes right after the end of a log; None when something in between is missing.

    Every commit of a topic-partition follows on the one before it, so a hole is what is not known here; and a log that
    does not exist must begin with the first commit there ever was.
    """
    if end is None or not said:
        return None
    todo = [account for account in said if account.first > end]
    whole = not todo or (todo[0].first == end + 1 and all(b.first == a.last + 1 for a, b in pairwise(todo)))
    return todo if whole else None


def _complete(
    topic_partition: TopicPartition, known: Sequence[LedgerEntry], end: int | None
) -> list[LedgerEntry]:
    """Return all that the ledger knows after the end of a log; raises `IntegrityError` for a hole in it."""
    todo = [account for account in known if end is None or account.first > end]
    holes = [(a.last, b.first) for a, b in pairwise(todo) if b.first != a.last + 1]
    if todo and end is not None and todo[0].first != end + 1:
        holes.insert(0, (end, todo[0].first))
    if holes:
        raise IntegrityError(
            f"offsets {holes[0][0] + 1} to {holes[0][1] - 1} of {'/'.join(map(str, topic_partition))} "
            "are in no commit the ledger knows: nothing was signed"
        )
    return todo
