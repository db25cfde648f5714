"""The worker's life: check, start, run until told to stop or until the end of what is there, commit, leave."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from lethe.operations.proof.publisher import Publisher
from lethe.operations.runtime import Runtime
from lethe.operations.telemetry.commits import Commits
from lethe.operations.telemetry.lineage import Lineage
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import LetheError
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.broker.standstill import Mend, Standstill
from lethe.streams.broker.topics import StillTheSame, Streams, identify
from lethe.streams.transform.batch import Batch
from lethe.streams.worker._control_side import ControlSide
from lethe.streams.worker._memory import bound_memory
from lethe.streams.worker.app import make_split_app, settle
from lethe.streams.worker.feed import Feed
from lethe.streams.worker.metrics import HealthServer, Metrics
from lethe.streams.worker.pipeline import Pipeline
from lethe.tiers.delta.table import Table
from lethe.tiers.ledger.accepted import note_gaps, noted_gaps
from lethe.tiers.retention import clock_guard

log = logging.getLogger("lethe.worker")

_LAG_SECONDS: Final = 2.0
_LEAVE_SECONDS: Final = 9.5
_SWEEP_LOOK_SECONDS: Final = 60.0
_SWEEP_LATE: Final = timedelta(hours=3)  # one is due each hour


@dataclass(slots=True)
class Progress:
    """What a progress bar shows: records committed so far and messages that were there at the start."""

    committed: int = 0
    total: int = 0


@dataclass(slots=True)
class Worker:
    """One worker process. `run` returns when it has stopped cleanly and raises what made it stop otherwise."""

    runtime: Runtime
    stop_at_end: bool = False
    accept_gap: bool = False
    on_progress: Callable[[Progress], None] | None = None
    attach: Callable[[Any, Metrics], None] | None = (
        None  # gives the control side its agents; None: there is none
    )
    metrics: Metrics = field(default_factory=Metrics)
    interrupted: bool = field(default=False, init=False)  # by SIGINT, before it was done
    committed: int = field(default=0, init=False)  # records, by this process
    _last: threading.Timer | None = field(default=None, init=False)  # ends the process if it does not stop

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, or to the end of what is there."""
        bound_memory()
        # Not `asyncio.run`: it waits for every task and thread that Faust and its client may have left behind.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._run())
        finally:
            loop.run_until_complete(_let_go())
            loop.remove_signal_handler(
                signal.SIGINT
            )  # whoever goes on in this process is interrupted as ever
            if self._last is not None:
                self._last.cancel()
            asyncio.set_event_loop(None)

    async def _run(self) -> None:
        settings = self.runtime.settings
        for name in settings.sources.values():
            formats.get(name)
        _ = self.runtime.objects  # a root that cannot be is found out before the broker is asked for
        identities = identify(settings, settings.sources)
        warehouse, ring = self.runtime.warehouse, self.runtime.ring
        streams = Streams(warehouse.sources(), settings, identities, noted_gaps(self.runtime.objects))
        streams.check(self.accept_gap)
        note_gaps(self.runtime.objects, streams.accepted)  # the next start need not be told again

        publisher = Publisher(self.runtime, self.metrics)

        same = StillTheSame(settings, identities)

        # An extra that is missing is found out now, not at the first commit.
        commits = Commits(self.runtime.traces, Lineage(settings, self.runtime.clock))

        def commit(batches: list[TransformedBatch]) -> None:
            same.check()
            with commits.told(batches):
                publisher.add(warehouse.commit(batches, ring))
            self.metrics.quality(warehouse.quality.current(self.runtime.clock()))

        pipeline = Pipeline(self.runtime.transform, commit, settings.flush, self.metrics, settings.threads)
        pipeline.finish_early = self.stop_at_end
        feed = Feed(
            settings, streams, _Positions(warehouse.table("metadata")), pipeline, self.accept_gap, same.check
        )
        control, attach = None, self.attach
        if attach is not None:
            control = ControlSide(settings, lambda app: attach(app, self.metrics))
        sweeps = Sweeps(self.runtime, self.metrics) if control is not None else None
        mends = (
            Mend("assigned", "it is begun anew where the tables stand", pipeline.begin_anew),
            Mend("joined", "the group is joined anew", lambda _: feed.join_anew()),
        )
        still = Standstill(settings, feed.partitions, lambda: pipeline.has_room, self.metrics, mends)
        health = HealthServer(
            settings.metrics_host, settings.metrics_port, self.metrics,
            lambda: _why_not_ready(feed, pipeline, still, control, sweeps),
        )  # fmt: skip
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told, told, number)
        health.start()
        log.info("metrics on port %d", health.port)  # whoever reads this may tell it to stop
        publisher.start()
        try:
            await self._live(told, feed, pipeline, still, control, sweeps)
        finally:
            await asyncio.to_thread(publisher.stop)
            await asyncio.to_thread(commits.close)
            health.stop()
            pipeline.close()
            self.committed = pipeline.committed
            warehouse.quality.save()
        if error := pipeline.error or feed.error:
            raise error

    async def _live(
        self,
        told: asyncio.Event,
        feed: Feed,
        pipeline: Pipeline,
        still: Standstill,
        control: ControlSide | None,
        sweeps: Sweeps | None,
    ) -> None:
        loop, listening = asyncio.get_running_loop(), asyncio.Event()
        app, channel = make_split_app(self.runtime.settings, pipeline, listening.set)

        def put(load: list[Batch]) -> Future[None]:
            for batch in load:
                self.runtime.warehouse.stamped(
                    int(batch.received_ms[len(batch.values) - 1]) if batch.values else -1
                )
            # As it is, not wrapped in an event: `BatchChannel` says why.
            return asyncio.run_coroutine_threadsafe(channel.put(load), loop)

        ended = asyncio.Event()

        def stopped() -> bool:
            return bool(told.is_set() or feed.error or pipeline.error or app.crashed)

        async def work() -> None:
            # It alone says that the end of what was there is reached. That must not be asked twice: messages that
            # come later make it untrue again.
            await pipeline.run(
                lambda: stopped() or (self.stop_at_end and pipeline.drained()),
                told.is_set,
            )
            ended.set()

        def over() -> bool:
            return ended.is_set() or stopped()

        pipeline.connect(feed, put)
        starting = asyncio.create_task(app.start(), name="agents")
        thread = threading.Thread(target=feed.run, name="feed")
        try:
            await _first(listening.wait(), starting)
            thread.start()
            still.start()
            await asyncio.gather(
                work(),
                self._report(over, feed, pipeline, still),
                *([control.run(over)] if control is not None else []),
                *([sweeps.watch(over)] if sweeps is not None else []),
            )
        finally:
            feed.stop()
            still.stop()
            leaving = [asyncio.create_task(control.stop())] if control is not None else []
            if thread.ident is not None:
                await asyncio.to_thread(thread.join)
            await asyncio.gather(*leaving)
            await settle(asyncio.create_task(app.stop()), 3)
            await settle(starting, 1)
            shutil.rmtree(app.conf.datadir, ignore_errors=True)
        if app.crashed and not pipeline.error:
            raise LetheError(
                f"the agents ended ({type(app.crash_reason).__name__}); the log says why, start again"
            )

    def _told(self, told: asyncio.Event, number: signal.Signals) -> None:
        """Stop, and be gone within ten seconds: a store or a broker that does not answer is not waited for."""
        if not told.is_set():
            told.set()
            self.interrupted = number == signal.SIGINT
            self._last = threading.Timer(_LEAVE_SECONDS, _leave)
            self._last.daemon = True
            self._last.start()

    async def _report(
        self, over: Callable[[], bool], feed: Feed, pipeline: Pipeline, still: Standstill
    ) -> None:
        progress = Progress()
        heard = 0.0
        while not over():
            if self.on_progress is not None:
                progress.committed = pipeline.committed
                progress.total = max(
                    progress.total, sum((p.end or p.start) - p.start for p in feed.partitions())
                )
                self.on_progress(progress)
            if time.monotonic() - heard > _LAG_SECONDS:
                heard = time.monotonic()
                behind = feed.lag()
                self.metrics.lag(behind | {p: max(n, behind.get(p, 0)) for p, n in still.lag().items()})
            await asyncio.sleep(0.1)
        if self.on_progress is not None:
            progress.committed = pipeline.committed
            self.on_progress(progress)


class Sweeps:
    """How long ago the last retention sweep was, of whatever worker: one that is late is seen in readiness."""

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._started = runtime.clock()
        self._late: timedelta | None = None

    def trouble(self) -> str | None:
        """Say that sweeps do not come, if so."""
        if self._late is None:
            return None
        return f"retention: no sweep for {int(self._late.total_seconds() // 3600)} hours; `lethe expire` says why"

    async def watch(self, over: Callable[[], bool]) -> None:
        """Look once a minute."""
        looked = -_SWEEP_LOOK_SECONDS
        while not over():
            if time.monotonic() - looked >= _SWEEP_LOOK_SECONDS:
                looked = time.monotonic()
                with suppress(LetheError):  # a store that does not answer shows elsewhere
                    await asyncio.to_thread(self._look)
            await asyncio.sleep(0.2)

    def _look(self) -> None:
        now, last = self._runtime.clock(), clock_guard.last_run(self._runtime.objects)
        if last is not None:
            self._metrics.last_sweep(last)
        since = now - max(self._started, last or self._started)
        self._late = since if since > _SWEEP_LATE else None


class _Positions:
    """The committed position of a source, through a handle of the feed's own."""

    def __init__(self, metadata: Table) -> None:
        self._metadata = metadata

    def __call__(self, source: str) -> int | None:
        self._metadata.reload()
        return self._metadata.transaction(source)


def _why_not_ready(
    feed: Feed, pipeline: Pipeline, still: Standstill, control: ControlSide | None, sweeps: Sweeps | None
) -> str | None:
    """Say what keeps one of the two sides from doing its work: records, and requests with the leader's sweeps."""
    if feed.error or pipeline.error:
        return "stopping after an error"
    if not feed.settled.is_set():
        return "waiting for the first assignment"
    if feed.shut_out:
        return "the broker refuses the log-in"
    if pipeline.refused is not None:
        return f"the store refuses commits: {pipeline.refused}"
    for side in (feed, still, control, sweeps):
        if side is not None and (why := side.trouble()) is not None:
            return why
    return None


async def _let_go() -> None:
    """Cancel what is left and wait for it, but no longer than a second."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=1)


def _leave() -> None:
    """End the process: what is not committed is read again from the table, as after any crash."""
    log.error(
        "not drained within %d s: leaving; the next worker reads again what is not committed", _LEAVE_SECONDS
    )
    logging.shutdown()
    os._exit(1)


async def _first(event: Coroutine[Any, Any, Any], faust: asyncio.Task[None]) -> None:
    """Wait until the agents listen; raise what kept Faust from starting."""
    waiting = asyncio.ensure_future(event)
    await asyncio.wait({waiting, faust}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        if error := faust.exception():
            raise error
        raise LetheError("Faust ended before its agents started; the log says why")
