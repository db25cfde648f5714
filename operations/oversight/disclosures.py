"""Who looked at a person: found in the audit by the tokens the person had in each month of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from lethe.operations.runtime import Runtime
from lethe.schemas.subjects.addresses import Subject

LOOKS: Final = frozenset(
    {
        "lookup",
        "lookup.hold",
        "reveal",
        "evidence",
        "quarantine.show",
        "quarantine.reveal",
        "export",
        "erase.preview",
    }
)
"""Actions by which somebody saw something of a person. That a hold keeps records is not for the person to be told."""


def looks(
    runtime: Runtime, subjects: tuple[Subject, ...], window_tokens: Collection[str], records: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield those of `about` by which somebody saw something of the person: what the person may ask for."""
    return (e for e in about(runtime, subjects, window_tokens, records) if e.get("action") in LOOKS)


def about(
    runtime: Runtime,
    subjects: tuple[Subject, ...],
    window_tokens: Collection[str] = (),
    records: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Yield the audit entries that are about a person, oldest first, each one checked.

    `records`: names of records that the window holds of the person: entries about one record name it, not whom it is
    of. `window_tokens`: the person's tokens of live months, which entries of earlier releases hold.
    """
    now = runtime.clock()
    months: dict[str, frozenset[str]] = {}
    old, names = frozenset(window_tokens), frozenset(records)
    for entry in runtime.audit.entries():
        month = entry["time"][:7]
        if month not in months:
            months[month] = frozenset(runtime.audit_tokens.of_month(month, now, subjects))
        if (
            not months[month].isdisjoint(entry.get("subjects") or ())
            or not old.isdisjoint(entry.get("tokens") or ())
            or entry.get("record") in names
        ):
            yield entry
