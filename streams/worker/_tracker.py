"""What has been split and waits for its commit: per source, only a contiguous run is ever handed over.

Batches are split by several agents at a time and may arrive in any order, or (a channel that was cleared, an agent
that failed) not at all. Each batch carries the generation of its assignment and its number in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lethe.schemas.transformed import TransformedBatch


@dataclass(slots=True)
class _Progress:
    generation: int
    next: int = 0  # the number of the batch that must come next
    ready: list[TransformedBatch] = field(default_factory=list)
    early: dict[int, TransformedBatch] = field(default_factory=dict)


@dataclass(slots=True)
class Tracker:
    """Progress of every source that is assigned. Pure bookkeeping; the caller holds the lock."""

    _sources: dict[str, _Progress] = field(default_factory=dict)
    records: int = 0  # waiting, contiguous or not
    held: int = 0  # bytes of their rows

    def start(self, source: str, generation: int) -> None:
        """Begin anew with a source: what is held of it is dropped."""
        self.drop(source)
        self._sources[source] = _Progress(generation)

    def drop(self, source: str) -> None:
        """Forget a source and everything held of it."""
        progress = self._sources.pop(source, None)
        if progress is not None:
            self._subtract([*progress.ready, *progress.early.values()])

    def done(self, transformed: TransformedBatch, generation: int, sequence: int) -> bool:
        """Take in a batch; False if it is of an assignment that is over, or came twice."""
        progress = self._sources.get(transformed.source)
        if (
            progress is None
            or progress.generation != generation
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
        """Hand over every contiguous run, to be committed now; it is no longer held."""
        taken: list[TransformedBatch] = []
        for progress in self._sources.values():
            taken += progress.ready
            progress.ready = []
        self._subtract(taken)
        return taken

    def _subtract(self, batches: list[TransformedBatch]) -> None:
        self.records -= sum(map(_size, batches))
        self.held -= sum(p.held for p in batches)

    def ready(self) -> int:
        """Count the records that a `take` would give."""
        return sum(_size(p) for progress in self._sources.values() for p in progress.ready)

    def waiting_for(self) -> dict[str, int]:
        """Return the sources that hold batches beyond a missing one: source -> number of the missing batch."""
        return {name: progress.next for name, progress in self._sources.items() if progress.early}


def _size(transformed: TransformedBatch) -> int:
    return max(1, transformed.counts.messages)
