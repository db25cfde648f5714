"""Reveal the identifiers of one record, by its position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lethe.operations.asker import Asker, record
from lethe.operations.runtime import Runtime
from lethe.operations.window.visibility import RestrictedError, hides_record
from lethe.schemas.errors import ExpiredKeyError, LetheError
from lethe.schemas.position import Position
from lethe.tiers.window import lookup as window
from lethe.tiers.window.records import at, select
from lethe.tiers.window.usage import usage_of


@dataclass(frozen=True, slots=True)
class Party:
    """One party of a record, in clear. `repr` does not show the value."""

    role: str
    kind: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Revealed:
    """The identifiers of a record, and its row of the archive (of usage data, what was done)."""

    record: str
    parties: list[Party]
    metadata: dict[str, Any]


def reveal(runtime: Runtime, asker: Asker, position: Position) -> Revealed:
    """Decrypt the identifiers of the record at a position.

    Raises `RestrictedError` if it names a restricted person and no reason of law is given, and `LetheError` if the
    window holds nothing at the position (any more). Each look is in the audit log before it is answered, the refused
    and the empty one too.
    """
    asker.needs_reason()
    rows, metadata = _rows(runtime, position)
    restricted = hides_record(runtime, asker, position)
    parties = [] if restricted else _parties(runtime, rows)
    record(
        runtime, asker, "reveal", record=str(position), law=asker.law, count=len(parties), restricted=restricted
    )  # fmt: skip
    if restricted:
        raise RestrictedError
    if metadata is None:
        raise LetheError(
            f"{position}: the archive has no such record; lethe quarantine show finds a rejected one"
        )
    if not parties:
        raise LetheError(f"{position}: the window holds no identifier of this record, or none any more")
    return Revealed(str(position), parties, metadata)


def _rows(runtime: Runtime, position: Position) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    identifiers = runtime.warehouse.window["identifiers"]
    rows = [r for r in select(identifiers, at([position])) if window.position_of(r) == position]
    found = [
        r for r in select(runtime.warehouse.metadata, at([position])) if window.position_of(r) == position
    ]
    if found or not rows:
        return rows, found[0] if found else None
    try:
        return rows, usage_of(runtime.warehouse, runtime.ring, rows).get(position)
    except ExpiredKeyError:
        return rows, None


def _parties(runtime: Runtime, rows: list[dict[str, Any]]) -> list[Party]:
    parties = []
    for row in rows:
        try:
            subject = window.value_of(row, runtime.ring)
        except ExpiredKeyError:
            continue  # the month has ended; the sweep has yet to remove the row
        if subject is not None:
            parties.append(Party(row["role"], subject.kind, subject.value))
    return sorted(parties, key=lambda p: (p.role, p.kind, p.value))
