"""List the entries of the audit: who did what, when, for which case. They name nobody who was looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lethe.operations.asker import Asker, record
from lethe.operations.audit.paging import Page, Wish, page
from lethe.operations.oversight.disclosures import about
from lethe.operations.runtime import Runtime
from lethe.operations.window.identify import identify
from lethe.tiers.window import lookup as window

COLUMNS: Final = (
    "time",
    "who",
    "source",
    "action",
    "case",
    "purpose",
    "record",
    "count",
    "restricted",
    "log",
    "number",
)


MOST_LOOKED_AT: Final = 100_000
"""Entries read for one page: less than half a second of a processor."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted: all that are given must be so; `since` <= time < `until`."""

    who: str | None = None
    action: str | None = None
    case: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether an entry is wanted. `action` also stands for those that begin with it and a dot."""
        action = str(entry.get("action"))
        return (
            (self.who is None or entry.get("who") == self.who)
            and (self.action is None or action == self.action or action.startswith(f"{self.action}."))
            and (self.case is None or entry.get("case") == self.case)
            and (self.since is None or datetime.fromisoformat(entry["time"]) >= self.since)
            and (self.until is None or datetime.fromisoformat(entry["time"]) < self.until)
        )


def listed(runtime: Runtime, wanted: Filter, on_damage: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield the entries that are wanted, oldest first, each one checked; `on_damage` is told what is not as it was."""
    runtime.has_key_directory()  # an empty mount point has no entries
    return map(shown, runtime.audit.entries(on_damage, wanted.matches))


def newest(
    runtime: Runtime, wanted: Filter, after: Mapping[int, int], limit: int, on_damage: Callable[[str], None]
) -> Page:
    """Return a page of the entries that are wanted, newest first, at most `limit`; `after` says where to go on.

    At most `MOST_LOOKED_AT` entries are looked at for it. Entries of an earlier release's file are not among them.
    """
    runtime.has_key_directory()
    wish = Wish(wanted.matches, limit, MOST_LOOKED_AT, wanted.since, wanted.until, after)
    found = page(runtime.audit, wish, on_damage)
    found.entries = [shown(e) for e in found.entries]
    return found


def disclosures(
    runtime: Runtime, asker: Asker, text: str, wanted: Filter, on_damage: Callable[[str], None]
) -> list[dict[str, Any]]:
    """List who looked at whom a text names, oldest first. To ask is a look too: it is in the audit before the answer.

    Entries about one record name it, not whom it is of: they are found for as long as the window has the record.
    """
    asker.needs_reason()
    now = runtime.clock()
    subjects = identify(text, runtime.settings.line_countries).candidates
    query = window.Query(subjects, None)
    asked = window.tokens_of(query, runtime.ring, now)
    tokens = {t.hex() for mine, _ in asked.tokens.values() for t in mine}
    records = {str(window.position_of(row)) for row in window.find(runtime.warehouse, asked, query)}
    found = [shown(e) for e in about(runtime, subjects, tokens, records, on_damage) if wanted.matches(e)]
    record(runtime, asker, "audit.disclosures", about=subjects, count=len(found))
    return found


def shown(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry without its tokens, which say nothing to a person."""
    return {k: v for k, v in entry.items() if k not in ("subjects", "tokens", "previous")}
