"""One worker of the benchmark: `python -m bench.worker REPORT.json [forever]`, configured by LETHE_… variables.

It is the worker of `lethe worker --stop-at-end` with some moments noted: when its first partitions were assigned, when
the first batch was read, when each commit landed, and what it had used by then.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import lethe.console  # noqa: F401  (first: it says how many threads polars makes, as for `lethe`)
from bench.peer import peak_rss, used
from lethe.operations.runtime import Runtime
from lethe.operations.settings import load
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import Batch
from lethe.streams.worker._assignment import Assignments
from lethe.streams.worker.metrics import Metrics
from lethe.streams.worker.pipeline import Pipeline
from lethe.streams.worker.worker import Worker


class Noted(Metrics):
    """The worker's metrics, and its commits: monotonic seconds, processor seconds, records, last offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[float, float, int, dict[int, int]]] = []

    def committed(self, batches: list[TransformedBatch], seconds: float) -> None:
        """A commit has landed."""
        last = {b.partition: b.last for b in batches}
        self.commits.append((time.monotonic(), used(), sum(b.counts.records for b in batches), last))
        super().committed(batches, seconds)


def main() -> None:
    """Work to the end of what is there and say how it went."""
    report = Path(sys.argv[1])
    assigned: list[tuple[float, float]] = []
    begin = Assignments.begin

    def noted(self: Assignments, *arguments: Any) -> Any:
        assigned.append((time.monotonic(), used()))
        return begin(self, *arguments)

    Assignments.begin = noted  # type: ignore[method-assign]
    read: list[float] = []
    deliver = Pipeline.deliver

    def delivered(self: Pipeline, load: list[Batch]) -> Any:
        read.append(time.monotonic())
        return deliver(self, load)

    Pipeline.deliver = delivered  # type: ignore[method-assign]
    metrics = Noted()
    Worker(Runtime(load()), stop_at_end="forever" not in sys.argv, metrics=metrics).run()
    first, last = (assigned or [(0.0, 0.0)])[0], (metrics.commits or [(0.0, 0.0, 0, {})])[-1]
    report.write_text(
        json.dumps(
            {
                "first": first[0],
                "read": read[:1],
                "last": last[0],
                "cpu": last[1] - first[1],
                "rss": peak_rss(os.getpid()),
                "commits": metrics.commits,
            }
        )
    )
    os._exit(0)  # the libraries' threads need not be waited for


if __name__ == "__main__":
    main()
