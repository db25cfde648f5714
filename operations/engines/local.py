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
        """Run `work` on each text and yield what came of it, in order of the texts, while the others still run.

        Raises `TransientError` when processes die all the time.
        """
        if min(self._workers, len(texts)) < 2:
            yield from map(work, texts)
            return
        done: dict[int, str] = {}
        at = 0
        for _ in range(_TRIES):
            begun: dict[int, Future[str]] = {}
            try:
                pool = self._open()
                begun = {n: pool.submit(work, texts[n]) for n in range(at, len(texts)) if n not in done}
                while at < len(texts):
                    answer = done.pop(at) if at in done else begun[at].result()
                    at += 1
                    yield answer
            except BrokenProcessPool:
                ended = {n: f for n, f in begun.items() if n >= at and f.done() and f.exception() is None}
                done |= {n: f.result() for n, f in ended.items()}
                self.close()
                continue
            except BaseException:  # what is left has not to be done any more
                left = [future for future in begun.values() if not future.done()]
                for future in left:
                    future.cancel()
                if left:
                    self.close(wait=False)
                raise
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
