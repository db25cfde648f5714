"""From the runs to the table: medians, ratios, and the page they are kept on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.peer import Result
from bench.peers import BARE, FAUST_EVENTS, Peer

_HEADER = (
    "what",
    "records/s",
    "× bare",
    "× Faust events",
    "cores",
    "peak RSS, MB",
    "lowest – highest",
    "notes",
)


@dataclass
class Outcome:
    """All runs of one peer: the results of those that ended well, the last lines of those that did not."""

    peer: Peer
    results: list[Result] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Records per second of each run."""
        return [result.records / result.seconds for result in self.results]

    @property
    def rate(self) -> float | None:
        """Median of the records per second, None without a single good run."""
        return median(self.rates) if self.results else None


@dataclass(frozen=True)
class Conditions:
    """What the figures depend on, for the head of the page."""

    date: str
    machine: str
    load: float
    broker: str
    versions: dict[str, str]
    command: str
    count: int
    record_bytes: float
    partitions: int
    runs: int


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return the table, header first; a peer that failed keeps its row, with the reason."""
    by_name = {outcome.peer.name: outcome for outcome in outcomes}
    references = [by_name[name].rate if name in by_name else None for name in (BARE, FAUST_EVENTS)]
    return [_HEADER, *(_row(outcome, references) for outcome in outcomes)]


def _row(outcome: Outcome, references: Sequence[float | None]) -> tuple[str, ...]:
    notes = [outcome.results[-1].detail] if outcome.results and outcome.results[-1].detail else []
    if outcome.failures:
        notes.append(f"{len(outcome.failures)} runs failed: {outcome.failures[-1]}")
    rate = outcome.rate
    if rate is None:
        return (outcome.peer.title, "-", "-", "-", "-", "-", "-", "; ".join(notes))
    ratios = [_ratio(rate, reference) for reference in references]
    return (
        outcome.peer.title,
        f"{rate:,.0f}",
        *ratios,
        f"{median(result.cpu / result.seconds for result in outcome.results):.1f}",
        f"{max(result.rss for result in outcome.results):,.0f}",
        f"{min(outcome.rates):,.0f} – {max(outcome.rates):,.0f}",
        "; ".join(notes),
    )


def _ratio(rate: float, reference: float | None) -> str:
    if reference is None:
        return "-"
    ratio = rate / reference
    return f"{ratio:.3f}" if ratio < 1 else f"{ratio:.2f}"


def plain(table: Sequence[tuple[str, ...]]) -> str:
    """Return the table for a terminal."""
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < column < len(_HEADER) - 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def page(table: Sequence[tuple[str, ...]], conditions: Conditions) -> str:
    """Return the page that is kept, in Markdown."""
    aligned = ["|---|" + "---:|" * (len(_HEADER) - 2) + "---|"]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table]
    versions = "\n".join(f"- {name}: {text}" for name, text in conditions.versions.items())
    traffic = f"{conditions.count:,} SMS delivery reports of {conditions.record_bytes:.0f} bytes"
    return f"""# Results

{traffic} in {conditions.partitions} partitions of one topic, which all read.
Each figure is the median of {conditions.runs} runs or more, interleaved, every run in a process of its own,
on one machine together with the broker.

{chr(10).join([lines[0], *aligned, *lines[1:]])}

The clock runs from the first fetch to the last record done; joining the consumer group is not counted.
*cores* is processor time over wall-clock time, without the broker. Peak memory is the highest of all runs.

- date: {conditions.date}
- machine: {conditions.machine}; load average before the first run {conditions.load:.1f}
- broker: {conditions.broker}
{versions}
- command: `{conditions.command}`
"""
