"""Erase a person from the window, or say what an erasure would take away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lethe.operations.asker import Asker, record_each
from lethe.operations.retention.sweep import maintenance_context
from lethe.operations.runtime import Runtime
from lethe.operations.window.identify import identify
from lethe.schemas.errors import InputError
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.holds.holds import Holds
from lethe.tiers.rights import erasure, under_way
from lethe.tiers.rights.spread import Spread

MOST_PEOPLE: Final = 10_000
COUNTS = under_way.COUNTS
"""What is counted of each month: identifiers, originals, rejected records, texts in records of others."""


@dataclass(frozen=True, slots=True)
class KeptBy:
    """A hold that keeps something of the person until it is released."""

    hold: str
    reference: str
    authority: str
    review: datetime


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased, or would be, by month; names nobody. `certificate` is None where nothing was erased.

    `unfinished`, of what would be: an erasure of one of them was begun and died, and is ended by asking for it again.
    """

    months: list[dict[str, Any]]
    holds: list[KeptBy]
    certificate: int | None = None
    unfinished: bool = False

    @property
    def found(self) -> bool:
        """Whether there is anything to do, or was: the window held something, or an erasure has to be ended."""
        return bool(self.months) or self.unfinished

    def total(self, count: str) -> int:
        """Add up a count over all months."""
        return sum(int(month[count]) for month in self.months)


Seen = Callable[[int], None]
"""Told how many records have been looked through."""


def preview(runtime: Runtime, asker: Asker, text: str, on_records: Seen = lambda _: None) -> Erasure:
    """Say what an erasure would take away of whom a text names, and what holds would keep. Changes nothing."""
    return preview_all(runtime, asker, [text], on_records)


def preview_all(
    runtime: Runtime,
    asker: Asker,
    texts: Sequence[str],
    on_records: Seen = lambda _: None,
    spread: Spread | None = None,
) -> Erasure:
    """Say what erasing several people at once would take away, as `preview` does of one; an audit entry each.

    `spread` has files looked through elsewhere.
    """
    people = _people(runtime, texts)
    found = erasure.preview_erasure(
        maintenance_context(runtime, on_records=on_records), _every(people), spread
    )
    said = {"count": found.total("identifiers"), **_among(people)}
    record_each(runtime, asker, "erase.preview", [{"about": subjects, **said} for subjects in people])
    return Erasure(found.months, _kept_by(runtime, found.months), unfinished=found.unfinished)


def erase(runtime: Runtime, asker: Asker, text: str, on_records: Seen = lambda _: None) -> Erasure:
    """Erase whom a text names from the window: `erase_all` of one."""
    return erase_all(runtime, asker, [text], on_records)


def erase_all(
    runtime: Runtime,
    asker: Asker,
    texts: Sequence[str],
    on_records: Seen = lambda _: None,
    spread: Spread | None = None,
) -> Erasure:
    """Erase several people at once from the window: each file is written anew once, one certificate is for all.

    `spread` has files looked through and written anew elsewhere.

    1. Note in the audit log that it is about to happen, an entry each.
    2. Erase and certify. A crash from here on is mended by asking again, or by a sweep a day later: what is left is
       found by looking, what went before is in notes, and one certificate is for all of it.
    3. Note in the audit log what came of it: the counts of all, with how many people they are (`people`). Nothing
       found: no certificate, and the entries say so.
    """
    people = _people(runtime, texts)
    # Step 1
    record_each(runtime, asker, "erase", [{"about": subjects} for subjects in people])
    # Step 2
    done = erasure.erase(maintenance_context(runtime, on_records=on_records), _every(people), spread)
    # Step 3
    said = {"certificate": done.certificate, "count": done.total("identifiers"), **_among(people)}
    record_each(runtime, asker, "erase.done", [{"about": subjects, **said} for subjects in people])
    return Erasure(done.months, _kept_by(runtime, done.months), done.certificate)


def _people(runtime: Runtime, texts: Sequence[str]) -> list[tuple[Subject, ...]]:
    if not 0 < len(texts) <= MOST_PEOPLE:
        raise InputError(f"1 to {MOST_PEOPLE:,} people can be erased at once")
    found = (identify(text, runtime.settings.line_countries).subjects for text in texts)
    return list(dict.fromkeys(found))


def _every(people: Sequence[tuple[Subject, ...]]) -> tuple[Subject, ...]:
    return tuple(dict.fromkeys(subject for subjects in people for subject in subjects))


def _among(people: Sequence[tuple[Subject, ...]]) -> dict[str, Any]:
    """Say in an entry that its counts are of several people."""
    return {"people": len(people)} if len(people) > 1 else {}


def _kept_by(runtime: Runtime, months: list[dict[str, Any]]) -> list[KeptBy]:
    concerned = {hold for month in months for hold in month["holds"]}
    if not concerned:
        return []
    active = Holds(runtime.objects, runtime.ring).active()
    return [KeptBy(h.id, h.reference, h.authority, h.review) for h in active if h.id in concerned]
