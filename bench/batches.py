"""Batches of reports that were made up, as the feed hands them to the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lethe.streams.transform.batch import Batch, Source


def batch_of(values: Sequence[bytes | None], first: int, name: str) -> Batch:
    """Return the messages from offset `first` on as a batch of one topic-partition."""
    return Batch(
        Source("cdr", 0, "c/cdr/0", name), 0, 1, first, first + len(values) - 1,
        np.arange(first, first + len(values), dtype=np.int64), list(values), np.full(len(values), -1, np.int64),
    )  # fmt: skip
