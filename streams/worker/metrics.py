"""Prometheus metrics and the health of the worker. Labels are streams and reasons; never anything of a record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lethe.schemas.errors import ConfigurationError
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.worker._memory import resident_bytes
from lethe.tiers.quality.past import Found


class Metrics:
    """One method per event."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._in = Counter("lethe_records_in", "Records taken in", ["stream"], registry=self.registry)
        self._archived = Counter(
            "lethe_records_archived", "Rows in the archive", ["stream"], registry=self.registry
        )
        self._rejected = Counter(
            "lethe_records_rejected", "Records in quarantine", ["stream", "reason"], registry=self.registry
        )
        self._late = Counter(
            "lethe_records_late", "Records whose month had ended: identifiers not kept", ["stream"],
            registry=self.registry,
        )  # fmt: skip
        self._redacted = Counter(
            "lethe_records_redacted", "Archive rows the leak guard emptied a column of", ["stream"],
            registry=self.registry,
        )  # fmt: skip
        self._content = Counter(
            "lethe_content_dropped", "Content fields dropped", ["stream"], registry=self.registry
        )
        self._seconds = Histogram(
            "lethe_commit_seconds", "Time of a commit to all tables",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60), registry=self.registry,
        )  # fmt: skip
        self._commits = Counter("lethe_commits", "Commits by outcome", ["outcome"], registry=self.registry)
        self._restarts = Counter(
            "lethe_partition_restarts", "Partitions read again from the table", registry=self.registry
        )
        self._lag = Gauge("lethe_lag", "Messages behind", ["stream", "partition"], registry=self.registry)
        self._still = Gauge(
            "lethe_partition_stands_still", "Partitions with messages waiting of which none is read, 1 each",
            ["stream", "partition"], registry=self.registry,
        )  # fmt: skip
        self._anew = Counter(
            "lethe_standstills_begun_anew", "Times partitions that stood still were begun anew", ["how"],
            registry=self.registry,
        )  # fmt: skip
        self._holds = Gauge(
            "lethe_holds",
            "Legal holds in force, of them overdue for review, and months of which one has fewer records than before",
            ["state"],
            registry=self.registry,
        )
        self._sweeps = Counter(
            "lethe_sweeps", "Retention sweeps by outcome", ["outcome"], registry=self.registry
        )
        self._last_sweep = Gauge(
            "lethe_last_sweep_seconds",
            "When the last retention sweep of any worker ended, in seconds since 1970",
            registry=self.registry,
        )
        self._forgotten = Counter(
            "lethe_forgotten", "Months of the window or the archive forgotten", registry=self.registry
        )
        self._changes = Gauge(
            "lethe_quality_changes", "Columns that differ from the past of their format, 1 each",
            ["format", "column", "change"], registry=self.registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "lethe_records_waiting", "Records split, not committed yet", registry=self.registry
        )

        self._log_entries = Counter(
            "lethe_log_entries", "Commits published in the integrity log", registry=self.registry
        )
        self._log_waiting = Gauge(
            "lethe_log_waiting", "Topic-partitions with commits not in the log yet", registry=self.registry
        )
        self._log_errors = Counter(
            "lethe_log_errors", "Failures to publish the integrity log", ["stream"], registry=self.registry
        )
        self._stamps = Counter("lethe_log_stamps", "Checkpoints time-stamped", registry=self.registry)
        self._stamp_errors = Counter(
            "lethe_log_stamp_errors", "Time stamps the authority did not give", registry=self.registry
        )
        self._unstamped = Gauge(
            "lethe_log_unstamped", "Logs that have grown since their last time stamp", registry=self.registry
        )
        Gauge("lethe_resident_bytes", "Memory of the worker in use", registry=self.registry).set_function(
            resident_bytes
        )
        # An increase is seen only from a zero that was there before.
        for outcome in ("ok", "fenced", "retried"):
            self._commits.labels(outcome)
        for outcome in ("ok", "failed"):
            self._sweeps.labels(outcome)
        for how in ("assigned", "joined"):
            self._anew.labels(how)

    def holds(self, in_force: int, overdue: int, differing: int) -> None:
        """Show legal holds, as the last sweep saw them; `differing`: months of which one lost records."""
        self._holds.labels("differing").set(differing)
        self._holds.labels("in_force").set(in_force)
        self._holds.labels("overdue").set(overdue)

    def swept(self, forgotten: int | None) -> None:
        """Note that a sweep ran and forgot this much; None: something kept it from forgetting."""
        self._sweeps.labels("failed" if forgotten is None else "ok").inc()
        self._forgotten.inc(forgotten or 0)

    def last_sweep(self, at: datetime) -> None:
        """Note when the last sweep ran, of whatever worker."""
        self._last_sweep.set(at.timestamp())

    def committed(self, batches: list[TransformedBatch], seconds: float) -> None:
        """Note that a commit has landed."""
        self._commits.labels("ok").inc()
        self._seconds.observe(seconds)
        for batch in batches:
            counts = batch.counts
            self._in.labels(batch.stream).inc(counts.records)
            self._archived.labels(batch.stream).inc(counts.split + counts.late)
            self._late.labels(batch.stream).inc(counts.late)
            self._redacted.labels(batch.stream).inc(counts.redacted)
            self._content.labels(batch.stream).inc(counts.content_dropped)
            for reason, count in counts.reasons.items():
                self._rejected.labels(batch.stream, reason).inc(count)

    def fenced(self) -> None:
        """Note that a commit was refused because another worker owns a partition."""
        self._commits.labels("fenced").inc()

    def retried(self) -> None:
        """Note that a commit failed for a passing reason and is tried again."""
        self._commits.labels("retried").inc()

    def restarted(self) -> None:
        """Note that a partition is read again from the table."""
        self._restarts.inc()

    def log_published(self, entries: int, waiting: int) -> None:
        """Note that commits are in the integrity log, and how many topic-partitions have some that are not."""
        self._log_entries.inc(entries)
        self._log_waiting.set(waiting)

    def log_failed(self, stream: str) -> None:
        """Note that a log could not be published."""
        self._log_errors.labels(stream).inc()

    def stamped(self, logs: int, waiting: int) -> None:
        """Note that checkpoints were time-stamped, and how many logs have grown since their last stamp."""
        self._stamps.inc(logs)
        self._unstamped.set(waiting)

    def stamp_failed(self, waiting: int) -> None:
        """Note that the time-stamp authority did not answer."""
        self._stamp_errors.inc()
        self._unstamped.set(waiting)

    def lag(self, behind: Mapping[tuple[str, int], int]) -> None:
        """Set the lag of the assigned partitions."""
        self._lag.clear()
        for (stream, partition), messages in behind.items():
            self._lag.labels(stream, str(partition)).set(messages)

    def standing_still(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Show the assigned partitions, by stream and number, of which nothing is read although messages wait."""
        self._still.clear()
        for stream, partition in partitions:
            self._still.labels(stream, str(partition)).set(1)

    def begun_anew(self, how: str) -> None:
        """Note that what stood still is begun anew: its partitions `assigned` again, or the group `joined` again."""
        self._anew.labels(how).inc()

    def quality(self, found: Iterable[Found]) -> None:
        """Show what differs now from the past of its format."""
        self._changes.clear()
        for one in found:
            self._changes.labels(one.format, one.column, one.what).set(1)

    def waiting(self, records: int) -> None:
        """Show how many records are split and wait for their commit."""
        self._waiting.set(records)


class HealthServer:
    """`/metrics`, `/live` and `/ready` over HTTP. `ready` says why not, or None."""

    def __init__(self, host: str, port: int, metrics: Metrics, ready: Callable[[], str | None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer one request."""
                path = self.path.split("?")[0]
                if path == "/metrics":
                    self._answer(200, generate_latest(metrics.registry))
                elif path == "/live":
                    self._answer(200, b"live\n")
                elif path == "/ready":
                    reason = ready()
                    self._answer(503 if reason else 200, f"{reason or 'ready'}\n".encode())
                else:
                    self._answer(404, b"there are /metrics, /live and /ready\n")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Log no requests."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigurationError(
                f"metrics: {host}:{port}: {error.strerror}; set metrics_port (0 chooses a free one)"
            ) from None
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def start(self) -> None:
        """Serve until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
