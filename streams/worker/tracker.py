"""What has been split and waits for its commit: per source, only a contiguous run is ever handed over.

Batches are split by several agents at a time and may arrive in any order, or (a channel that was cleared, an agent
that failed) not at all. Each batch carries the epoch of its assignment and its number in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lethe.schemas.transformed import TransformedBatch


@dataclass(slots=True)
class _Progress:
    epoch: int
    next: int = 0  # the number of the batch that must come next
    ready: list[TransformedBatch] = field(default_factory=list)
    early: dict[int, TransformedBatch] = field(default_factory=dict)


@dataclass(slots=True)
class Tracker:
    """Progress of every source that is assigned. Pure bookkeeping; the caller holds the lock."""

    _sources: dict[str, _Progress] = field(default_factory=dict)
    records: int = 0  # waiting, contiguous or not
    held: int = 0  # bytes of their rows

    def start(self, source: str, epoch: int) -> None:
        """Begin anew with a source: what is held of it is dropped."""
        self.drop(source)
        self._sources[source] = _Progress(epoch)

    def drop(self, source: str) -> None:
        """Forget a source and everything held of it."""
        progress = self._sources.pop(source, None)
        if progress is not None:
            self._less([*progress.ready, *progress.early.values()])

    def done(self, transformed: TransformedBatch, epoch: int, sequence: int) -> bool:
        """Take in a batch; False if it is of an assignment that is over, or came twice."""
        progress = self._sources.get(transformed.source)
        if (
            progress is None
            or progress.epoch != epoch
            or sequence < progress.next
            or sequence in progress.early
        ):
            return False
        progress.early[sequence] = transformed
        self.records += _size(transformed)
        self.held += transformed.held
        while (following := progress.early.pop(progress.next, None)) is not None:
            progress.ready.append(following)
            progress.next += 1
        return True

    def take(self) -> list[TransformedBatch]:
        """Every contiguous run, to be committed now; it is no longer held here."""
        taken: list[TransformedBatch] = []
        for progress in self._sources.values():
            taken += progress.ready
            progress.ready = []
        self._less(taken)
        return taken

    def _less(self, gone: list[TransformedBatch]) -> None:
        self.records -= sum(map(_size, gone))
        self.held -= sum(p.held for p in gone)

    def ready(self) -> int:
        """How many records a `take` would give."""
        return sum(_size(p) for progress in self._sources.values() for p in progress.ready)

    def waiting_for(self) -> dict[str, int]:
        """Sources that hold batches beyond a missing one: source -> number of the batch that is missing."""
        return {name: progress.next for name, progress in self._sources.items() if progress.early}


def _size(transformed: TransformedBatch) -> int:
    return max(1, transformed.counts.messages)
