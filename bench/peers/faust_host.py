"""How the Faust peers are made and run: one app in this process, until the work is done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Iterator

import faust

from bench.peer import Request

logging.basicConfig(level=logging.CRITICAL)


def make_app(request: Request) -> faust.App:
    """Return an app with Faust's defaults, apart from what a short run and a backlog need."""
    return faust.App(
        request.group,
        broker=f"aiokafka://{request.bootstrap}",
        datadir=tempfile.mkdtemp(dir=request.directory),
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        # At the default of 1 MB a partition it waits for the broker half of the time.
        consumer_max_fetch_size=16 * 2**20,
        broker_session_timeout=6,  # some brokers hold a group's first join for the whole session time-out
        broker_heartbeat_interval=2,
    )


class Done:
    """How an agent tells that all records are done, or that it failed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._error: BaseException | None = None

    def set(self) -> None:
        """End the run."""
        self._event.set()

    @contextlib.contextmanager
    def or_failed(self) -> Iterator[None]:
        """Around an agent's body: end the run with its error. Faust would start the agent again, for ever."""
        try:
            yield
        except Exception as error:
            self._error = self._error or error
            self._event.set()
            raise

    def wait(self, app: faust.App, timeout: float) -> None:
        """Run the app to the end of the work; raise an agent's error, or `TimeoutError` after `timeout` s.

        The process ends right after, so the app is not shut down: that would add seconds to every run.
        """

        async def main() -> None:
            app.finalize()
            await app.start()
            async with asyncio.timeout(timeout):
                await self._event.wait()

        # Not `asyncio.run`: it would cancel what is still running, and Faust reports that as crashed agents.
        asyncio.new_event_loop().run_until_complete(main())
        if self._error is not None:
            raise self._error
