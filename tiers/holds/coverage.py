"""What a hold covers, counted when it is placed and compared at every sweep: less than before is a loss.

`_holds/ID/covers.json` keeps, for each month, the most that was ever counted and what was looked at then. A month whose
files are the same is not looked at again, so that a sweep costs little; what has been preserved of a month counts too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import orjson

from lethe.keys.ring import UNREADABLE, KeyRing, UnknownKeyError
from lethe.schemas.errors import ExpiredKeyError
from lethe.schemas.position import Position
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.holds.definition import Hold
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.scope import covered, mentioning
from lethe.tiers.store.objects import Objects
from lethe.tiers.warehouse import Warehouse
from lethe.tiers.window.positions import Positions
from lethe.tiers.window.records import Part, open_parts, partition_of

_TABLES: Final = ("identifiers", "quarantine")


@dataclass(frozen=True, slots=True)
class Difference:
    """A month of which a hold has fewer records than it said. `found` is None where the month's keys do not open."""

    hold: str
    month: str
    said: int
    found: int | None


def count(warehouse: Warehouse, holds: Holds, ring: KeyRing, hold: Hold, now: datetime) -> dict[str, int]:
    """Count the records in open months that a hold covers, by month, and note them for the sweeps to compare with.

    Months with none are left out. Every page of these months is opened if the hold names a subject: what only the
    texts of others' records say is in this count, and not in the one that is compared.
    """
    found: dict[str, int] = {}
    noted: dict[str, Any] = {}
    for part in open_parts(ring, now):
        named = covered(warehouse, part, hold.scope)
        (naming,) = mentioning(warehouse, part, [hold.scope], None)
        if total := len(named | naming):
            found[str(part.month)] = found.get(str(part.month), 0) + total
        noted[part.key_id] = {"said": len(named), "found": len(named), "looked": ""}
    _note(holds.objects, hold, noted)
    return found


def check(warehouse: Warehouse, holds: Holds, ring: KeyRing, now: datetime) -> list[Difference]:
    """Compare what each hold in force covers with what it covered before; return where it is less.

    Read each noted month and each open one again if its files are others than last time. More than before is noted.
    """
    differences: list[Difference] = []
    states = {info.key_id: info.state for info in ring.list(now)}
    for hold in holds.active():
        noted = _noted(holds.objects, hold)
        before = orjson.dumps(noted)
        parts: dict[str, Part | None] = {
            **dict.fromkeys(noted),
            **{part.key_id: part for part in _openable(ring, now)},
        }
        for name, part in sorted(parts.items()):
            one = noted.setdefault(name, {"said": 0, "found": 0, "looked": ""})
            if part is None and states.get(name) != "destroyed":
                if states.get(name) == "live" and one["said"]:
                    differences.append(Difference(hold.id, name, one["said"], None))
                continue  # ended, and yet to be forgotten: its records are there
            looked = _looked(warehouse, holds, hold, name, part)
            if looked != one["looked"]:
                one |= {"found": _count(warehouse, holds, hold, name, part), "looked": looked}
                one["said"] = max(one["said"], one["found"])
            if one["found"] < one["said"]:
                differences.append(Difference(hold.id, name, one["said"], one["found"]))
        if orjson.dumps(noted) != before:
            _note(holds.objects, hold, noted)
    return differences


def known_differences(holds: Holds, active: Iterable[Hold]) -> list[Difference]:
    """Return the differences of holds in force that the last sweep noted, without looking again."""
    return [
        Difference(hold.id, name, one["said"], one["found"])
        for hold in active
        for name, one in sorted(_noted(holds.objects, hold).items())
        if one["found"] < one["said"]
    ]


def noted_of(holds: Holds, key_id: str) -> dict[str, int]:
    """Return how many records each hold in force covered of a month, as was noted last."""
    noted = {hold.id: _noted(holds.objects, hold).get(key_id, {"said": 0})["said"] for hold in holds.active()}
    return {hold: said for hold, said in noted.items() if said}


def give_up(holds: Holds, key_id: str) -> None:
    """Expect no more of a month whose key was given up: what holds covered of it is in a certificate."""
    for hold in holds.active():
        noted = _noted(holds.objects, hold)
        if noted.pop(key_id, None) is not None:
            _note(holds.objects, hold, noted)


def _count(warehouse: Warehouse, holds: Holds, hold: Hold, name: str, part: Part | None) -> int:
    there = Positions() if part is None else covered(warehouse, part, hold.scope)
    kept = (Position.parse(r["record"]) for r in holds.records(hold, name) if _is_direct(hold, r))
    return len(there | Positions.each(kept))


def _is_direct(hold: Hold, record: dict[str, Any]) -> bool:
    """Tell whether a preserved record counts: not one whose texts alone name the subject, as `count` says."""
    scope = hold.scope
    if record.get("quarantine") or record.get("message_id") in scope.messages:
        return True
    if (record["metadata"] or {}).get("account") in scope.accounts:
        return True
    subjects = {(s.kind, s.value) for s in scope.subjects}
    return any((i["kind"], i["value"]) in subjects for i in record["identifiers"])


def _openable(ring: KeyRing, now: datetime) -> Iterator[Part]:
    for info in ring.list(now):
        if info.state == "live":
            try:
                keys = ring.keys_for(info.month, info.window_months)
            except (ExpiredKeyError, UnknownKeyError, *UNREADABLE):
                continue
            yield Part(info.month, info.window_months, keys)


def _looked(warehouse: Warehouse, holds: Holds, hold: Hold, name: str, part: Part | None) -> str:
    """Return a digest of the files that a count is made from."""
    paths = [p for p in holds.objects.list(f"_holds/{hold.id}/records") if f"/{name}." in p]
    if part is not None:
        for table in _TABLES:
            warehouse.window[table].reload()
            where = partition_of(part.month, part.window_months)
            paths += [f"{table}/{f.path}" for f in files_of(warehouse.window[table], where)]
        if hold.scope.accounts:
            warehouse.metadata.reload()
            paths += [f.path for f in files_of(warehouse.metadata, {"month": str(part.month)})]
    return sha256("\n".join(sorted(paths)).encode()).hexdigest()[:32]


def _noted(objects: Objects, hold: Hold) -> dict[str, Any]:
    try:
        return dict(orjson.loads(objects.get(f"_holds/{hold.id}/covers.json") or b"{}"))
    except (ValueError, TypeError):
        return {}  # counted again


def _note(objects: Objects, hold: Hold, noted: dict[str, Any]) -> None:
    objects.put(f"_holds/{hold.id}/covers.json", orjson.dumps(noted, option=orjson.OPT_SORT_KEYS))
