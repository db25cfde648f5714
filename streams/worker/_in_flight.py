"""Batches between the feed and the tables: delivered, picked up by an agent, split, or lost on the way.

Nothing is inferred from an agent having run: a batch counts once it is split and in the tracker, and a batch that never
gets there is missed by its number, or by the clock when nothing of its source comes behind it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from lethe.operations.settings import Flush
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch
from lethe.streams.worker._tracker import Tracker

Key = tuple[str, int, int]  # source, generation, sequence


class InFlight:
    """Bookkeeping of the batches on their way. Safe to call from several threads."""

    def __init__(self, flush: Flush) -> None:
        self._flush = flush
        self._lock = threading.Lock()
        self._tracker = Tracker()
        self._waiting: dict[Key, float] = {}  # delivered, not picked up by an agent yet
        self._newest_picked = 0.0  # when the newest batch an agent ever picked up was delivered
        self._working: set[Key] = set()
        self._oldest: float | None = None  # when the first record was read that waits for its commit

    @property
    def records(self) -> int:
        """Records that are split and wait for their commit."""
        return self._tracker.records

    def start(self, source: str, generation: int) -> None:
        """Begin a source; whatever is still on its way of an earlier generation is void."""
        with self._lock:
            self._forget(source)
            self._tracker.start(source, generation)

    def drop(self, source: str) -> None:
        """Forget a source and everything on its way."""
        with self._lock:
            self._forget(source)
            self._tracker.drop(source)

    def delivered(self, load: Iterable[Batch]) -> None:
        """Note batches that are about to be put onto the channel."""
        with self._lock:
            self._waiting |= dict.fromkeys(map(_key, load), time.monotonic())

    def pick_up(self, load: Sequence[Batch]) -> tuple[list[Batch], set[str]]:
        """Return the batches an agent is to split, and the sources of which an earlier batch was lost.

        Batches of an assignment that is over, or behind a lost one, are not to be split.
        """
        mine: list[Batch] = []
        lost: set[str] = set()
        with self._lock:
            for batch in load:
                key = _key(batch)
                delivered = self._waiting.pop(key, None)
                if delivered is None:
                    continue
                self._newest_picked = max(self._newest_picked, delivered)
                # The channel is first in, first out: an earlier batch nobody picked up is not there any more.
                if any(k[:2] == key[:2] and k[2] < key[2] for k in self._waiting):
                    lost.add(batch.source.id)
                else:
                    mine.append(batch)
                    self._working.add(key)
        return mine, lost

    def put_down(self, batches: Iterable[Batch]) -> None:
        """Note that an agent no longer works on these batches."""
        with self._lock:
            self._working.difference_update(map(_key, batches))

    def split(self, batch: Batch, transformed: TransformedBatch) -> bool:
        """Take in what a batch has become; return whether a commit's worth is waiting."""
        with self._lock:
            if self._tracker.done(transformed, batch.generation, batch.sequence):
                since = batch.since or time.monotonic()
                self._oldest = since if self._oldest is None else min(since, self._oldest)
            return self._full()

    def take(self) -> list[TransformedBatch]:
        """Hand over every contiguous run, to be committed now."""
        with self._lock:
            batches = self._tracker.take()
            self._oldest = time.monotonic() if self._tracker.ready() else None
            return batches

    def full(self) -> bool:
        """Tell whether a commit's worth is waiting. With one being committed, twice that is the most that is held."""
        with self._lock:
            return self._full()

    def ready(self) -> bool:
        """Tell whether there is anything to commit."""
        with self._lock:
            return bool(self._tracker.ready())

    def aged(self) -> bool:
        """Tell whether a record has waited for its commit as long as it may (`flush.seconds`)."""
        with self._lock:
            return self._oldest is not None and time.monotonic() - self._oldest >= self._flush.seconds

    def idle(self) -> bool:
        """Tell whether no batch is on its way to an agent or in its hands."""
        with self._lock:
            return not self._waiting and not self._working

    def empty(self) -> bool:
        """Tell whether nothing is on its way at all, nor waits for its commit."""
        with self._lock:
            return not self._waiting and not self._working and not self._tracker.records

    def lost(self, seconds: float) -> set[str]:
        """Return the sources of batches that nobody picked up for so many seconds, though somebody could have.

        While agents are busy or held back, a batch may wait for long; but not behind one delivered after it.
        """
        now = time.monotonic()
        with self._lock:
            return {
                k[0]
                for k, since in self._waiting.items()
                if now - since > seconds and (not self._working or since < self._newest_picked)
            }

    def _forget(self, source: str) -> None:
        self._waiting = {k: t for k, t in self._waiting.items() if k[0] != source}

    def _full(self) -> bool:
        waiting = self._tracker
        return waiting.records >= self._flush.records or waiting.held >= self._flush.megabytes * 1_000_000


def _key(batch: Batch) -> Key:
    return batch.source.id, batch.generation, batch.sequence
