"""Who looked at a person: found in the audit by the tokens the person had in each month of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from lethe.operations.runtime import Runtime
from lethe.schemas.subjects.addresses import Subject

logger = logging.getLogger("lethe.audit")

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


def _warn(damage: str) -> None:
    logger.warning("who looked may be incomplete: %s", damage)


def looks(
    runtime: Runtime, subjects: tuple[Subject, ...], window_tokens: Collection[str], records: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield those of `about` by which somebody saw something of the person: what the person may ask for."""
    found = about(runtime, subjects, window_tokens, records, _warn)
    return (e for e in found if e.get("action") in LOOKS)


def about(
    runtime: Runtime,
    subjects: tuple[Subject, ...],
    window_tokens: Collection[str] = (),
    records: Collection[str] = (),
    on_damage: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the audit entries that are about a person, oldest first; damage is as in `entries`.

    `records`: names of records that the window holds of the person: entries about one record name it, not whom it is
    of. `window_tokens`: the person's tokens of live months, which entries of earlier releases hold.
    """
    now = runtime.clock()
    months: dict[str, frozenset[str]] = {}
    old, names = frozenset(window_tokens), frozenset(records)

    def is_about(entry: Mapping[str, Any]) -> bool:
        month = entry["time"][:7]
        if month not in months:
            months[month] = frozenset(runtime.audit_tokens.of_month(month, now, subjects))
        return (
            not months[month].isdisjoint(entry.get("subjects") or ())
            or not old.isdisjoint(entry.get("tokens") or ())
            or entry.get("record") in names
        )

    yield from runtime.audit.entries(on_damage, is_about)
