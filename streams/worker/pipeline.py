"""From batches to commits: agents split what the feed delivers, one committer moves contiguous runs into the tables.

What is lost on the way, fails to be split or is fenced is read again from the table's position.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol

from lethe.operations.settings import Flush
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch, Source
from lethe.streams.transform.transform import Transform
from lethe.streams.worker._committer import Committer
from lethe.streams.worker._in_flight import InFlight
from lethe.streams.worker.metrics import Metrics

log = logging.getLogger("lethe.pipeline")

_SPLIT_TRIES: Final = 3
_LOST_SECONDS: Final = 30.0
_LOST: Final = "batches were lost on their way to the agents"
_TICK: Final = 0.05


class Reader(Protocol):
    """The feed, as far as the pipeline needs it."""

    def restart(self, source: str) -> None:
        """Read a source again from the table's position."""

    def publish_offsets(self, done: dict[str, int]) -> None:
        """Tell the broker what is done."""

    def caught_up(self) -> bool:
        """Tell whether all that was there at the start has been delivered."""


class Pipeline:
    """Moves batches from the feed over the agents to the tables. The feed's methods are called from its thread."""

    finish_early = False
    """Commit as soon as everything that was there has been split (`--stop-at-end`)."""

    def __init__(
        self,
        transform: Transform,
        commit: Callable[[list[TransformedBatch]], None],
        flush: Flush,
        metrics: Metrics,
        threads: int,
    ) -> None:
        self._transform = transform
        self._metrics = metrics
        self._in_flight = InFlight(flush)
        self._committer = Committer(commit, metrics, flush.patience_seconds)
        self._splitters = ThreadPoolExecutor(threads, thread_name_prefix="split")
        # Since the last commit of a source: how often its split failed, and in which generation last.
        self._failures: dict[str, tuple[int, int]] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._filled = asyncio.Event()
        self._put: Callable[[list[Batch]], Future[None]] | None = None
        self._taken: Future[None] | None = None  # of the load that was delivered last
        self._reader: Reader | None = None
        self.error: BaseException | None = None
        self.committed = 0  # records, for the progress bar
        self.last_commit: float | None = None

    def connect(self, reader: Reader, put: Callable[[list[Batch]], Future[None]]) -> None:
        """Say who reads, and how a load gets onto the channel of the agents."""
        self._reader, self._put = reader, put

    @property
    def refused(self) -> str | None:
        """Say what the store answers while it refuses commits."""
        return self._committer.refused

    @property
    def has_room(self) -> bool:
        """Tell whether the next load would be taken at once. May be asked from any thread."""
        return self._room.is_set() and (self._taken is None or self._taken.done())

    # -- the feed's side -------------------------------------------------------------------------------------

    def assigned(self, source: Source, generation: int) -> None:
        """Begin a source; whatever is still on its way of an earlier generation is void."""
        self._in_flight.start(source.id, generation)

    def revoked(self, source: Source) -> None:
        """Let go of a source that is no longer ours."""
        self._in_flight.drop(source.id)

    def deliver(self, load: list[Batch]) -> Future[None]:
        """Put batches onto the channel; the future is done when the channel has taken them."""
        assert self._put is not None  # noqa: S101  (connected before the feed starts)
        self._in_flight.delivered(load)
        self._taken = self._put(load)
        return self._taken

    def begin_anew(self, sources: Iterable[Source]) -> None:
        """Read sources again from where the tables stand. May be called from any thread."""
        for source in sources:
            self._read_again(source.id, f"{source.stream}/{source.partition} stood still")

    # -- the agents' side ------------------------------------------------------------------------------------

    async def process(self, load: Sequence[Batch]) -> None:
        """Split a load and note its batches as done; one that fails starts its source again."""
        mine, lost = self._in_flight.pick_up(load)
        for source in lost:
            self._read_again(source, _LOST)
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
            self._in_flight.put_down(mine)

    def _split(self, load: list[Batch]) -> list[tuple[Batch, TransformedBatch | Exception]]:
        """Split each batch, or say why it cannot be split. In a thread of its own."""
        found: list[tuple[Batch, TransformedBatch | Exception]] = []
        for name in dict.fromkeys(batch.source.format for batch in load):
            mine = [batch for batch in load if batch.source.format == name]
            if len(mine) > 1:
                try:
                    found += zip(mine, self._transform.process_all(mine, formats.get(name)), strict=True)
                    continue
                except Exception as error:
                    # One of them is at fault: the others must not suffer for it.
                    log.warning("a load is split batch by batch", exc_info=error)
            for batch in mine:
                try:
                    found.append((batch, self._transform.process(batch, formats.get(name))))
                except Exception as error:  # noqa: BLE001  (an agent must not die with a batch in its hands)
                    found.append((batch, error))
        return found

    def _done(self, batch: Batch, transformed: TransformedBatch) -> None:
        if self._in_flight.split(batch, transformed):
            self._room.clear()
            self._filled.set()
        self._metrics.waiting(self._in_flight.records)

    async def _failed(self, batch: Batch, error: Exception) -> None:
        source = batch.source.id
        times, generation = self._failures.get(source, (0, -1))
        if batch.generation <= generation:
            return  # one of several that failed together: their partition is read again already
        times += 1
        self._failures[source] = times, batch.generation
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
        self._in_flight.drop(source)
        if self._reader is not None:
            self._reader.restart(source)

    # -- the committer's side --------------------------------------------------------------------------------

    async def run(self, stopping: Callable[[], bool], giving_up: Callable[[], bool] = lambda: False) -> None:
        """Commit whenever it is due, until `stopping`; what is complete by then is committed last.

        `giving_up` tells that a commit the store refuses is not to be tried again.
        """
        if self.finish_early:
            self._committer.hurry()
        while self.error is None and not stopping():
            self._make_room()
            if self._due():
                await self._flush(giving_up)
            else:
                for source in self._in_flight.lost(_LOST_SECONDS):
                    self._read_again(source, _LOST)
                await self._tick()
        if self.error is None:
            await self._flush(giving_up)

    async def _tick(self) -> None:
        """Wait a moment; less if a commit's worth is there, since nothing is split until it has been taken."""
        self._filled.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._filled.wait(), _TICK)

    def _make_room(self) -> None:
        """Let the agents go on. Asked all the time: what is dropped makes room as well as what is committed."""
        if not self._in_flight.full():
            self._room.set()

    def _due(self) -> bool:
        way = self._in_flight
        if not way.ready():
            return False
        ends = self.finish_early and self._reader is not None and self._reader.caught_up() and way.idle()
        return way.aged() or way.full() or ends or not self._room.is_set()

    def drained(self) -> bool:
        """Tell whether everything that was there has been delivered and is committed."""
        # In this order: the other way round the last batch could be delivered between the two looks.
        return self._reader is not None and self._reader.caught_up() and self._in_flight.empty()

    async def _flush(self, giving_up: Callable[[], bool]) -> None:
        """Commit every contiguous run. Fenced sources are dropped and read again; the others go on."""
        batches = self._in_flight.take()
        self._make_room()  # at once: the next commit's worth is split while this one is written
        outcome = await self._committer.commit(batches, lambda: self.error is not None or giving_up())
        for source, why in outcome.again.items():
            self._read_again(source, why)
        if outcome.landed:
            self._landed(outcome.landed)
        self.error = self.error or outcome.error

    def _landed(self, batches: list[TransformedBatch]) -> None:
        self.committed += sum(b.counts.records for b in batches)
        self.last_commit = time.monotonic()
        for batch in batches:
            self._failures.pop(batch.source, None)
        if self._reader is not None:
            self._reader.publish_offsets({b.source: b.last for b in batches})
        self._metrics.waiting(self._in_flight.records)

    def close(self) -> None:
        """End the threads."""
        self._splitters.shutdown(wait=True, cancel_futures=True)
        self._committer.close()
