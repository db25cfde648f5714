"""Everything the window holds about one person, for that person: readable by people (CSV) and machines (JSON).

Other people in the same records are masked, and an original that names somebody else is left out (GDPR, article
15(4)): the copy must not tell one person about another one.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from lethe.keys.tokens import subject_token
from lethe.schemas.csv_text import csv_lines
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month, window_end
from lethe.schemas.retention.data_class import DataClass
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.holds.scope import held_roles
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.rights.search import search, searching
from lethe.tiers.rights.spool import Spool
from lethe.tiers.window.lookup import Query, masked
from lethe.tiers.window.records import gather, open_parts, plain, select_each
from lethe.tiers.window.usage import USAGE

_LOOKED: Final = ("time", "category")
_NAMED: Final = ("who", "role", "action", "case", "purpose")
CATEGORIES: Final = {
    "lookup": "looked for in the records",
    "lookup.hold": "looked for in what is kept for a legal order",
    "reveal": "identifiers shown in clear",
    "evidence": "evidence of a record made",
    "quarantine.reveal": "a rejected record shown in clear",
    "export": "copied for the person",
    "erase.preview": "an erasure was prepared",
}
"""What an export says of a look, by the action in the audit."""
OTHER: Final = "looked at for another reason"
_AT_ONCE: Final = 4_096
"""Records that are gathered at one time."""
UNTIL_RELEASED: Final = "the hold is released"
NOT_TOLD: Final = "not told"
LAW: Final = {
    "order": "an order of an authority or a court to keep them (GDPR art. 17(3)(b))",
    "claims": "legal claims that are made or defended with them (GDPR art. 17(3)(e))",
}

Looks = Callable[[Collection[str], Collection[str]], Iterable[Mapping[str, Any]]]
"""Takes the person's tokens of live months and names of records, returns the audit entries about either."""


def build(
    maintenance: MaintenanceContext,
    policy: RetentionPolicy,
    subjects: tuple[Subject, ...],
    looks: Looks,
    now: datetime,
    names: bool = False,
) -> dict[str, Any]:
    """Return the export as a value: records newest first, rejected records, what is held by law, and who has looked.

    Of a look it tells time and category; with `names` also whose it was, and for which case. Of a hold it tells the
    kind of law and how many records, and by whose order only where the hold says that this may be told.
    """
    records, theirs = Spool(), set[str]()
    recipients, sources = set[tuple[str, str]](), set[str]()
    rejected: list[dict[str, Any]] = []
    mentioned: list[dict[str, Any]] = []
    tokens: set[str] = set()
    looking = searching(maintenance.warehouse, subjects, maintenance.on_records)
    for part in open_parts(maintenance.ring, maintenance.clock()):
        tokens |= {subject_token(part.keys, s.kind, s.value).hex() for s in subjects}
        found = search(maintenance.warehouse, part, looking)
        ends = window_end(part.month, part.window_months)
        mentioned += [
            {"record": str(p), "identifiers_kept_until": ends.isoformat()}
            for p in sorted(found.mentioned, key=str)
        ]
        chunks = found.records.chunks(_AT_ONCE)
        for some in chunks:
            found_now = [
                _record(record, subjects, policy, part.window_months, ends)
                for record in gather(maintenance.warehouse, part, some)
                if record["metadata"] is not None  # else half of a commit that has not happened (yet)
            ]
            records.add(found_now)
            theirs.update(r["record"] for r in found_now)
            recipients.update(_recipients(found_now))
            sources.update(r["source"] for r in found_now)
        rows = select_each(maintenance.warehouse.window["quarantine"], part.rows) if found.quarantine else ()
        for row in rows:
            position = Position(row["stream"], row["partition"], row["offset"], row["index"])
            if position in found.quarantine:
                rejected.append(
                    {"record": str(position), **plain({k: row[k] for k in ("format", "reason", "received_time")}),
                     "identifiers_kept_until": ends.isoformat()}
                )  # fmt: skip
    theirs.update(r["record"] for r in rejected)
    looked = [_look(entry, names) for entry in looks(tokens, theirs)]
    return {
        "made": now.isoformat(),
        "records": records,
        "rejected_records": rejected,
        "mentioned_in": mentioned,
        "held_by_law": _held(maintenance, subjects),
        "recipients": [{"kind": kind, "name": name} for kind, name in sorted(recipients)],
        "sources": sorted(sources | {r["format"] for r in rejected}),
        "looked_at": looked,
    }


def _look(entry: Mapping[str, Any], names: bool) -> dict[str, Any]:
    action = str(entry.get("action"))
    told = {"time": entry.get("time"), "category": CATEGORIES.get(action, OTHER)}
    return {**told, **{name: entry.get(name) for name in _NAMED}} if names else told


def _held(maintenance: MaintenanceContext, subjects: tuple[Subject, ...]) -> list[dict[str, Any]]:
    """Say of each hold that has preserved records of the person how many, of which months, and what may be told."""
    told, query = [], Query(subjects, None)
    for hold in maintenance.holds.active():
        kept = [r["month"] for r in maintenance.holds.records(hold) if held_roles(r, query)]
        if kept:
            told.append(
                {"records": len(kept), "months": sorted(set(kept)), "law": LAW[hold.basis],
                 "kept_until": UNTIL_RELEASED if hold.ends is None else hold.ends.isoformat(),
                 "authority": hold.authority if hold.tell else NOT_TOLD,
                 "reference": hold.reference if hold.tell else NOT_TOLD}
            )  # fmt: skip
    return told


def _record(
    record: dict[str, Any],
    subjects: tuple[Subject, ...],
    policy: RetentionPolicy,
    window: int,
    window_ends: datetime,
) -> dict[str, Any]:
    metadata = record["metadata"]
    mine = [i for i in record["identifiers"] if Subject(i["kind"], i["value"]) in subjects]
    others = [i for i in record["identifiers"] if i not in mine]
    return {
        "record": record["record"],
        "event_time": metadata["event_time"],
        "source": metadata["format"],
        "identifiers": mine,
        "other_parties": [{**o, "value": masked(Subject(o["kind"], o["value"]))} for o in others],
        "message_id": record.get("message_id"),
        "metadata": {k: v for k, v in metadata.items() if k != "integrity_hash" and v is not None},
        "kept_fields": [] if others else [
            {"form": e["form"], "text": b64decode(e["value"]).decode("utf-8", "replace")} for e in record["entries"]
        ],
        "withheld": len(record["entries"]) if others else 0,
        "identifiers_kept_until": window_ends.isoformat(),
        "identifiers_period": f"{window} months after the month of the communication",
        **_metadata_kept(metadata, policy, window_ends),
    }  # fmt: skip


def _metadata_kept(
    metadata: dict[str, Any], policy: RetentionPolicy, window_ends: datetime
) -> dict[str, str]:
    if metadata.get("data") == USAGE:
        return {
            "metadata_kept_until": window_ends.isoformat(),
            "metadata_period": "as long as the identifiers: usage data",
        }
    archived = policy.period(
        DataClass.ARCHIVE, (metadata.get("countries") or metadata["country"] or "").split(",")
    )
    month = Month.of(datetime.fromisoformat(metadata["event_time"]))
    return {
        "metadata_kept_until": archived.ends(month).isoformat(),
        "metadata_period": f"{archived.length} years following the year of the communication",
    }


def _recipients(records: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    """Say who received the records' data: the accounts they belong to, the networks and routes that carried them."""
    return {
        (kind, str(value))
        for r in records
        for kind in ("account", "application", "network", "route")
        if (value := r["metadata"].get(kind)) is not None
    }


_COLUMNS: Final = (
    "record", "event_time", "source", "channel", "direction", "account", "status_group", "country", "network", "route",
    "price", "currency", "action", "method", "path", "status",
    "identifiers", "other_parties", "message_id", "identifiers_kept_until", "identifiers_period",
    "metadata_kept_until", "metadata_period",
)  # fmt: skip


def as_files(export: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of an export by name, as `as_parts` writes them, each whole."""
    return {name: b"".join(parts) for name, parts in as_parts(export).items()}


def as_parts(export: Mapping[str, Any]) -> dict[str, Iterator[bytes]]:
    """Return the files of an export by name, in parts of about a record.

    All of it as JSON; records, those of others that name the person, and who has looked as CSV (RFC 4180), a line each.
    """
    looked = [*_LOOKED, *(n for n in _NAMED if any(n in e for e in export["looked_at"]))]
    return {
        "export.json": _json(export),
        "records.csv": csv_lines(_COLUMNS, map(_line, export["records"])),
        "other_records.csv": csv_lines(_OTHERS, [*export["rejected_records"], *export["mentioned_in"]]),
        "looked_at.csv": csv_lines(looked, export["looked_at"]),
        "held_by_law.csv": csv_lines(
            _HELD, ({**h, "months": " ".join(h["months"])} for h in export["held_by_law"])
        ),
    }


def _line(record: Mapping[str, Any]) -> dict[str, Any]:
    parties = {
        name: "; ".join(f"{i['role']} {i['kind']} {i['value']}" for i in record[name])
        for name in ("identifiers", "other_parties")
    }
    return {**record["metadata"], **record, **parties}


def _json(export: Mapping[str, Any]) -> Iterator[bytes]:
    """Write an export as `orjson` would with an indent of two, a record at a time."""
    before = b"{"
    for name, value in export.items():
        yield before + b'\n  "' + name.encode() + b'": '
        before = b","
        if not isinstance(value, Spool) or not value:
            yield _indented([] if isinstance(value, Spool) else value, b"  ")
            continue
        between = b"["
        for record in value:
            yield between + b"\n    " + _indented(record, b"    ")
            between = b","
        yield b"\n  ]"
    yield b"\n}\n"


def _indented(value: Any, by: bytes) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).replace(b"\n", b"\n" + by)


_HELD: Final = ("records", "months", "law", "kept_until", "authority", "reference")
_OTHERS: Final = ("record", "format", "reason", "received_time", "identifiers_kept_until")
