"""From batches to commits: what is on its way, what may be committed, and what must be read again.

The feed's thread delivers batches, agents split them, one committer moves contiguous runs into the tables. Nothing is
inferred from an agent having run: a batch counts once it is in the tracker, and a batch that never gets there is
missed by its number and read again from the table's position.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol

from lethe.operations.settings import Flush
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import (
    ConfigurationError,
    ExpiredKeyError,
    FencedError,
    LetheError,
    TransientError,
    UnknownOutcomeError,
)
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch, Source
from lethe.streams.transform.transform import Transform
from lethe.streams.worker.metrics import Metrics
from lethe.streams.worker.tracker import Tracker

log = logging.getLogger("lethe.pipeline")

_COMMIT_TRIES: Final = 4
_RETRY_SECONDS: Final = 0.5
_SPLIT_TRIES: Final = 3
_LOST_SECONDS: Final = 30.0
_TICK: Final = 0.05


class Reader(Protocol):
    """The feed, as far as the pipeline needs it."""

    def restart(self, source: str) -> None:
        """Read a source again from the table's position."""

    def publish_offsets(self, done: dict[str, int]) -> None:
        """Tell the broker what is done."""

    def caught_up(self) -> bool:
        """Whether all that was there at the start has been delivered."""


Key = tuple[str, int, int]  # source, epoch, sequence


class Pipeline:
    """Bookkeeping between feed, agents and tables. Methods for the feed may be called from its thread."""

    def __init__(
        self,
        transform: Transform,
        commit: Callable[[list[TransformedBatch]], None],
        flush: Flush,
        metrics: Metrics,
        threads: int,
    ) -> None:
        self._kernel = transform
        self._commit = commit
        self._flush = flush
        self._metrics = metrics
        self._tracker = Tracker()
        self._lock = threading.Lock()
        self._waiting: dict[Key, float] = {}  # delivered, not picked up by an agent yet
        self._newest_picked = 0.0  # when the newest batch an agent ever picked up was delivered
        self._working: set[Key] = set()
        self._failures: dict[
            str, tuple[int, int]
        ] = {}  # since the last commit: how often, and in which epoch last
        self._splitters = ThreadPoolExecutor(threads, thread_name_prefix="split")
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._oldest: float | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._filled = asyncio.Event()
        self._put: Callable[[list[Batch]], Future[None]] | None = None
        self._reader: Reader | None = None
        self.error: BaseException | None = None
        self.committed = 0  # records, for the progress bar
        self.last_commit: float | None = None

    def connect(self, reader: Reader, put: Callable[[list[Batch]], Future[None]]) -> None:
        """Say who reads, and how a load gets onto the channel of the agents."""
        self._reader, self._put = reader, put

    # -- the feed's side -------------------------------------------------------------------------------------

    def assigned(self, source: Source, epoch: int) -> None:
        """A source starts; whatever is still on its way of an earlier epoch is void."""
        with self._lock:
            self._void(source.id)
            self._tracker.start(source.id, epoch)

    def revoked(self, source: Source) -> None:
        """A source is no longer ours."""
        with self._lock:
            self._void(source.id)
            self._tracker.drop(source.id)

    def deliver(self, load: list[Batch]) -> Future[None]:
        """Put batches onto the channel; the future is done when the channel has taken them."""
        assert self._put is not None  # noqa: S101  (connected before the feed starts)
        with self._lock:
            self._waiting |= dict.fromkeys(map(_key, load), time.monotonic())
        return self._put(load)

    def _void(self, source: str) -> None:
        self._waiting = {k: t for k, t in self._waiting.items() if k[0] != source}

    # -- the agents' side ------------------------------------------------------------------------------------

    async def process(self, load: Sequence[Batch]) -> None:
        """Split a load and note its batches as done; one that fails starts its source again."""
        mine = self._pick_up(load)
        if not mine:
            return
        try:
            await self._room.wait()
            for batch, made in await asyncio.get_running_loop().run_in_executor(
                self._splitters, self._split, mine
            ):
                if isinstance(made, Exception):
                    await self._failed(batch, made)
                else:
                    self._done(batch, made)
        finally:
            with self._lock:
                self._working.difference_update(map(_key, mine))

    def _pick_up(self, load: Sequence[Batch]) -> list[Batch]:
        """Those of the load that are to be split: not those of an assignment that is over, nor behind a lost one."""
        mine: list[Batch] = []
        lost: set[str] = set()
        with self._lock:
            for batch in load:
                key = _key(batch)
                delivered = self._waiting.pop(key, None)
                if delivered is None:
                    continue
                self._newest_picked = max(self._newest_picked, delivered)
                # The channel is first in, first out: an earlier batch nobody picked up is not there any more.
                if any(k[:2] == key[:2] and k[2] < key[2] for k in self._waiting):
                    lost.add(batch.source.id)
                else:
                    mine.append(batch)
                    self._working.add(key)
        for source in lost:
            self._read_again(source, "batches were lost on their way to the agents")
        return mine

    def _split(self, load: list[Batch]) -> list[tuple[Batch, TransformedBatch | Exception]]:
        """What each batch becomes, or why it cannot be split. In a thread of its own."""
        found: list[tuple[Batch, TransformedBatch | Exception]] = []
        for name in dict.fromkeys(batch.source.format for batch in load):
            mine = [batch for batch in load if batch.source.format == name]
            if len(mine) > 1:
                try:
                    found += zip(mine, self._kernel.process_all(mine, formats.get(name)), strict=True)
                    continue
                except Exception as error:
                    # One of them is at fault: the others must not suffer for it.
                    log.warning("a load is split batch by batch", exc_info=error)
            for batch in mine:
                try:
                    found.append((batch, self._kernel.process(batch, formats.get(name))))
                except Exception as error:  # noqa: BLE001  (an agent must not die with a batch in its hands)
                    found.append((batch, error))
        return found

    def _done(self, batch: Batch, transformed: TransformedBatch) -> None:
        with self._lock:
            if self._tracker.done(transformed, batch.epoch, batch.sequence):
                since = batch.since or time.monotonic()
                self._oldest = since if self._oldest is None else min(since, self._oldest)
            if self._full():
                self._room.clear()
                self._filled.set()
            self._metrics.waiting(self._tracker.records)

    async def _failed(self, batch: Batch, error: Exception) -> None:
        source = batch.source.id
        times, epoch = self._failures.get(source, (0, -1))
        if batch.epoch <= epoch:
            return  # one of several that failed together: their partition is read again already
        times += 1
        self._failures[source] = times, batch.epoch
        log.error(
            "splitting a batch of %s/%d failed", batch.source.stream, batch.source.partition, exc_info=error
        )
        if isinstance(error, ConfigurationError) or times >= _SPLIT_TRIES:
            self.error = error if isinstance(error, LetheError) else TransientError(
                f"a batch of {batch.source.stream}/{batch.source.partition} from offset {batch.first} cannot be split "
                f"({type(error).__name__}); the log says where"
            )  # fmt: skip
            return
        await asyncio.sleep(min(5.0, 0.2 * 2**times))
        self._read_again(source, "an agent failed")

    def _read_again(self, source: str, why: str) -> None:
        log.warning("%s: the partition is read again from the table", why)
        self._metrics.restarted()
        with self._lock:
            self._void(source)
            self._tracker.drop(source)
        if self._reader is not None:
            self._reader.restart(source)

    # -- the committer's side --------------------------------------------------------------------------------

    async def run(self, stopping: Callable[[], bool]) -> None:
        """Commit whenever it is due, until `stopping`; what is complete by then is committed last."""
        while self.error is None and not stopping():
            self._make_room()
            if self._due():
                await self.flush()
            else:
                self._watch()
                await self._tick()
        if self.error is None:
            await self.flush()

    async def _tick(self) -> None:
        """Wait a moment; less if a commit's worth is there, since nothing is split until it has been taken."""
        self._filled.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._filled.wait(), _TICK)

    def _make_room(self) -> None:
        """Let the agents go on. Asked all the time: what is dropped makes room as well as what is committed."""
        with self._lock:
            if not self._full():
                self._room.set()

    def _full(self) -> bool:
        """Whether a commit's worth is waiting. With one on its way, twice that is the most that is held."""
        waiting = self._tracker
        return waiting.records >= self._flush.records or waiting.held >= self._flush.megabytes * 1_000_000

    def _due(self) -> bool:
        with self._lock:
            ready = self._tracker.ready()
            if not ready:
                return False
            aged = self._oldest is not None and time.monotonic() - self._oldest >= self._flush.seconds
            idle = not self._waiting and not self._working
            full = self._full()
        ends = idle and self._reader is not None and self._reader.caught_up() and self.finish_early
        return aged or full or ends or not self._room.is_set()

    finish_early = False
    """Commit as soon as everything that was there has been split (`--stop-at-end`)."""

    def drained(self) -> bool:
        """Whether everything delivered so far is committed."""
        with self._lock:
            idle = not self._waiting and not self._working and not self._tracker.records
        return idle and self._reader is not None and self._reader.caught_up()

    def _watch(self) -> None:
        """Find batches that were lost with nothing of their own source behind them to show it.

        While agents are busy or held back, a batch may wait for long; but not behind one delivered after it.
        """
        now = time.monotonic()
        with self._lock:
            lost = {
                k[0]
                for k, since in self._waiting.items()
                if now - since > _LOST_SECONDS and (not self._working or since < self._newest_picked)
            }
        for source in lost:
            self._read_again(source, "batches were lost on their way to the agents")

    async def flush(self) -> None:
        """Commit every contiguous run. Fenced sources are dropped and read again; the others go on."""
        with self._lock:
            batches = self._tracker.take()
            self._oldest = time.monotonic() if self._tracker.ready() else None
        self._make_room()  # at once: the next commit's worth is split while this one is written
        tries = 0
        while batches and self.error is None:
            started = time.monotonic()
            try:
                await asyncio.get_running_loop().run_in_executor(self._committer, self._commit, batches)
            except FencedError as error:
                self._metrics.fenced()
                fenced = error.sources or frozenset(b.source for b in batches)
                for source in fenced:
                    self._read_again(source, "another worker committed this partition")
                batches = [b for b in batches if b.source not in fenced]
            except ExpiredKeyError:
                # A month ended between the split and the commit: split again, its records are late now.
                for source in dict.fromkeys(b.source for b in batches):
                    self._read_again(source, "a month ended before its records were committed")
                return
            except (TransientError, UnknownOutcomeError) as error:
                tries += 1
                log.warning("a commit failed, try %d of %d", tries, _COMMIT_TRIES, exc_info=error)
                if tries >= _COMMIT_TRIES:
                    self.error = error
                    return
                self._metrics.retried()
                await asyncio.sleep(_RETRY_SECONDS * 2**tries)
            except Exception as error:
                log.error("a commit failed", exc_info=error)
                self.error = error
                return
            else:
                self._landed(batches, time.monotonic() - started)
                return

    def _landed(self, batches: list[TransformedBatch], seconds: float) -> None:
        self._metrics.committed(batches, seconds)
        self.committed += sum(b.counts.records for b in batches)
        self.last_commit = time.monotonic()
        for batch in batches:
            self._failures.pop(batch.source, None)
        if self._reader is not None:
            self._reader.publish_offsets({b.source: b.last for b in batches})
        with self._lock:
            self._metrics.waiting(self._tracker.records)

    def close(self) -> None:
        """End the threads."""
        self._splitters.shutdown(wait=True, cancel_futures=True)
        self._committer.shutdown(wait=True)


def _key(batch: Batch) -> Key:
    return batch.source.id, batch.epoch, batch.sequence
