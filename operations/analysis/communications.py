"""Read the communications of all targets of a case at once: one audited look, one frame, nobody's name in it."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from lethe.operations.asker import Asker, record
from lethe.operations.runtime import Runtime
from lethe.operations.window.lookup import asked_for, paired
from lethe.operations.window.visibility import hidden_tokens, is_hidden
from lethe.schemas.errors import InputError
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.window import lookup as window

MOST_TARGETS: Final = 50
MOST_ROWS: Final = 200_000

SCHEMA: Final = pl.Schema(
    {
        "target": pl.Int32(),  # 1 to 50, in the order of the case
        "time": pl.Datetime("us", "UTC"),  # of the first report of the communication
        "role": pl.String(),  # of the target: sender, recipient, …
        "channel": pl.String(),
        "direction": pl.String(),
        "counterpart": pl.String(),  # a business as it is; `T2`, another target; `P-…`, somebody else
        "counterpart_kind": pl.String(),  # business, target, person, restricted
        "account": pl.String(),
        "sender": pl.String(),
        "route": pl.String(),
        "network": pl.String(),
        "country": pl.String(),
        "status_group": pl.String(),  # of the last report
        "error": pl.String(),
        "parts": pl.Int64(),
        "duration_ms": pl.Int64(),
        "charge": pl.Decimal(18, 6),
        "currency": pl.String(),
        "reports": pl.Int64(),  # how many records told of this communication
        "record": pl.String(),  # the position of the last of them
        "in_scope": pl.Boolean(),  # whether that has an integrity hash, and so evidence
    }
)
"""The columns of the frame. A row is one communication of one target."""


@dataclass(frozen=True, slots=True)
class Read:
    """The communications, oldest first, and what is known beside them. No field holds an address in clear.

    `people`: the masked address of each `P-…`. `missing`: months whose keys did not open, as in a look-up.
    """

    events: pl.DataFrame = field(repr=False)
    people: Mapping[str, str] = field(repr=False)
    targets: int
    rows: int
    restricted: bool
    missing: Mapping[str, str]
    entry: str
    """The time of the audit entry, which names it."""

    def to_keep(self) -> dict[str, Any]:
        """Write it in a form that can be kept for another view of the same reading (`Answers`)."""
        told = io.BytesIO()
        self.events.write_ipc_stream(told)
        beside = {name: getattr(self, name) for name in ("targets", "rows", "restricted", "entry")}
        events = b64encode(told.getvalue()).decode()
        people = {str(name): masked for name, masked in self.people.items()}
        return {**beside, "events": events, "people": people, "missing": dict(self.missing)}

    @classmethod
    def kept(cls, kept: Mapping[str, Any]) -> Read:
        """Read what `to_keep` wrote."""
        return cls(**{**kept, "events": pl.read_ipc_stream(b64decode(kept["events"]))})


class _Named(str):
    """How somebody is called who is no business."""

    __slots__ = ()


def communications(
    runtime: Runtime,
    asker: Asker,
    targets: Sequence[str],
    digest: Callable[[str], str],
    since: datetime | None = None,
    until: datetime | None = None,
) -> Read:
    """Find the communications of up to 50 targets within `since` <= time < `until`, in one look.

    `digest` names the same text the same way every time and cannot be computed without the key of the case. Raises
    `InputError` for more targets or more rows than can be looked at together.

    1. Find the rows that carry a token of any target, and join them with the archive.
    2. Write the audit entry: it holds tokens of the audit's own, of all targets.
    3. Answer: one row for each communication of a target; several reports of one message are one communication.
    """
    asker.needs_reason()
    if not 0 < len(targets) <= MOST_TARGETS:
        raise InputError(f"1 to {MOST_TARGETS} targets can be looked at side by side")
    # Step 1
    queries = [asked_for(runtime, text, since, until)[1] for text in targets]
    asked = window.tokens_of_each(queries, runtime.ring, runtime.clock())
    each = window.find_each(runtime.warehouse, asked, queries)
    rows = list({id(row): row for found in each for row in found}.values())
    if len(rows) > MOST_ROWS:
        raise InputError(f"more than {MOST_ROWS:,} records: choose a shorter period or fewer targets")
    hidden = hidden_tokens(runtime, asker)
    shown = [r for r in rows if not is_hidden(r, hidden)]
    people: dict[str, str] = {}
    ours = {s: number for number, q in reversed(list(enumerate(queries, 1))) for s in q.subjects}

    def name(subject: Subject) -> str:
        if (number := ours.get(subject)) is not None:
            return _Named(f"T{number}")
        key = _Named(f"P-{digest(f'{subject.kind} {subject.value}')[:10]}")
        people[key] = window.masked(subject)
        return key

    found = paired(runtime, shown, hidden, name)
    missing = {key: why for one in asked for key, why in one.missing.items()}
    # Step 2
    record(
        runtime, asker, "case.analyse", about=tuple(dict.fromkeys(s for q in queries for s in q.subjects)),
        messages=tuple(q.message_id for q in queries if q.message_id is not None), since=since, until=until,
        law=asker.law, targets=len(targets), count=len(found), restricted=len(shown) < len(rows),
        missing=sorted(missing),
    )  # fmt: skip
    # Step 3
    return Read(
        _frame(found, asked), people, len(targets), len(found), len(shown) < len(rows), missing,
        runtime.clock().isoformat(),
    )  # fmt: skip


def _frame(found: list[tuple[dict[str, Any], dict[str, Any]]], asked: Sequence[window.Asked]) -> pl.DataFrame:
    """Give each target its rows, and make one of the reports of a message."""
    owners: dict[tuple[str, int, bytes], list[int]] = {}
    for number, one in enumerate(asked, 1):
        for (named, months), (subjects, message) in one.tokens.items():
            for token in {*subjects, *(() if message is None else (message,))}:
                owners.setdefault((str(named), months, token), []).append(number)
    ladders: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row, answer in found:
        month = row["month"], row["window_months"]
        mine = {
            n
            for t in (row["token"], row["message_token"])
            if t is not None
            for n in owners.get((*month, t), ())
        }
        whole = row["message_token"] or answer["record"]
        for number in mine:
            ladders.setdefault((number, month, whole, row["role"], row["token"]), []).append(answer)
    events = [_event(key[0], ladder) for key, ladder in ladders.items()]
    return pl.DataFrame(events, SCHEMA, orient="row").sort("time", "target", "record", "role")


def _event(target: int, ladder: list[dict[str, Any]]) -> dict[str, Any]:
    """Say what became of a communication: when it began, and what its last report says."""
    ladder.sort(key=lambda a: (a["event_time"], a.get("done_time") or a["event_time"], a["record"]))
    first, last = ladder[0], ladder[-1]
    other = last["counterpart"]
    kind = None if other is None else "business"
    if isinstance(other, _Named):
        kind = "target" if other.startswith("T") else "person"
    elif other == "restricted":
        kind = "restricted"
    same = {name: last.get(name) for name in SCHEMA if name in last}
    return {
        **dict.fromkeys(SCHEMA), **same, "target": target, "time": first["event_time"],
        "counterpart": None if other is None else str(other),
        "counterpart_kind": kind, "reports": len(ladder), "record": last["record"],
        "in_scope": last["integrity_hash"] is not None,
    }  # fmt: skip
