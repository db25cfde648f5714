"""What of the window may be shown to whom: the restrictions, asked by every use case that shows a record."""

from __future__ import annotations

from typing import Any

from lethe.operations.asker import Asker
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError
from lethe.schemas.position import Position
from lethe.tiers.rights import restrictions

RESTRICTED = "restricted: this person's records are not shown; --law TEXT with a reason of law shows them"

Hidden = set[tuple[str, int, bytes]]
"""Tokens of restricted people: (month, window in months, token)."""


class RestrictedError(LetheError):
    """The records of a restricted person were asked for without a reason of law."""

    def __init__(self) -> None:
        super().__init__(RESTRICTED)


def hidden_tokens(runtime: Runtime, asker: Asker) -> Hidden:
    """Return the tokens of everybody whose records are not shown to this asker."""
    if asker.law is not None:
        return set()
    return restrictions.tokens(runtime.objects, runtime.ring, runtime.clock())


def is_hidden(row: dict[str, Any], hidden: Hidden) -> bool:
    """Tell whether a row of `identifiers` is of somebody whose records are not shown."""
    return (row["month"], row["window_months"], row["token"]) in hidden


def hides_record(runtime: Runtime, asker: Asker, position: Position) -> bool:
    """Tell whether a record names somebody whose records are not shown to this asker."""
    return asker.law is None and restrictions.concern(
        runtime.warehouse, runtime.ring, position, runtime.clock()
    )


def hides_value(runtime: Runtime, asker: Asker, value: bytes) -> bool:
    """Tell whether raw bytes, such as those of a rejected record, name somebody who is not shown to this asker."""
    return asker.law is None and restrictions.named_in(runtime.objects, runtime.ring, value)
