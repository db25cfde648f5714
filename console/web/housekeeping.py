"""What the service does by itself while it runs, whether anybody opens a page or not."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from lethe.console.web.service import Service
from lethe.schemas.errors import LetheError
from lethe.schemas.words import counted

logger = logging.getLogger("lethe.web")
EVERY: Final = 600.0
"""Seconds between two rounds; the first is at the start. Several instances may do it at once."""


def housekeeping(
    service: Service, every: float = EVERY
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Return what an application does around its life: rounds in a thread of their own, until it ends."""

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        end = threading.Event()
        thread = threading.Thread(
            target=_rounds, args=(service, every, end), name="housekeeping", daemon=True
        )
        thread.start()
        yield
        end.set()
        thread.join(20)

    return lifespan


def _rounds(service: Service, every: float, end: threading.Event) -> None:
    while not end.is_set():
        try:
            ended = service.tidy()
        except LetheError as error:
            logger.error("what is over could not be ended, it is tried again: %s", error)
        except Exception as error:  # noqa: BLE001  (the service goes on; the next round tries again)
            logger.error("what is over could not be ended, it is tried again: %s", type(error).__name__)
        else:
            if ended:
                logger.info("%s ended thirty days after the answer", counted(len(ended), "request"))
        end.wait(every)
