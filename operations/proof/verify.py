"""Verify the archive against its signed log. No identifier is read: a verification leaves no audit entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Final

from lethe.integrity.log.note import VerifierKey
from lethe.integrity.log.signing import KeyHistory
from lethe.integrity.verify.findings import Finding
from lethe.operations.proof.originals import Compared, compare_originals
from lethe.operations.proof.publisher import stamp_roots
from lethe.operations.proof.signer import load_signer
from lethe.operations.proof.signing import history_of
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError
from lethe.schemas.retention.calendar import Month
from lethe.tiers.archive.rows import Archive
from lethe.tiers.evidence import parts
from lethe.tiers.evidence.parts import Spread
from lethe.tiers.evidence.unhashed import WHY, Unhashed, unhashed
from lethe.tiers.evidence.verification import Report, Verifier, checkpoint_of
from lethe.tiers.undo.undo import undone_streams

__all__ = ["WHY", "Compared", "Finding", "Report", "Unhashed", "Verified", "Wanted", "verify"]

_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to verify (rows of one stream, of the months of two times, both included) and what it has to agree with.

    `keys`: verifier keys to trust, as text; none: those of the key directory. `checkpoints`: files with a signed
    checkpoint, or evidence, that were kept elsewhere. `originals`: rows are compared with their originals, too.
    `every_row`: rows out of scope are read one by one also where their file is as it was written.
    """

    stream: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    keys: Sequence[str] = ()
    checkpoints: Sequence[bytes] = ()
    originals: bool = False
    every_row: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared, and the first 10,000 findings; `more`: how many there are besides.

    `originals`: what was compared with its original; None when nobody asked for it.
    `unhashed`: rows in scope that have no hash of their original (`WHY`).
    """

    report: Report
    findings: list[Finding]
    more: int
    unhashed: list[Unhashed]
    originals: Compared | None = None


def verify(
    runtime: Runtime,
    wanted: Wanted,
    on_rows: Callable[[int, int | None], None],
    spread: Spread | None = None,
) -> Verified:
    """Verify every row, the ledger and the signed log; `on_rows` is told how many of how many are done.

    `spread` does the work in parts, elsewhere; originals are compared here.
    Raises `LetheError` when nobody is trusted, or when a checkpoint cannot be read.
    """
    first, last = (None if time is None else Month.of(time) for time in (wanted.since, wanted.until))
    known = [checkpoint_of(data) for data in wanted.checkpoints]
    trusted = _trusted(runtime, wanted.keys)
    verifier = Verifier(
        runtime.warehouse, trusted, runtime.settings.retention, runtime.clock(), wanted.stream,
        first, last, known, stamp_roots(runtime.settings.integrity), on_rows,
        undone=undone_streams(runtime.objects, trusted.keys), spread=spread,
        every_row=wanted.every_row,
    )  # fmt: skip
    findings: list[Finding] = []
    more = 0
    compared = Compared() if wanted.originals else None
    found = verifier.run()
    if compared is not None:
        found = chain(found, compare_originals(runtime, wanted.stream, (first, last), compared))
    for finding in found:
        if len(findings) < _KEPT:
            findings.append(finding)
        else:
            more += 1
    report = verifier.report
    scope = runtime.settings.integrity.scope
    without = unhashed(runtime.warehouse, scope, report.first, report.last, wanted.stream)
    return Verified(report, findings, more + report.more, without, compared)


def look(runtime: Runtime, task: Any) -> Any:
    """Look through the files of a task, where it has come to."""
    return parts.look_through(Archive(runtime.objects, []), task)


def compare(runtime: Runtime, task: Any) -> Any:
    """Verify the topic-partitions of a task, where it has come to."""
    verifier = Verifier(
        runtime.warehouse, history_of(runtime), runtime.settings.retention, runtime.clock(), task["stream"],
        known=[note.encode() for note in task["known"]], stamp_roots=stamp_roots(runtime.settings.integrity),
        undone=frozenset(task["undone"]),
    )  # fmt: skip
    return verifier.compare(task)


def _trusted(runtime: Runtime, keys: Sequence[str]) -> KeyHistory:
    history = history_of(runtime)
    if keys:
        history.trust([VerifierKey.parse(key) for key in keys])
    elif load_signer(runtime.settings.keys_dir) is None:
        raise LetheError("whom to trust? give a verifier key with --key (lethe keys show prints it)")
    return history
