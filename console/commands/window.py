"""Commands that look into the window: each leaves an audit entry before it answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console.audit import AuditLog
from console.shell import Shell, moment, shell, who
from schemas.position import Position
from schemas.subjects import CHAT_CHANNELS, Subject, normalise
from streams.batch import EXPLAINED
from tiers import lookup, quarantine

CASE = Annotated[str, typer.Option("--case", help="The case this look belongs to.")]
PURPOSE = Annotated[str, typer.Option("--purpose", help="What the answer is needed for.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("lookup")(lookup_command)
    group = typer.Typer(
        help="Records that were rejected: what, why, and on request their values.", no_args_is_help=True
    )
    group.command("list")(quarantine_list)
    group.command("show")(quarantine_show)
    app.add_typer(group, name="quarantine")


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
) -> None:
    """Every communication of a number, address or message id inside the window, newest first.

    Example: lethe lookup "+92 300 1234567" --case F-2041 --purpose "account take-over"
    """
    here = shell(context)
    entry = asked_for(case, purpose)
    query = read_query(value, since, until)
    runtime = here.runtime
    now = runtime.clock()
    asked = lookup.tokens_of(query, runtime.ring, now)
    rows = lookup.find(runtime.warehouse, asked, query)
    answer = joined(here, rows)
    audit_log(here).append(
        {
            **entry,
            "action": "lookup",
            "tokens": asked.hex(),
            "since": since,
            "until": until,
            "count": len(answer),
        },
        now,
    )
    here.answer(answer, lambda: _show(here, answer))


def joined(here: Shell, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Identifier rows joined with their archive rows and the other party."""
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
                "counterpart": _counterpart(here, row, metadata, others.get(position, [])),
                **{k: v for k, v in metadata.items() if k not in ("event_time", "integrity_hash")},
                "integrity_hash": metadata["integrity_hash"],
            }
        )
    return answer


def _counterpart(
    here: Shell, row: dict[str, Any], metadata: dict[str, Any], others: list[dict[str, Any]]
) -> str | None:
    """The other party: a business as it is, a person masked."""
    for other in others:
        if other["token"] is not None and (other["role"], other["token"]) != (row["role"], row["token"]):
            subject = lookup.value_of(other, here.runtime.ring)
            return None if subject is None else lookup.masked(subject)
    business: str | None = metadata["recipient"] if row["role"] == "sender" else metadata["sender"]
    return business


def _show(here: Shell, answer: list[dict[str, Any]]) -> None:
    here.table(
        f"{len(answer)} communication(s) inside the window",
        ["time (UTC)", "record", "role", "kind", "channel", "direction", "counterpart", "status", "account", "country"],
        [
            [a["event_time"], a["record"], a["role"], a["kind"], a["channel"], a["direction"], a["counterpart"],
             a["status_group"], a["account"], a["country"]]
            for a in answer
        ],
    )  # fmt: skip
    if not answer:
        here.say(
            "Nothing inside the window. Older identifiers have been forgotten; a number needs its country code."
        )


def quarantine_list(
    context: typer.Context,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Only records rejected for this reason.")
    ] = None,
    format_name: Annotated[str | None, typer.Option("--format", help="Only records of this format.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most this many.")] = 100,
) -> None:
    """The rejected records, without their values.

    Example: lethe quarantine list --reason bad_time
    """
    here = shell(context)
    rows = quarantine.listed(here.runtime.warehouse, reason, format_name, limit)
    for row in rows:
        row["record"] = str(lookup.position_of(row))
        row["explanation"] = _explained(row["reason"])
    here.answer(
        rows,
        lambda: here.table(
            f"{len(rows)} rejected record(s)",
            ["record", "reason", "field", "explanation", "format", "received (UTC)", "month"],
            [
                [r["record"], r["reason"], r["detail"], r["explanation"], r["format"], r["received_time"], r["month"]]
                for r in rows
            ],
        ),
    )  # fmt: skip


def quarantine_show(
    context: typer.Context,
    record: Annotated[str, typer.Argument(help="A record's name: stream/partition/offset[/index].")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Decrypt and show the value; needs a case and a purpose.")
    ] = False,
    case: Annotated[str | None, typer.Option("--case", help="The case this look belongs to.")] = None,
    purpose: Annotated[str | None, typer.Option("--purpose", help="What the answer is needed for.")] = None,
) -> None:
    """One rejected record: why, and with --reveal what it was.

    Example: lethe quarantine show cdr.sms-report/0/4711 --reveal --case Q-7 --purpose "mend the producer"
    """
    here = shell(context)
    position = Position.parse(record)
    row = quarantine.one(here.runtime.warehouse, position)
    row["record"], row["explanation"] = str(position), _explained(row["reason"])
    sealed = row["sealed"]
    if reveal:
        if case is None or purpose is None:
            raise typer.BadParameter("--reveal needs --case and --purpose")
        entry = asked_for(case, purpose)
        value = quarantine.value_of(row, here.runtime.ring)
        audit_log(here).append(
            {
                **entry,
                "action": "quarantine.reveal",
                "record": str(position),
                "count": int(value is not None),
            },
            here.runtime.clock(),
        )
        row["value"] = None if value is None else value.decode("utf-8", "backslashreplace")
    row["kept"] = sealed is not None
    del row["sealed"]
    here.answer(row, lambda: here.table("", ["", ""], [[k, v] for k, v in row.items()]))


def _explained(reason: str) -> str:
    return EXPLAINED.get(reason, reason)
