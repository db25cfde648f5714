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
        self._pool: ProcessPoolExecutor | None = None

    def map(self, work: Callable[[str], str], texts: Sequence[str]) -> Iterator[str]:
        """Run `work` on each text, in order of the texts; raises `TransientError` when processes die all the time."""
        if min(self._workers, len(texts)) < 2:
            yield from map(work, texts)
            return
        done: dict[int, str] = {}
        for _ in range(_TRIES):
            begun: dict[int, Future[str]] = {}
            try:
                pool = self._open()
                begun = {at: pool.submit(work, text) for at, text in enumerate(texts) if at not in done}
                for at, future in begun.items():
                    done[at] = future.result()
            except BrokenProcessPool:
                ended = {at: f for at, f in begun.items() if f.done() and f.exception() is None}
                done |= {at: f.result() for at, f in ended.items()}
                self.close()
                continue
            except BaseException:  # what is left has not to be done any more
                for future in begun.values():
                    future.cancel()
                self.close(wait=False)
                raise
            yield from (done[at] for at in range(len(texts)))
            return
        raise TransientError("worker processes die all the time; is there memory enough? Run it again")

    def close(self, wait: bool = True) -> None:
        """End the processes, which are kept from one job to the next: each has to import all that it needs."""
        if self._pool is not None:
            self._pool.shutdown(wait=wait, cancel_futures=True)
            self._pool = None

    def _open(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(self._workers, context, _end_when_told)
        return self._pool


def _end_when_told() -> None:
    """Let Ctrl-C end a process of the pool without a word: a terminal sends it to all of them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
