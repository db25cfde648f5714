"""What boards show of an installation: commits by day, rejections and their trend, workers, logs. Counts, no values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import orjson

from lethe.integrity.log.entries import Log
from lethe.integrity.log.stamp import Stamped, stamps
from lethe.integrity.log.store import log_origin
from lethe.operations import archive
from lethe.operations.proof.signing import history_of
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import IntegrityError, LetheError
from lethe.schemas.retention.calendar import archive_end
from lethe.tiers.evidence.log_state import LogState, log_states, signed_at
from lethe.tiers.evidence.log_store import LogStore
from lethe.tiers.ledger import reconcile
from lethe.tiers.retention.clock_guard import last_run

DAYS: Final = 30
_WEEK: Final = 7
_SECONDS: Final = 2.0
_COUNTED: Final = ("messages", "records", "split", "late", "rejected", "tombstones", "redacted")


@dataclass(frozen=True, slots=True)
class TopicDay:
    """What the commits of one day (UTC) took in of one topic, and where it went."""

    day: date
    stream: str
    messages: int
    records: int
    split: int
    late: int
    rejected: int
    tombstones: int
    redacted: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why records were rejected, of one topic: in all, in the newest week and the one before, and by day."""

    stream: str
    reason: str
    total: int
    week: int
    week_before: int
    by_day: tuple[int, ...]

    @property
    def trend(self) -> str:
        """Say where it goes: `new`, `rising` or `falling` by more than a quarter, `gone`, or `steady`."""
        if self.week == self.week_before:
            return "steady"
        if self.week_before == 0:
            return "new"
        if self.week == 0:
            return "gone"
        if abs(self.week - self.week_before) * 4 <= self.week_before:
            return "steady"
        return "rising" if self.week > self.week_before else "falling"


@dataclass(frozen=True, slots=True)
class Feed:
    """A topic-partition: the newest offset that is committed and when that was, None where nothing was yet.

    `waiting`: messages that are in the topic and not committed; None where the broker was not asked or did not answer.
    """

    topic: str
    partition: int
    last_offset: int | None
    committed: datetime | None
    age: timedelta | None
    waiting: int | None


@dataclass(frozen=True, slots=True)
class Feeds:
    """Every topic-partition, those first of which most waits; `trouble` is why nobody knows what waits."""

    feeds: list[Feed]
    trouble: str | None

    @property
    def waiting(self) -> int | None:
        """Add up what waits."""
        known = [f.waiting for f in self.feeds if f.waiting is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Ready:
    """What a worker answers when it is asked whether it is ready."""

    worker: str
    ready: bool
    told: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log: its signed checkpoint (entries, the beginning of its root, when it was signed), and its time stamps."""

    state: LogState
    root: str
    signed: datetime | None
    stamps: int
    stamped: bool
    """Whether the newest checkpoint is time-stamped."""


def topic_days(runtime: Runtime, most: int = DAYS) -> list[TopicDay]:
    """Add up the ledger by day of the commit and topic, newest day first, of so many days."""
    since = _first_day(runtime, most)
    summed: dict[tuple[date, str], Counter[str]] = {}
    for commit in _commits(runtime):
        day = commit["committed_time"].astimezone(UTC).date()
        if day >= since:
            counts = summed.setdefault((day, commit["stream"]), Counter())
            counts.update({name: commit[name] or 0 for name in _COUNTED})
    ordered = sorted(summed.items(), key=lambda item: (-item[0][0].toordinal(), item[0][1]))
    return [TopicDay(day, stream, *(counts[name] for name in _COUNTED)) for (day, stream), counts in ordered]


def rejections(runtime: Runtime, most: int = DAYS) -> list[Reason]:
    """Count rejected records by topic and reason, the most frequent of the newest week first; by day for a trend."""
    today = runtime.clock().date()
    since = _first_day(runtime, most)
    found: dict[tuple[str, str], Counter[date]] = {}
    for commit in _commits(runtime):
        day = commit["committed_time"].astimezone(UTC).date()
        for reason, count in orjson.loads(commit["rejected_by_reason"]).items():
            found.setdefault((commit["stream"], reason), Counter())[day] += count
    reasons = [
        Reason(
            *key,
            by_day.total(),
            _sum(by_day, today - timedelta(_WEEK - 1), today),
            _sum(by_day, today - timedelta(2 * _WEEK - 1), today - timedelta(_WEEK)),
            tuple(by_day[since + timedelta(n)] for n in range(most)),
        )
        for key, by_day in found.items()
    ]
    return sorted(reasons, key=lambda r: (-r.week, -r.total, r.stream, r.reason))


def feeds(runtime: Runtime) -> Feeds:
    """Say of each topic-partition when it was committed to last, and what waits in the broker."""
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for commit in _commits(runtime):
        # Streams that are told apart within a topic share its offsets.
        at = commit["stream"].partition("~")[0], commit["partition"]
        if at not in newest or commit["last_offset"] >= newest[at]["last_offset"]:
            newest[at] = commit
    ends, trouble = _ends(runtime)
    now = runtime.clock()
    found = []
    for at in {*newest, *ends}:
        commit, end = newest.get(at, {}), ends.get(at)
        committed = commit.get("committed_time")
        waiting = None if end is None else max(0, end - 1 - commit.get("last_offset", -1))
        age = None if committed is None else now - committed
        found.append(Feed(*at, commit.get("last_offset"), committed, age, waiting))
    return Feeds(sorted(found, key=lambda f: (-(f.waiting or 0), f.topic, f.partition)), trouble)


def _ends(runtime: Runtime) -> tuple[dict[tuple[str, int], int], str | None]:
    if runtime.ends is None or not runtime.settings.sources:
        return {}, "no broker is asked here"
    try:
        return runtime.ends(runtime.settings), None
    except LetheError as error:
        return {}, str(error)


def readiness(workers: Sequence[str]) -> list[Ready]:
    """Ask each worker whether it is ready, side by side; one that does not answer in two seconds is not."""
    with ThreadPoolExecutor(max(1, min(len(workers), 16))) as pool:
        return list(pool.map(_ready, workers))


def _ready(worker: str) -> Ready:
    # The addresses are a setting; a proxy of the environment has nothing to do with them.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"{worker}/ready", timeout=_SECONDS) as answer:
            return Ready(worker, True, answer.read(500).decode("utf-8", "replace").strip())
    except HTTPError as error:
        with error:
            return Ready(worker, False, error.read(500).decode("utf-8", "replace").strip())
    except (OSError, HTTPException):
        return Ready(worker, False, "does not answer")


@dataclass(frozen=True, slots=True)
class ArchiveYear:
    """A year of the archive: its rows, and when it is due where no country's rule asks for another period."""

    year: int
    rows: int
    due: date


def archive_rows(runtime: Runtime) -> dict[str, int]:
    """Count the rows of the archive by month."""
    if not runtime.has_warehouse():
        return {}
    found = archive.query(runtime, "SELECT month, count(*) FROM metadata GROUP BY month").rows
    return {str(month): int(count) for month, count in found}


def archive_years(runtime: Runtime, by_month: dict[str, int]) -> list[ArchiveYear]:
    """Add the rows of the archive up by year, newest first."""
    rows = Counter[int]()
    for month, count in by_month.items():
        rows[int(month[:4])] += count
    years = runtime.settings.retention.archive_years
    return [
        ArchiveYear(year, n, archive_end(year, years).date())
        for year, n in sorted(rows.items(), reverse=True)
    ]


def last_sweep(runtime: Runtime) -> datetime | None:
    """Say when a sweep ran last; None before the first."""
    return last_run(runtime.objects)


def logs(runtime: Runtime) -> Iterator[LogLine]:
    """Yield how every log stands: its checkpoint's signatures are checked, its entries are not (`lethe verify`).

    Nothing before the first keys of the integrity log.
    """
    try:
        history = history_of(runtime)
    except LetheError:
        return
    settings = runtime.settings.integrity
    late = timedelta(seconds=2 * settings.timestamp_seconds) if settings.timestamp_url else None
    for state in log_states(runtime.warehouse, history, runtime.clock(), late):
        stream, _, partition = state.name.rpartition("/")
        try:
            store = LogStore.of(runtime.objects, stream, int(partition))
            log = Log(store, history, log_origin(history.name, stream, int(partition)))
            made = list(stamps(store))
            yield LogLine(
                state,
                log.checkpoint.root.hex()[:16],
                signed_at(log.note, history),
                len(made),
                bool(made) and made[-1].path == Stamped.folder(log.size),
            )
        except (IntegrityError, ValueError):
            yield LogLine(state, "", None, 0, False)


def _commits(runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Yield the commits of the ledger, those that a replay moved included."""
    if not runtime.has_warehouse():
        return
    frame = reconcile.ledger_rows(runtime.warehouse)
    wanted = ["stream", "partition", "last_offset", "committed_time", "rejected_by_reason", *_COUNTED]
    yield from frame.select(wanted).iter_rows(named=True)


def _first_day(runtime: Runtime, most: int) -> date:
    return runtime.clock().date() - timedelta(most - 1)


def _sum(by_day: Counter[date], first: date, last: date) -> int:
    return sum(count for day, count in by_day.items() if first <= day <= last)
