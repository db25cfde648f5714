"""The worker's life: check, start, run until told to stop or until the end of what is there, commit, leave."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from lethe.operations.proof.publisher import Publisher
from lethe.operations.runtime import Runtime
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import LetheError
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch
from lethe.streams.worker._memory import bound_memory
from lethe.streams.worker.app import make_app, settle
from lethe.streams.worker.feed import Feed
from lethe.streams.worker.metrics import HealthServer, Metrics
from lethe.streams.worker.pipeline import Pipeline
from lethe.streams.worker.topics import StillTheSame, Streams, identify
from lethe.tiers.delta.table import Table

log = logging.getLogger("lethe.worker")

_LAG_SECONDS: Final = 2.0


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
    on_app: Callable[[Any, Metrics], None] | None = None  # gives the application more agents before it starts
    metrics: Metrics = field(default_factory=Metrics)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, or to the end of what is there."""
        bound_memory()
        asyncio.run(self._run())

    async def _run(self) -> None:
        settings = self.runtime.settings
        for name in settings.sources.values():
            formats.get(name)
        _ = self.runtime.objects  # a root that cannot be is found out before the broker is asked for
        identities = identify(settings, settings.sources)
        warehouse, ring = self.runtime.warehouse, self.runtime.ring
        streams = Streams(warehouse.sources(), settings, identities)
        streams.check(self.accept_gap)

        publisher = Publisher(self.runtime, self.metrics)

        same = StillTheSame(settings, identities)

        def commit(batches: list[TransformedBatch]) -> None:
            same.check()
            publisher.add(warehouse.commit(batches, ring))

        pipeline = Pipeline(self.runtime.transform, commit, settings.flush, self.metrics, settings.threads)
        pipeline.finish_early = self.stop_at_end
        feed = Feed(
            settings, streams, _Positions(warehouse.table("metadata")), pipeline, self.accept_gap, same.check
        )
        health = HealthServer(
            settings.metrics_host, settings.metrics_port, self.metrics, lambda: _why_not_ready(feed, pipeline)
        )
        health.start()
        log.info("metrics on port %d", health.port)
        publisher.start()
        try:
            await self._live(feed, pipeline)
        finally:
            await asyncio.to_thread(publisher.stop)
            health.stop()
            pipeline.close()
        if error := pipeline.error or feed.error:
            raise error

    async def _live(self, feed: Feed, pipeline: Pipeline) -> None:
        loop = asyncio.get_running_loop()
        listening, told = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        app, channel = make_app(self.runtime.settings, pipeline, listening.set)
        if self.on_app is not None:
            self.on_app(app, self.metrics)

        def put(load: list[Batch]) -> Future[None]:
            for batch in load:
                self.runtime.warehouse.stamped(
                    int(batch.received_ms[len(batch.values) - 1]) if batch.values else -1
                )
            # As it is, not wrapped in an event: `BatchChannel` says why.
            return asyncio.run_coroutine_threadsafe(channel.put(load), loop)

        pipeline.connect(feed, put)
        # Faust joins its own group in here, which takes seconds; the agents listen long before.
        faust = asyncio.create_task(app.start(), name="faust")
        thread = threading.Thread(target=feed.run, name="feed")
        try:
            await _first(listening.wait(), faust)
            thread.start()
            await asyncio.gather(
                pipeline.run(lambda: self._over(told, feed, pipeline, faust), told.is_set),
                self._report(told, feed, pipeline, faust),
            )
        finally:
            feed.stop()
            if thread.ident is not None:
                await asyncio.to_thread(thread.join)
            stop = asyncio.create_task(app.stop())
            await settle(stop, 10)
            await settle(faust, 1)
            shutil.rmtree(app.conf.datadir, ignore_errors=True)
        if faust.done() and not faust.cancelled() and (error := faust.exception()) and not pipeline.error:
            raise error

    def _over(self, told: asyncio.Event, feed: Feed, pipeline: Pipeline, faust: asyncio.Task[None]) -> bool:
        """Tell whether to stop: told to, failed, or (if asked for) everything that was there is committed."""
        if told.is_set() or feed.error or pipeline.error:
            return True
        if faust.done() and faust.exception() is not None:
            return True
        return self.stop_at_end and pipeline.drained()

    async def _report(
        self, told: asyncio.Event, feed: Feed, pipeline: Pipeline, faust: asyncio.Task[None]
    ) -> None:
        progress = Progress()
        heard = 0.0
        while not self._over(told, feed, pipeline, faust):
            if self.on_progress is not None:
                progress.committed = pipeline.committed
                progress.total = max(
                    progress.total, sum((p.end or p.start) - p.start for p in feed.partitions())
                )
                self.on_progress(progress)
            if time.monotonic() - heard > _LAG_SECONDS:
                heard = time.monotonic()
                self.metrics.lag(feed.lag())
            await asyncio.sleep(0.1)
        if self.on_progress is not None:
            progress.committed = pipeline.committed
            self.on_progress(progress)


class _Positions:
    """The committed position of a source, through a handle of the feed's own."""

    def __init__(self, metadata: Table) -> None:
        self._metadata = metadata

    def __call__(self, source: str) -> int | None:
        self._metadata.reload()
        return self._metadata.transaction(source)


def _why_not_ready(feed: Feed, pipeline: Pipeline) -> str | None:
    if feed.error or pipeline.error:
        return "stopping after an error"
    if not feed.settled.is_set():
        return "waiting for the first assignment"
    return None


async def _first(event: Coroutine[Any, Any, Any], faust: asyncio.Task[None]) -> None:
    """Wait until the agents listen; raise what kept Faust from starting."""
    waiting = asyncio.ensure_future(event)
    await asyncio.wait({waiting, faust}, return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        if error := faust.exception():
            raise error
        raise LetheError("Faust ended before its agents started; the log says why")
