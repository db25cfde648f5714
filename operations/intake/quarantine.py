"""Look at what was rejected: why, and on request, with a case and a purpose, the value of one record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

from lethe.operations.asker import Asker, record
from lethe.operations.intake import replay as replays
from lethe.operations.intake.replay import NO_DECLARATION, NO_ENVELOPE, Replayed, Wanted
from lethe.operations.runtime import Runtime
from lethe.operations.window.visibility import RestrictedError, hides_value
from lethe.schemas.errors import InputError
from lethe.schemas.position import Position
from lethe.streams.transform.batch import EXPLAINED
from lethe.tiers.window import lookup, quarantine

_EXPLAINED: Final = {
    **EXPLAINED,
    NO_DECLARATION: "no declaration of today is for the record",
    NO_ENVELOPE: "the declaration has no envelope any more, which the record was an element of",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A rejected record without its value: where it came in, and why it was rejected."""

    stream: str
    partition: int
    offset: int
    index: int | None
    received_time: datetime | None
    format: str | None
    reason: str
    detail: str | None
    month: str
    record: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One rejected record: its columns without the sealed value, whether that is kept, and the value if asked for."""

    columns: dict[str, Any]
    kept: bool
    revealed: bool = False
    value: str | None = field(default=None, repr=False)


def explained(reason: str) -> str:
    """Explain a reason of rejection in a sentence."""
    return _EXPLAINED.get(reason, reason)


def check_reason(reason: str | None) -> None:
    """Raise `InputError` for a reason that nothing is rejected for."""
    if reason is not None and reason not in _EXPLAINED:
        meant = get_close_matches(reason, _EXPLAINED, 1)
        raise InputError(
            f"nothing is rejected for that reason; did you mean {meant[0]}?"
            if meant
            else f"nothing is rejected for that reason; there are {', '.join(sorted(_EXPLAINED))}"
        )


def listed(runtime: Runtime, reason: str | None, format_name: str | None, limit: int) -> list[Listed]:
    """List rejected records without their values, newest first, at most `limit`."""
    return [
        Listed(**row, record=str(lookup.position_of(row)), explanation=explained(row["reason"]))
        for row in quarantine.listed(runtime.warehouse, reason, format_name, limit)
    ]


def counted(runtime: Runtime, reason: str | None, format_name: str | None) -> int:
    """Count the rejected records there are."""
    return quarantine.counted(runtime.warehouse, reason, format_name)


def show(runtime: Runtime, asker: Asker, position: Position) -> Shown:
    """Show why the record at a position was rejected; raises `LetheError` when none was there.

    It is in the audit log before it is answered: what is said of a record is not its value, but of one person's record.
    """
    row = quarantine.one(runtime.warehouse, position)
    record(runtime, asker, "quarantine.show", record=str(position), count=1)
    return _shown(row, position)


def reveal(runtime: Runtime, asker: Asker, position: Position) -> Shown:
    """Show one rejected record with its value, which is None if none was kept.

    Raises `RestrictedError` if it names a restricted person and no reason of law is given. Each look is in the audit
    log before it is answered, the refused and the empty one too.
    """
    asker.needs_reason()
    row = quarantine.one(runtime.warehouse, position)
    value = quarantine.value_of(row, runtime.ring)
    hidden = hides_value(runtime, asker, value or b"")
    count = int(value is not None and not hidden)
    record(
        runtime, asker, "quarantine.reveal", record=str(position), law=asker.law, count=count, restricted=hidden
    )  # fmt: skip
    if hidden:
        raise RestrictedError
    text = None if value is None else value.decode("utf-8", "backslashreplace")
    return _shown(row, position, True, text)


def _shown(
    row: dict[str, Any], position: Position, revealed: bool = False, value: str | None = None
) -> Shown:
    columns = {name: cell for name, cell in row.items() if name != "sealed"}
    columns |= {"record": str(position), "explanation": explained(row["reason"])}
    return Shown(columns, row["sealed"] is not None, revealed, value)


def replay(
    runtime: Runtime,
    asker: Asker,
    wanted: Wanted,
    dry_run: bool = False,
    on_step: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[Replayed, str | None]:
    """Run rejected records through the declarations of today; returns what was done, and what kept the log from being
    published.

    It is in the audit log before it begins and when it has ended; with `dry_run` nothing is changed, and no entry made.
    """
    if dry_run:
        return replays.replay(runtime, wanted, True, on_step)
    reason, form = wanted.reason, wanted.format
    record(runtime, asker, "quarantine.replay", reason=reason, format=form)
    done, trouble = replays.replay(runtime, wanted, False, on_step)
    record(
        runtime, asker, "quarantine.replay.done", reason=reason, format=form, tried=done.tried, count=done.records
    )  # fmt: skip
    return done, trouble
