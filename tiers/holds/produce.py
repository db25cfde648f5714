"""Everything a hold keeps, to be produced: what it has preserved, and what the window still holds of it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from lethe.keys.ring import KeyRing
from lethe.schemas.position import Position
from lethe.tiers.certificates import certificates
from lethe.tiers.holds.definition import Hold
from lethe.tiers.holds.holds import Holds, with_salts
from lethe.tiers.holds.scope import Scope, covered, mentioning
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.positions import Positions
from lethe.tiers.window.records import gather, open_parts

_CHUNK: Final = 2_000
_NOTED: Final = 1 << 16
_ORIGINALS: Final = ("received", "canonical")


def records(
    warehouse: Warehouse, holds: Holds, ring: KeyRing, hold: Hold, scope: Scope, now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield the records of a hold, each once: those it has preserved, then those of `scope` that the window holds.

    `scope` is the hold's own, or less of it. Of the preserved ones all are yielded.
    """
    known = Positions()
    some: list[Position] = []
    for record in holds.records(hold):
        some.append(Position.parse(record["record"]))
        if len(some) == _NOTED:
            known, some = known | Positions.each(some), []
        yield {**record, "preserved": True}
    known |= Positions.each(some)
    for part in open_parts(ring, now):
        (naming,) = mentioning(warehouse, part, [scope], None)
        left = (covered(warehouse, part, scope) | naming) - known
        for chunk in left.chunks(_CHUNK):
            for record in with_salts(gather(warehouse, part, set(chunk)), part):
                yield {**record, "preserved": False}


def original_of(record: dict[str, Any]) -> tuple[bytes, str] | None:
    """Return the original of a record and its form; None where none was kept, or it was erased."""
    for entry in record["entries"]:
        if entry["form"] in _ORIGINALS:
            return b64decode(entry["value"]), entry["form"]
    value = (record.get("quarantine") or {}).get("value")
    return None if value is None else (b64decode(value), "rejected")


def gone_before(objects: Objects, hold: Hold) -> list[dict[str, Any]]:
    """Return the certificates of what had gone before a hold was placed and lay within its times, oldest first.

    Of an erasure nobody can tell whose it was: all of them are returned that concern such a month.
    """
    found = []
    for certificate in certificates.every(objects):
        what = certificate["what"]
        months = [m["month"] for m in what["months"]] if "months" in what else [what.get("month")]
        if datetime.fromisoformat(certificate["done"]) < hold.placed and any(
            month and _within(month, hold.scope) for month in months
        ):
            found.append(certificate)
    return found


def _within(month: str, scope: Scope) -> bool:
    since = None if scope.since is None else scope.since.strftime("%Y-%m")
    until = None if scope.until is None else scope.until.strftime("%Y-%m")
    return (since is None or month >= since) and (until is None or month <= until)
