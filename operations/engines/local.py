"""Tasks in processes of this machine. A process that is killed is replaced, and what it did is done again."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from lethe.schemas.errors import TransientError

_TRIES: Final = 4


class Local:
    """Processes of this machine, one a processor unless told otherwise; with one, tasks run in this very process."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or os.cpu_count() or 1

    def map(self, work: Callable[[str], str], texts: Sequence[str]) -> Iterator[str]:
        """Run `work` on each text, in order of the texts; raises `TransientError` when processes die all the time."""
        if min(self._workers, len(texts)) < 2:
            yield from map(work, texts)
            return
        done: dict[int, str] = {}
        for _ in range(_TRIES):
            context = multiprocessing.get_context("forkserver")
            with ProcessPoolExecutor(min(self._workers, len(texts)), context, _end_when_told) as pool:
                begun: dict[int, Future[str]] = {}
                try:
                    begun = {at: pool.submit(work, text) for at, text in enumerate(texts) if at not in done}
                    for at, future in begun.items():
                        done[at] = future.result()
                except BrokenProcessPool:
                    ended = {at: f for at, f in begun.items() if f.done() and f.exception() is None}
                    done |= {at: f.result() for at, f in ended.items()}
                    continue
                except KeyboardInterrupt:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            yield from (done[at] for at in range(len(texts)))
            return
        raise TransientError("worker processes die all the time; is there memory enough? Run it again")

    def close(self) -> None:
        """Do nothing: the processes end with their tasks."""


def _end_when_told() -> None:
    """Let Ctrl-C end a process of the pool without a word: a terminal sends it to all of them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
