"""What of the window may be shown to whom: the restrictions, asked by every use case that shows a record."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from lethe.operations.asker import Asker
from lethe.operations.runtime import Runtime
from lethe.operations.window.communications import RESTRICTED
from lethe.schemas.errors import LetheError
from lethe.schemas.position import Position
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.rights import restrictions
from lethe.tiers.window.lookup import Query

Hidden = set[tuple[str, int, bytes]]
"""Tokens of restricted people: (month, window in months, token)."""


class RestrictedError(LetheError):
    """The records of a restricted person were asked for without a reason of law."""

    def __init__(self) -> None:
        super().__init__(RESTRICTED)


_DECIDE: Final = ("_restrictions", "_erasures", "_certificates")
"""Folders whose files say what may (not) be shown any more: each step of restricting or erasing adds or removes one."""


def standing(runtime: Runtime) -> str:
    """Name what decides now what may be shown of the window: live keys, restrictions, erasures (SHA-256 in hex).

    What was read while it was another must be read anew before it is shown once more. New records do not change it.
    """
    live = [info.key_id for info in runtime.ring.live(runtime.clock())]
    said = [*live, *(path for folder in _DECIDE for path in sorted(runtime.objects.list(folder)))]
    return sha256("\n".join(said).encode()).hexdigest()


def hidden_tokens(runtime: Runtime, asker: Asker) -> Hidden:
    """Return the tokens of everybody whose records are not shown to this asker."""
    if asker.law is not None:
        return set()
    return restrictions.tokens(runtime.objects, runtime.ring, runtime.clock())


def is_hidden(row: dict[str, Any], hidden: Hidden) -> bool:
    """Tell whether a row of `identifiers` is of somebody whose records are not shown."""
    return (row["month"], row["window_months"], row["token"]) in hidden


def hidden_people(runtime: Runtime, asker: Asker) -> frozenset[Subject]:
    """Return everybody whose records are not shown to this asker, where records are kept in clear and not by token."""
    if asker.law is not None:
        return frozenset()
    return frozenset(
        s for restriction in restrictions.every(runtime.objects, runtime.ring) for s in restriction.subjects
    )


def hides_held(record: dict[str, Any], query: Query, hidden: frozenset[Subject]) -> bool:
    """Tell whether a record that a hold preserved and a query found is not shown.

    As in the window: what was found as a party's record is hidden with that party; what was found by its message or by
    what its texts say is hidden with anybody it names.
    """
    from lethe.tiers.holds.scope import held_roles  # holds are asked for by few look-ups

    parties = {Subject(i["kind"], i["value"]) for i in record["identifiers"]} & set(query.subjects)
    if parties:
        return parties <= hidden
    return bool(hidden) and bool(held_roles(record, Query(tuple(hidden), None)))


def hides_record(runtime: Runtime, asker: Asker, position: Position) -> bool:
    """Tell whether a record names somebody whose records are not shown to this asker."""
    return asker.law is None and restrictions.concern(
        runtime.warehouse, runtime.ring, position, runtime.clock()
    )


def hides_value(runtime: Runtime, asker: Asker, value: bytes) -> bool:
    """Tell whether raw bytes, such as those of a rejected record, name somebody who is not shown to this asker."""
    return asker.law is None and restrictions.named_in(runtime.objects, runtime.ring, value)
