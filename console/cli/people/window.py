"""Commands that look into the window: each leaves an audit entry before it answers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC
from typing import Annotated, Any, Final

import typer

from lethe.console.cli._garbage import uncollected
from lethe.console.cli.remote.calls import ask, communications
from lethe.console.cli.shell import Shell, asker, fail, moment, shell, typed_each
from lethe.operations.asker import Asker
from lethe.operations.window.communications import MOST_VALUES, RESTRICTED, Communications
from lethe.schemas.errors import InputError
from lethe.schemas.position import Position
from lethe.schemas.words import counted

CASE = Annotated[str, typer.Option("--case", help="The case this look belongs to.")]
LAW = Annotated[
    str | None, typer.Option("--law", help="The reason of law to see records of a restricted person.")
]
PURPOSE = Annotated[str, typer.Option("--purpose", help="What the answer is needed for.")]
FOR = Annotated[
    str | None,
    typer.Option("--purpose", help="What it is done for; a second person sees it, the audit keeps it."),
]
RECORD = Annotated[str, typer.Argument(help="A record's name: STREAM/PARTITION/OFFSET[/INDEX].")]
_WIDE: Final = 120
"""From this many characters on a table of look-ups fits without folding."""
_HELD = (
    "event_time",
    "record",
    "hold",
    "roles",
    "channel",
    "direction",
    "status_group",
    "account",
    "country",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("lookup")(lookup_command)
    app.command("reveal")(reveal_command)


def lookup_command(
    context: typer.Context,
    values: Annotated[
        list[str],
        typer.Argument(
            metavar="VALUE...",
            help="Phone numbers, e-mail or IP addresses, SIP URIs, chat or message ids; - reads one from a prompt, "
            "or a list from standard input.",
        ),
    ],
    case: CASE,
    purpose: PURPOSE,
    since: Annotated[str | None, typer.Option("--since", help="Only from this date or time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only before this date or time.")] = None,
    law: LAW = None,
    hold: Annotated[
        str | None, typer.Option("--hold", help="Ask what was set aside for the hold with this reference.")
    ] = None,
    reveal_all: Annotated[
        bool,
        typer.Option(
            "--reveal", help="Show the other parties in clear; the service asks a second person first."
        ),
    ] = False,
) -> None:
    """Every communication of a number, address or message id inside the window, newest first.

    Several values are looked up in one reading, with an audit entry each; the answer numbers them in their order.

    Example: lethe lookup "+92 300 1234567" --case F-2041 --purpose "account take-over"
    """
    invocation = shell(context)
    who, texts = asker(case, purpose, law), typed_each(values, MOST_VALUES)
    period = {"since": moment(since, "--since"), "until": moment(until, "--until")}
    if hold is not None and reveal_all:
        raise InputError("what is set aside for a hold is revealed one by one: lethe reveal RECORD")
    if hold is not None:
        if len(texts) != 1:
            raise InputError("give one value: what was set aside for a hold is looked up one by one")
        [held] = _looked_up(invocation, "lookup_held", who, text=texts[0], reference=hold, **period)
        invocation.answer(_told(held), lambda: _show_held(invocation, held))
        return
    each = _looked_up(invocation, "reveal_each" if reveal_all else "lookup_each", who, texts=texts, **period)
    if len(each) > 1:
        told = [{"value": number, **one} for number, found in enumerate(each, 1) for one in _told(found)]
        invocation.answer(told, lambda: _show_each(invocation, each))
        return
    [found] = each
    if found.unread_number:
        fail(
            "nothing found, and what was given cannot be read as a phone number: write it with + and its country code",
            invocation.json,
        )
    invocation.answer(_told(found), lambda: _show(invocation, found))


def _looked_up(invocation: Shell, function: str, who: Asker, **given: Any) -> list[Communications]:
    """Look up here, or through the service: a client needs none of the libraries that read tables."""
    if invocation.server is not None:
        return communications(invocation.server, f"window.lookup.{function}", who, given)
    with uncollected():
        from lethe.operations.window import lookup

    found = getattr(lookup, function)(invocation.runtime, who, **given)
    return found if isinstance(found, list) else [found]


def _told(found: Communications) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [*found.records, *([{"restricted": True}] if found.restricted else [])]
    return told + [{"missing": key_id, "why": why} for key_id, why in found.missing.items()]


def _show_held(invocation: Shell, found: Communications) -> None:
    if found.restricted:
        invocation.say(RESTRICTED)
    records = found.records
    invocation.table(
        f"{counted(len(records), 'communication')} set aside",
        _HELD,
        [[r.get(c) for c in _HELD] for r in records],
    )


def _show_each(invocation: Shell, each: list[Communications]) -> None:
    for number, found in enumerate(each, 1):
        invocation.say(f"Value {number} of {len(each)}:")
        if found.unread_number:
            invocation.say("It cannot be read as a phone number: write it with + and its country code.")
        _show(invocation, found)


def _show(invocation: Shell, found: Communications) -> None:
    if found.restricted:
        invocation.say(RESTRICTED)
    for key_id, why in found.missing.items():
        invocation.say(f"{key_id} could not be looked through, records of it may be missing here: {why}")
    records = {
        record["record"] for record in found.records
    }  # one in which somebody has two roles stands there twice
    title = f"{counted(len(records), 'communication')} inside the window"
    if invocation.out.width < _WIDE:
        _show_narrow(invocation, title, found.records)
    else:
        invocation.table(
            title,
            ["time (UTC)", "record", "role", "kind", "channel", "direction", "counterpart", "status", "account",
             "country"],
            [
                [a["event_time"], a["record"], a["role"], a["kind"], a["channel"] or a.get("data"),
                 a["direction"] or _done(a), a["counterpart"], a["status_group"] or a["status"], a["account"],
                 a["country"]]
                for a in found.records
            ],
        )  # fmt: skip
    if not found.records and not found.restricted and not found.missing:
        invocation.say(
            "Nothing inside the window. Older identifiers have been forgotten; a number needs its country code."
        )


def _done(record: dict[str, Any]) -> str | None:
    """Say what was done in a record of usage data."""
    return record.get("action") or " ".join(filter(None, (record.get("method"), record.get("path")))) or None


def _show_narrow(invocation: Shell, title: str, records: list[dict[str, Any]]) -> None:
    """Print two lines a record: no time, number or name is folded, which would be misread."""
    invocation.say(title)
    for a in records:
        when = f"{a['event_time'].astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        what = " ".join(
            filter(None, (a["channel"], a["direction"], _done(a), a["status_group"] or a["status"]))
        )
        other = f" with {a['counterpart']}" if a["counterpart"] else ""
        invocation.line(f"{when}  {a['role']}, {what}{other}")
        rest = [v for v in (a["account"], a["country"]) if v]
        invocation.line(f"{'':21}{a['record']}{'  ' if rest else ''}{', '.join(rest)}")


def reveal_command(
    context: typer.Context, record: RECORD, case: CASE, purpose: PURPOSE, law: LAW = None
) -> None:
    """The identifiers of one record, decrypted.

    Example: lethe reveal cdr.sms-report/0/4711 --case F-2041 --purpose "whom did the fraudster write to"
    """
    invocation = shell(context)
    from lethe.operations.window import reveal

    found = ask(invocation, reveal.reveal, asker(case, purpose, law), Position.parse(record))
    rows = [[p.role, p.kind, p.value] for p in found.parties]
    invocation.answer(asdict(found), lambda: invocation.table(found.record, ["role", "kind", "value"], rows))
