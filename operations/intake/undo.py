"""Take out again what was taken in from a file, so that it can be taken in under the right declaration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lethe.operations.asker import Asker, record
from lethe.operations.intake.ingest import stream_of
from lethe.operations.proof.publisher import publish_now
from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError
from lethe.tiers.ledger.reconcile import CLOSED
from lethe.tiers.undo import undo as tables
from lethe.tiers.undo.undo import Undone

__all__ = ["Undoing", "Undone", "before_undo", "undo"]

_NONE: Final = (
    "nothing of this file is here: its content was never taken in, or was taken out again (`lethe ledger` lists "
    "the streams there are, and the name of one, file-…, can be given in place of the file)"
)


@dataclass(frozen=True, slots=True)
class Undoing:
    """What an undo would take out: the stream and how many records the ledger counts of it."""

    stream: str
    records: int


def before_undo(runtime: Runtime, file: str) -> Undoing:
    """Find what a file was taken in as; raises `LetheError` when there is nothing of it. Changes nothing."""
    stream = _stream(runtime, file)
    return Undoing(stream, tables.counts_of(runtime.warehouse, stream)["records"])


def undo(runtime: Runtime, asker: Asker, file: str) -> Undone:
    """Take every record of a file out of archive and window, by the file or by the name of its stream.

    1. Publish its commits: the integrity log keeps what there was. `LetheError` when they cannot be.
    2. Write the audit entry.
    3. Take the records out and certify it. A crash from here on is mended by asking again.
    4. Write in the audit log what came of it.
    """
    stream = _stream(runtime, file)
    # Step 1
    if stream not in tables.begun(runtime.objects):
        failures = publish_now(runtime, ()).failures
        if failure := failures.get((stream, 0)):
            raise LetheError(f"nothing was taken out: its log cannot be published: {failure}")
    # Step 2
    record(runtime, asker, "ingest.undo", stream=stream)
    # Step 3
    done = tables.undo(maintenance_context(runtime), stream)
    # Step 4
    record(
        runtime, asker, "ingest.undo.done", stream=stream, certificate=done.certificate, count=done.records
    )
    return done


def _stream(runtime: Runtime, file: str) -> str:
    runtime.warehouse.publish()
    unfinished = tables.begun(runtime.objects)
    if tables.STREAM.fullmatch(file):
        known = file in unfinished or runtime.warehouse.position(tables.source_of(file)) not in (
            None,
            CLOSED,
        )
        if not known:
            raise LetheError(_NONE)
        return file
    for stream in stream_of(runtime, file):
        if stream in unfinished:
            return stream
        position = runtime.warehouse.position(tables.source_of(stream))
        if position is None:
            break
        if position != CLOSED:
            return stream
    raise LetheError(_NONE)
