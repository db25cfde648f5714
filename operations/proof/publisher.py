"""Publication as a process runs it: in a thread of its own beside the commits, and at the end of an ingested file.

Whatever goes wrong here is logged and counted, and tried again; it never keeps records from being committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

from cryptography import x509

from lethe.integrity.log.stamp import Authority, http_authority
from lethe.operations.proof.audit_anchor import anchor, stamp_anchors
from lethe.operations.proof.signer import signer_of
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Integrity
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError
from lethe.tiers.commit.ledger_entries import Hashed
from lethe.tiers.evidence.publication import Publication, Published

log = logging.getLogger("lethe.log")

_COALESCE: Final = 2.0
"""Seconds between two runs: what several commits leave for a log is published together."""
_RETRY: Final = 5.0
_HEAL: Final = 600.0
"""Seconds after which the whole ledger is looked at again, for what workers that died have left."""
_STAMP_RETRY: Final = 60.0
_STAMP_TIMEOUT: Final = 10.0
_STAMP_SECONDS: Final = 5.0
"""How long stamps may keep the logs from being published at a time; a round of many is made in several goes."""
_STOP: Final = 60.0


class LogMetrics(Protocol):
    """Who counts what becomes of the integrity log."""

    def log_published(self, entries: int, pending: int) -> None:
        """Count entries published, and note how many wait."""

    def log_failed(self, stream: str) -> None:
        """Count a publication that failed; no stream: that of all."""

    def stamped(self, made: int, waiting: int) -> None:
        """Count time stamps made, and note how many logs wait for one."""

    def stamp_failed(self, waiting: int) -> None:
        """Count a round of time stamps that failed."""


def publication_of(runtime: Runtime) -> Publication:
    """Make a publication with handles of its own: it may run in another thread than the commits."""
    warehouse = runtime.new_warehouse()
    return Publication(warehouse, lambda: signer_of(runtime), runtime.clock)


def stamp_roots(settings: Integrity) -> list[x509.Certificate]:
    """Return the root certificates of the time-stamp authority; empty when none are configured."""
    path = settings.timestamp_roots
    if path is None:
        return []
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"integrity.timestamp_roots {path}: {type(error).__name__}; give a PEM file with certificates"
        ) from None


def authority_of(settings: Integrity) -> Authority | None:
    """Return the time-stamp authority; None when none is configured."""
    if settings.timestamp_url is None:
        return None
    return http_authority(settings.timestamp_url, stamp_roots(settings), _STAMP_TIMEOUT)


def publish_now(runtime: Runtime, hashes: Sequence[Hashed]) -> Published:
    """Publish what a file's commits left, and all that was ever missed; stamp it if that is configured."""
    publication = publication_of(runtime)
    publication.add(hashes)
    done = publication.run()
    anchor_audit(runtime)
    authority = authority_of(runtime.settings.integrity)
    if authority is not None:
        try:
            publication.stamp(authority)
            stamp_anchors(runtime, authority)
        except LetheError as error:
            log.warning("no time stamp for now: %s", error)
    return done


def anchor_audit(runtime: Runtime) -> None:
    """Anchor the audit in the warehouse; what keeps it from that is logged, and tried again next time."""
    try:
        anchor(runtime, signer_of(runtime))
    except LetheError as error:
        log.error("the audit cannot be anchored in the warehouse: %s", error)


class Publisher:
    """The thread. `add` may be called from any other; `stop` publishes what is left."""

    def __init__(self, runtime: Runtime, metrics: LogMetrics) -> None:
        # What cannot be is found out before the first record: keys, roots.
        signer_of(runtime)
        self._runtime = runtime
        self._authority = authority_of(runtime.settings.integrity)
        self._interval = runtime.settings.integrity.timestamp_seconds
        self._publication = publication_of(runtime)
        self._metrics = metrics
        self._lock = threading.Lock()
        self._added: list[Hashed] = []
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._stamp_at = 0.0
        self._known = False
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)

    def start(self) -> None:
        """Publish until `stop`, beginning with what was ever missed."""
        self._wake.set()
        self._thread.start()

    def add(self, hashes: Sequence[Hashed]) -> None:
        """Note what a commit leaves to be published."""
        with self._lock:
            self._added += hashes
        self._wake.set()

    def stop(self) -> None:
        """Publish what is left and end. What cannot be published now is found by the next start."""
        self._ending.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP)
            if self._thread.is_alive():
                log.error("the integrity log is still behind; the next start publishes what is missing")

    def _run(self) -> None:
        healed_at = time.monotonic()
        failed = False
        anchor_audit(self._runtime)
        while True:
            waiting = bool(failed or self._publication.pending)
            self._wake.wait(_RETRY if waiting else self._pause(healed_at))
            self._wake.clear()
            ending = self._ending.is_set()
            if time.monotonic() - healed_at > _HEAL:
                healed_at = time.monotonic()
                self._publication.healed = False
                anchor_audit(self._runtime)
            failed = not self._publish()
            self._stamp(ending)
            if ending:
                anchor_audit(self._runtime)
                return
            self._ending.wait(_COALESCE)

    def _pause(self, healed_at: float) -> float:
        until = healed_at + _HEAL
        if self._authority is not None and self._publication.unstamped:
            until = min(until, self._stamp_at)
        return max(0.0, until - time.monotonic()) + 0.01

    def _publish(self) -> bool:
        with self._lock:
            added, self._added = self._added, []
        self._publication.add(added)
        try:
            done = self._publication.run()
        except LetheError as error:
            log.error("the integrity log cannot be published: %s", error)
            self._metrics.log_failed("")
            return False
        except Exception as error:  # the thread must outlive a library's surprise
            log.error("the integrity log cannot be published", exc_info=error)
            self._metrics.log_failed("")
            return False
        for stream, _ in done.failures:
            self._metrics.log_failed(stream)
        self._metrics.log_published(done.entries, self._publication.pending)
        return not done.failures

    def _stamp(self, ending: bool) -> None:
        if self._authority is None or (time.monotonic() < self._stamp_at and not ending):
            return
        publication = self._publication
        try:
            if not self._known:  # what an earlier process has left without a stamp
                publication.unstamped.update(publication.topic_partitions())
                self._known = True
            until = time.monotonic() + _STAMP_SECONDS
            made = publication.stamp(self._authority, lambda: time.monotonic() > until)
            stamp_anchors(self._runtime, self._authority)
        except Exception as error:  # noqa: BLE001  (a stamp that fails must not end publication)
            expected = isinstance(error, TransientError)
            log.warning("no time stamp for now: %s", error if expected else type(error).__name__)
            self._metrics.stamp_failed(len(publication.unstamped))
            self._stamp_at = time.monotonic() + min(_STAMP_RETRY, self._interval)
        else:
            self._metrics.stamped(made, len(publication.unstamped))
            if made and not publication.stamping:
                self._stamp_at = time.monotonic() + self._interval
