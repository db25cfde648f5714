"""Tell the collectors of each commit: a span while it is made, an event once it has landed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lethe.operations.telemetry.lineage import Lineage
from lethe.operations.telemetry.traces import Traces
from lethe.schemas.transformed import TransformedBatch


class Commits:
    """Whoever commits says so here: a worker, and who takes in files. Closed, it has sent what it could."""

    def __init__(self, traces: Traces, lineage: Lineage) -> None:
        self._traces = traces
        self._lineage = lineage

    @contextmanager
    def told(self, batches: Sequence[TransformedBatch]) -> Iterator[None]:
        """Measure the commit that is made within; one that fails has a span and no event."""
        with self._traces.span("lethe.commit") as span:
            yield
            span.count(partitions=len(batches), records=sum(b.counts.records for b in batches))
        self._lineage.committed(batches)

    def close(self) -> None:
        """Send what waits, for two seconds at most."""
        self._lineage.close()
