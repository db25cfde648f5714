"""Add up the ledger, what came in and where each record went, and compare it with the tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from lethe.operations.runtime import Runtime
from lethe.tiers.ledger import reconcile

_COUNTED: Final = (
    "messages",
    "records",
    "split",
    "late",
    "rejected",
    "tombstones",
    "redacted",
    "content_dropped",
    "identifiers",
    "in_scope",
    "usage",
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The commits of one stream, or of one of its partitions, added up: counts, and the gaps of each commit."""

    stream: str
    partition: int
    first_offset: int
    last_offset: int
    commits: int
    messages: int
    records: int
    split: int
    late: int
    rejected: int
    tombstones: int
    redacted: int
    content_dropped: int
    identifiers: int
    in_scope: int
    usage: int
    rejected_by_reason: dict[str, int]
    gaps: list[Any] | None


def by_partition(runtime: Runtime, stream: str | None = None) -> list[Summary]:
    """Add up the ledger by stream and partition, in their order; of one stream only, if it is named."""
    return _summaries(runtime, ("stream", "partition"), stream)


def by_stream(runtime: Runtime) -> list[Summary]:
    """Add up the ledger by stream; partition and first offset are those of the stream's first commit."""
    return _summaries(runtime, ("stream",), None)


def check(runtime: Runtime, on_stream: Callable[[int, int], None] | None = None) -> list[str]:
    """Compare ledger and tables; each finding is a sentence, none means that everything adds up.

    `on_stream` is told how many topic-partitions are compared, and of how many.
    """
    return [str(finding) for finding in reconcile.check(runtime.warehouse, on_stream)]


def _summaries(runtime: Runtime, columns: tuple[str, ...], stream: str | None) -> list[Summary]:
    frame = reconcile.ledger_rows(runtime.warehouse)
    if stream is not None:
        frame = frame.filter(frame.get_column("stream") == stream)
    return [_summed(part.to_dicts()) for part in frame.partition_by(*columns)] if frame.height else []


def _summed(commits: list[dict[str, Any]]) -> Summary:
    reasons: dict[str, int] = {}
    for commit in commits:
        for reason, count in orjson.loads(commit["rejected_by_reason"]).items():
            reasons[reason] = reasons.get(reason, 0) + count
    return Summary(
        stream=commits[0]["stream"],
        partition=commits[0]["partition"],
        first_offset=commits[0]["first_offset"],
        last_offset=max(c["last_offset"] for c in commits),  # what a replay moved lies among the others
        commits=len(commits),
        **{name: sum(c[name] or 0 for c in commits) for name in _COUNTED},
        rejected_by_reason=dict(sorted(reasons.items())),
        gaps=[c["gap"] for c in commits if c["gap"]] or None,
    )
