"""What a look-up answers, to those who ask here or ask a service; nothing that reads tables is brought in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

MOST_VALUES: Final = 1_000
"""How many values are looked up at once."""
RESTRICTED: Final = (
    "restricted: this person's records are not shown; --law TEXT with a reason of law shows them"
)


@dataclass(frozen=True, slots=True)
class Communications:
    """What was found, newest first: per record its name, role and kind of the person, the other party and the row of
    the archive. `restricted`: there are others, which are not shown.
    """

    records: list[dict[str, Any]]
    restricted: bool = False
    missing: dict[str, str] = field(default_factory=dict)
    """Months that could not be looked through although their window is open: key id -> why."""
    unread_number: bool = False
    """Nothing was found, and the text looks like a number without being one that can be read."""
