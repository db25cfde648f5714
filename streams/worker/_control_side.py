"""The control side kept alive: the Faust application of the control topics is made anew when it has died.

Faust's consumer ends for good at the first answer it did not expect, such as a right that is withdrawn for a moment,
and tells nobody. Records go on meanwhile: they are read and split without it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from lethe.operations.settings import Settings
from lethe.schemas.errors import LetheError
from lethe.streams.broker.client import Admin, Login
from lethe.streams.worker.app import make_control_app, settle

log = logging.getLogger("lethe.control")

_LOOK_SECONDS: Final = 0.5
_JOIN_SECONDS: Final = 120.0  # a group that is not at rest may take two session time-outs
_DEAD_SECONDS: Final = 3.0  # Faust ends its fetcher itself at each rebalance, and starts it again
_PAUSES: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
_PATIENT_SECONDS: Final = 30.0
_RIGHTS: Final = {
    "TopicAuthorizationFailedError": "needs READ on lethe.requests and the leader's topic",
    "GroupAuthorizationFailedError": "needs READ on the group of the control side",
}


class ControlSide:
    """Runs the control topics of a worker. `attach` gives an application its agents and timers."""

    def __init__(self, settings: Settings, attach: Callable[[Any], None]) -> None:
        self._settings = settings
        self._attach = attach
        self._login = Login(settings)
        self._app: Any = None
        self._starting: asyncio.Task[None] | None = None
        self._down_since: float | None = time.monotonic()
        self._why = "it has not joined its group yet"
        self._said = False

    def trouble(self) -> str | None:
        """Say why requests are not answered, once that has lasted for more than a moment."""
        if self._down_since is None or time.monotonic() - self._down_since < _PATIENT_SECONDS:
            return None
        return f"control topics: {self._why}"

    async def run(self, stopping: Callable[[], bool]) -> None:
        """Run the control side until `stopping`; whatever ends it before is said once and tried again."""
        tries = 0
        while not stopping():
            well = time.monotonic()
            why = await self._live(stopping)
            await self.stop()
            if why is None:
                continue  # stopping, or other credentials to begin with
            tries = 0 if time.monotonic() - well > 2 * _PAUSES[-1] else tries + 1
            self._down(why)
            await self._pause(_PAUSES[min(tries, len(_PAUSES) - 1)], stopping)

    async def stop(self) -> None:
        """Leave the group."""
        app, starting, self._app, self._starting = self._app, self._starting, None, None
        if app is None:
            return
        await settle(asyncio.create_task(app.stop()), 3)
        if starting is not None:
            await settle(starting, 1)
            if not starting.cancelled():
                starting.exception()
        shutil.rmtree(app.conf.datadir, ignore_errors=True)

    async def _live(self, stopping: Callable[[], bool]) -> str | None:
        """Run one application; return why it ended, None if it was not by itself."""
        try:
            self._app = app = await asyncio.to_thread(make_control_app, self._settings)
            await asyncio.to_thread(self._attach, app)
        except LetheError as error:
            return str(error)
        self._starting = starting = asyncio.create_task(app.start(), name="control side")
        begun, dead_since = time.monotonic(), None
        while not stopping():
            if self._login.rotated():
                log.info(
                    "the broker's credentials have changed: the control side begins again with the new ones"
                )
                return None
            now = time.monotonic()
            if starting.done() and starting.exception() is not None:
                return await asyncio.to_thread(self._diagnosed, starting.exception())
            if not starting.done() and now - begun > _JOIN_SECONDS:
                return "the group did not take this worker in"
            fetcher = app._fetcher
            if app.crashed or fetcher.crashed:
                dead_since = dead_since or now
                if now - dead_since > _DEAD_SECONDS:
                    reason = fetcher.crash_reason or app.crash_reason
                    return await asyncio.to_thread(self._diagnosed, reason)
            else:
                dead_since = None
                if starting.done():
                    self._up()
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    def _diagnosed(self, error: BaseException | None) -> str:
        """Say why the application ended. Its library tells no certificate from a password: the feed's does."""
        if isinstance(error, LetheError):
            return str(error)  # ours, such as of a store that did not answer a sweep
        if type(error).__name__ not in _RIGHTS:
            try:
                Admin(self._settings).reach()
            except LetheError as known:
                return str(known)
        return _reason(error)

    def _up(self) -> None:
        self._down_since = None
        if self._said:
            self._said = False
            log.info("the control side answers again")

    def _down(self, why: str) -> None:
        self._down_since = self._down_since or time.monotonic()
        if not self._said or why != self._why:
            log.error("the control side ended: %s; it is tried again, records go on meanwhile", why)
        self._why, self._said = why, True

    async def _pause(self, seconds: float, stopping: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while not stopping() and time.monotonic() < until:
            with suppress(LetheError):
                if self._login.rotated():
                    return
            await asyncio.sleep(_LOOK_SECONDS)


def _reason(error: BaseException | None) -> str:
    """Name what ended the application: the library's class of error says it, and its text may quote anything."""
    name = "no reason given" if error is None else type(error).__name__
    rights = _RIGHTS.get(name)
    return name if rights is None else f"{name}: the broker's user {rights} (docs/kafka.md)"
