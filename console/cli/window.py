"""Commands that look into the window: each leaves an audit entry before it answers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import typer

from lethe.console.cli.shell import Shell, moment, shell, who
from lethe.operations.audit import AuditLog
from lethe.schemas.position import Position
from lethe.schemas.subjects.addresses import CHAT_CHANNELS, Subject, normalise
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.scope import held_roles
from lethe.tiers.rights import restrictions
from lethe.tiers.window import lookup

CASE = Annotated[str, typer.Option("--case", help="The case this look belongs to.")]
LAW = Annotated[
    str | None, typer.Option("--law", help="The reason of law to see records of a restricted person.")
]
PURPOSE = Annotated[str, typer.Option("--purpose", help="What the answer is needed for.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("lookup")(lookup_command)


def audit_log(here: Shell) -> AuditLog:
    """The audit log of this installation."""
    keys = here.settings.keys_dir
    return AuditLog(here.settings.audit_dir or keys.parent / "audit", keys)


def asked_for(case: str, purpose: str) -> dict[str, str]:
    """Case and purpose as an audit entry holds them; raises `typer.BadParameter` when one is blank."""
    if not case.strip() or not purpose.strip():
        raise typer.BadParameter("a case and a purpose are needed, not blanks")
    return {"who": who(), "case": case.strip()[:200], "purpose": purpose.strip()[:500]}


def read_query(value: str, since: str | None, until: str | None) -> lookup.Query:
    """What a person typed: an address in any usual spelling, or a message id."""
    text = value.strip()
    if not text or len(text) > 1024:
        raise typer.BadParameter("give a number, an address or a message id")
    found = [normalise(text), Subject("opaque", text)]
    if ":" not in text:
        found += [Subject("chat", f"{channel}:{text}") for channel in sorted(CHAT_CHANNELS)]
    subjects = tuple(dict.fromkeys(s for s in found if s is not None))
    return lookup.Query(subjects, text, moment(since, "--since"), moment(until, "--until"))


def lookup_command(
    context: typer.Context,
    value: Annotated[
        str, typer.Argument(help="A phone number, an e-mail or IP address, a SIP URI, a chat or message id.")
    ],
    case: CASE,
    purpose: PURPOSE,
    since: Annotated[str | None, typer.Option("--since", help="Only from this date or time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only before this date or time.")] = None,
    law: LAW = None,
    hold: Annotated[
        str | None, typer.Option("--hold", help="Ask what was set aside for the hold with this reference.")
    ] = None,
) -> None:
    """Every communication of a number, address or message id inside the window, newest first.

    Example: lethe lookup "+92 300 1234567" --case F-2041 --purpose "account take-over"
    """
    here = shell(context)
    entry = asked_for(case, purpose)
    query = read_query(value, since, until)
    runtime = here.runtime
    now = runtime.clock()
    if hold is not None:
        _held(here, entry, query, hold)
        return
    asked = lookup.tokens_of(query, runtime.ring, now)
    rows = lookup.find(runtime.warehouse, asked, query)
    lawful = (law or "").strip()[:500] or None
    hidden = set() if lawful else restrictions.tokens(runtime.objects, runtime.ring, now)
    shown = [r for r in rows if (r["month"], r["window_months"], r["token"]) not in hidden]
    answer = joined(here, shown, hidden)
    audit_log(here).append(
        {
            **entry,
            "action": "lookup",
            "tokens": asked.hex(),
            "since": since,
            "until": until,
            "law": lawful,
            "count": len(answer),
            "restricted": len(shown) < len(rows),
        },
        now,
    )
    restricted = len(shown) < len(rows)
    told: list[dict[str, Any]] = [*answer, {"restricted": True}] if restricted else answer
    here.answer(told, lambda: _show(here, answer, restricted))


RESTRICTED = "restricted: this person's records are not shown; --law TEXT with a reason of law shows them"


def _held(here: Shell, entry: dict[str, str], query: lookup.Query, reference: str) -> None:
    """Answer with what a hold has set aside of the person or message that was asked for."""
    runtime = here.runtime
    holds = Holds(runtime.objects, runtime.ring)
    found = holds.find(reference)
    answer = [
        {"hold": found.reference, "record": r["record"], **(r["metadata"] or {}), "roles": roles}
        for r in holds.records(found)
        if (roles := held_roles(r, query))
    ]
    answer.sort(key=lambda a: str(a.get("event_time")), reverse=True)
    audit_log(here).append(
        {
            **entry,
            "action": "lookup.hold",
            "hold": found.id,
            "reference": found.reference,
            "count": len(answer),
        },
        runtime.clock(),
    )
    columns = [
        "event_time",
        "record",
        "hold",
        "roles",
        "channel",
        "direction",
        "status_group",
        "account",
        "country",
    ]
    here.answer(
        answer,
        lambda: here.table(
            f"{len(answer)} communication(s) set aside",
            columns,
            [[a.get(c) for c in columns] for a in answer],
        ),
    )


def joined(
    here: Shell, rows: list[dict[str, Any]], hidden: Collection[tuple[str, int, bytes]] = ()
) -> list[dict[str, Any]]:
    """Identifier rows joined with their archive rows and the other party, unless that one's token is hidden."""
    runtime = here.runtime
    archive = lookup.metadata_of(runtime.warehouse, rows)
    others: dict[Position, list[dict[str, Any]]] = {}
    for row in lookup.others_of(runtime.warehouse, rows):
        others.setdefault(lookup.position_of(row), []).append(row)
    answer = []
    for row in rows:
        position = lookup.position_of(row)
        metadata = archive.get(position)
        if metadata is None:
            continue  # half of a commit that has not happened (yet): it does not count
        answer.append(
            {
                "record": str(position),
                "event_time": row["event_time"],
                "role": row["role"],
                "kind": row["kind"],
                "counterpart": _counterpart(here, row, metadata, others.get(position, []), hidden),
                **{k: v for k, v in metadata.items() if k not in ("event_time", "integrity_hash")},
                "integrity_hash": metadata["integrity_hash"],
            }
        )
    return answer


def _counterpart(
    here: Shell,
    row: dict[str, Any],
    metadata: dict[str, Any],
    others: list[dict[str, Any]],
    hidden: Collection[tuple[str, int, bytes]],
) -> str | None:
    """The other party: a business as it is, a person masked."""
    for other in others:
        if other["token"] is not None and (other["role"], other["token"]) != (row["role"], row["token"]):
            if (other["month"], other["window_months"], other["token"]) in hidden:
                return "restricted"
            subject = lookup.value_of(other, here.runtime.ring)
            return None if subject is None else lookup.masked(subject)
    business: str | None = metadata["recipient"] if row["role"] == "sender" else metadata["sender"]
    return business


def _show(here: Shell, answer: list[dict[str, Any]], restricted: bool) -> None:
    if restricted:
        here.say(RESTRICTED)
    here.table(
        f"{len(answer)} communication(s) inside the window",
        ["time (UTC)", "record", "role", "kind", "channel", "direction", "counterpart", "status", "account", "country"],
        [
            [a["event_time"], a["record"], a["role"], a["kind"], a["channel"], a["direction"], a["counterpart"],
             a["status_group"], a["account"], a["country"]]
            for a in answer
        ],
    )  # fmt: skip
    if not answer and not restricted:
        here.say(
            "Nothing inside the window. Older identifiers have been forgotten; a number needs its country code."
        )
