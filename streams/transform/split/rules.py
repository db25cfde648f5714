"""What a split goes by besides the declaration, and how its frames are joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from lethe.schemas.line import Line
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.site.residence import Residence

ID: Final = " id"  # no declared path has a space in it


@dataclass(frozen=True, slots=True)
class Rules:
    """Periods, the integrity scope ("all", "none" or countries) and how far ahead of the clock an event may be.

    `lines`: what the site says of the lines of a stream, by its name; None where it says nothing of any. `listed`: the
    codes of each column that the site says name nobody. `residence`: where the site says that people are.
    """

    retention: RetentionPolicy
    scope: str | tuple[str, ...]
    future: timedelta
    lines: Callable[[str], Line] | None = field(default=None, repr=False)
    listed: Callable[[], Mapping[str, frozenset[str]]] | None = field(default=None, repr=False)
    residence: Callable[[], Residence] | None = field(default=None, repr=False)
