"""One commit, tried until it lands or has to be given up: who is fenced, what is tried again, and for how long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from lethe.schemas.errors import ExpiredKeyError, FencedError, TransientError, UnknownOutcomeError
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.worker.metrics import Metrics

log = logging.getLogger("lethe.pipeline")

_LEAST_TRIES: Final = 4
_RETRY_SECONDS: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_LOOK_SECONDS: Final = 0.1


@dataclass(slots=True)
class Outcome:
    """What became of a commit. Sources of `again` are to be read again from the table, for the reason given."""

    landed: list[TransformedBatch] = field(default_factory=list)
    again: dict[str, str] = field(default_factory=dict)
    error: BaseException | None = None  # the worker cannot go on


class Committer:
    """Commits batches in a thread of its own. While the store refuses, it waits and tries again."""

    def __init__(
        self, commit: Callable[[list[TransformedBatch]], None], metrics: Metrics, patience: float
    ) -> None:
        self._commit = commit
        self._metrics = metrics
        self._patience = patience  # seconds a store may refuse before the worker ends
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self.refused: str | None = None  # what the store answered last, while it refuses

    async def commit(self, batches: list[TransformedBatch], giving_up: Callable[[], bool]) -> Outcome:
        """Commit batches of several sources at once; those of a fenced source are left out and the others go on.

        A store that refuses is asked again, at growing intervals, for as long as the worker may wait; `giving_up` tells
        that it no longer may. What was not committed then is read again by whoever comes next: nothing is lost.
        """
        outcome, tries, begun = Outcome(), 0, time.monotonic()
        while batches:
            started = time.monotonic()
            try:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, batches)
            except FencedError as error:
                self._metrics.fenced()
                fenced = error.sources or frozenset(b.source for b in batches)
                outcome.again |= dict.fromkeys(fenced, "another worker committed this partition")
                batches = [b for b in batches if b.source not in fenced]
            except ExpiredKeyError:
                # A month ended between the split and the commit: split again, its records are late now.
                why = "a month ended before its records were committed"
                outcome.again |= dict.fromkeys((b.source for b in batches), why)
                break
            except (TransientError, UnknownOutcomeError) as error:
                tries += 1
                if tries >= _LEAST_TRIES and time.monotonic() - begun >= self._patience:
                    outcome.error = error
                    break
                self._refused(error, tries)
                if await self._pause(min(_LONGEST_PAUSE, _RETRY_SECONDS * 2**tries), giving_up):
                    log.warning(
                        "stopping while the store refuses: what is not committed is read again from the table"
                    )
                    break
            except Exception as error:
                log.error("a commit failed", exc_info=error)
                outcome.error = error
                break
            else:
                if self.refused is not None:
                    log.info("the store takes commits again, after %d tries", tries)
                self.refused = None
                self._metrics.committed(batches, time.monotonic() - started)
                outcome.landed = batches
                break
        return outcome

    def hurry(self) -> None:
        """Give a commit up after a few tries: somebody waits for the end of this run."""
        self._patience = 0.0

    def close(self) -> None:
        """End the thread once its commit has ended."""
        self._thread.shutdown(wait=True)

    def _refused(self, error: TransientError | UnknownOutcomeError, tries: int) -> None:
        self._metrics.retried()
        if str(error) != self.refused:  # once for each answer, not for each try
            log.warning("a commit failed, try %d; it is tried again", tries, exc_info=error)
        self.refused = str(error)

    async def _pause(self, seconds: float, giving_up: Callable[[], bool]) -> bool:
        """Wait before the next try; return at once, and True, when it is no longer wanted."""
        until = time.monotonic() + seconds
        while not giving_up():
            left = until - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(_LOOK_SECONDS, left))
        return True
