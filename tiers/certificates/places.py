"""The places where something of a person can be, and what a certificate says of each: a deletion knows its reach.

Whoever adds a table, or a folder beside the tables, adds it here; a test finds those that are missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

State = Literal["gone", "held", "not reached", "names nobody"]
Kind = Literal["window", "erasure", "archive"]

_NOBODY: Final = ("names nobody", "names nobody", "names nobody")
_OWN: Final = "its own keeper ends it; nothing here can"
_AUDIT: Final = "the end of the audit, whose tokens come from keys of its own"
_KEY: Final = "the destruction of the month's key"


@dataclass(frozen=True, slots=True)
class Place:
    """A place: `folders` are those of the warehouse that belong to it, none for what lies outside.

    `states` says what is true of it after the end of a month, after an erasure, and after the end of an archive year.
    `until` says what ends that which is not reached.
    """

    name: str
    folders: tuple[str, ...]
    states: tuple[State, State, State]
    until: str = ""


PLACES: Final = (
    Place(
        "window tables", ("identifiers", "originals", "quarantine", "usage"), ("gone", "gone", "names nobody")
    ),
    # `_erasing`: sealed notes of an erasure under way, whom it is about among them.
    Place("files that no table names", ("_erasing",), ("gone", "gone", "names nobody")),
    Place("archive", ("metadata",), ("names nobody", "names nobody", "gone")),
    Place("ledger and corrections", ("ledger", "adjustments", "codes"), _NOBODY),
    Place("integrity log", ("_log", "_audit"), _NOBODY),
    Place(
        "certificates and notes of what is under way",
        (
            "_certificates",
            "_erasures",
            "_forgetting",
            "_sweep",
            "_compaction",
            "_replay",
            "_adjustments",
            "_gaps",  # topics made anew, and what of their offsets was given up
            "_probe",  # of random bytes, by `lethe doctor`
            "_codes",
            "_quality",  # shares, quantiles and codes of each format, by day
            "_ingest",  # by a file's fingerprint: whose settings it was read under, up to which day it was received
        ),
        _NOBODY,
    ),
    Place("records preserved for holds", ("_holds",), ("gone", "gone", "gone")),
    Place("restrictions", ("_restrictions",), ("gone", "not reached", "names nobody"), _KEY),
    Place("answers to requests and exports made", ("_requests",), ("not reached",) * 3, _OWN),
    Place("wrapped keys", ("_keys",), ("gone", "names nobody", "names nobody")),
    Place("copies of the key directory", (), ("not reached", "names nobody", "names nobody"), _OWN),
    Place("backups of the warehouse", (), ("gone", "not reached", "not reached"), _KEY),
    Place("audit log", (), ("not reached", "not reached", "names nobody"), _AUDIT),
    Place("source topics", (), ("not reached",) * 3, "the retention of the topic"),
)
_KINDS: Final[tuple[Kind, ...]] = ("window", "erasure", "archive")


def reach(
    kind: Kind,
    held: Collection[str] | bool,
    sources: Collection[str],
    waiting: Mapping[str, datetime] | None = None,
    kept: Mapping[str, Mapping[str, int | None]] | None = None,
) -> list[dict[str, Any]]:
    """Say of each place whether what is certified is gone from it, held under a law, or not reached until when.

    `held`: the holds that preserved something; `sources`: the topic-partitions, as `stream/partition`, whose messages
    hold every person in clear; `waiting`: files that no table names yet, with the time until which they are left alone.
    `kept`: what the broker keeps of each topic-partition now, its `earliest_offset` and `retention_ms`; those it did
    not tell of, or all if there is no broker, were not asked.
    """
    said: list[dict[str, Any]] = []
    for place in PLACES:
        one: dict[str, Any] = {"place": place.name, "state": place.states[_KINDS.index(kind)]}
        if one["state"] == "not reached":
            one["until"] = place.until
        if place.name == "restrictions" and kind == "window" and held:
            one |= {"state": "held"}  # whoever restricted what is held must not be shown it either
        if place.name == "records preserved for holds" and held:
            one["state"] = "held"
            if not isinstance(held, bool):
                one["holds"] = sorted(held)
        if place.name == "files that no table names" and waiting:
            last = max(waiting.values()).astimezone(UTC).isoformat(timespec="seconds")
            one |= {"state": "not reached", "until": last, "files": len(waiting)}
        if place.name == "source topics":
            one["topic_partitions"] = sorted(sources)
            one["kept"] = {source: dict(told) if (told := (kept or {}).get(source)) else "not asked"
                           for source in sorted(sources)}  # fmt: skip
        said.append(one)
    return said


def registered() -> set[str]:
    """List the folders of the warehouse that are registered."""
    return {folder for place in PLACES for folder in place.folders}
