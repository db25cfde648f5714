"""One worker of the benchmark: `python -m bench.worker REPORT.json`, configured by LETHE_… variables.

It is the worker of `lethe worker --until-end` with three moments noted: when its first partitions were assigned, when
each commit landed, and what it had used by then.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.peer import peak_rss, used
from streams.feed import Feed
from streams.metrics import Metrics
from streams.runtime import Runtime
from streams.settings import load
from streams.worker import Worker
from tiers.prepared import Prepared


class Noted(Metrics):
    """The worker's metrics, and the moments of its commits: (monotonic seconds, processor seconds, records)."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[tuple[float, float, int]] = []

    def committed(self, batches: list[Prepared], seconds: float) -> None:
        """A commit has landed."""
        self.commits.append((time.monotonic(), used(), sum(b.counts.records for b in batches)))
        super().committed(batches, seconds)


def main() -> None:
    """Work to the end of what is there and say how it went."""
    report = Path(sys.argv[1])
    assigned: list[tuple[float, float]] = []
    start = Feed._start  # noqa: SLF001 - the first moment at which anything can be fetched

    def noted(self: Feed, consumer: Any, topic: str, number: int) -> Any:
        assigned.append((time.monotonic(), used()))
        return start(self, consumer, topic, number)

    Feed._start = noted  # type: ignore[method-assign]  # noqa: SLF001
    metrics = Noted()
    Worker(Runtime(load()), stop_at_end=True, metrics=metrics).run()
    first, last = (assigned or [(0.0, 0.0)])[0], (metrics.commits or [(0.0, 0.0, 0)])[-1]
    report.write_text(
        json.dumps(
            {
                "first": first[0],
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
