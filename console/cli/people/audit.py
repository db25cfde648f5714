"""Commands of the audit: verify it, list who did what, and who looked at a person."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import orjson
import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.people.window import CASE, PURPOSE
from lethe.console.cli.remote import calls
from lethe.console.cli.remote.calls import ask
from lethe.console.cli.shell import Shell, asker, fail, moment, shell, show_verifier_keys, typed
from lethe.operations.oversight import entries, signing, verify
from lethe.schemas.words import counted

WHO = Annotated[str | None, typer.Option("--who", help="Only what this person did.")]
ACTION = Annotated[
    str | None,
    typer.Option("--action", help="Only this action, such as lookup; hold stands for hold.place too."),
]
SINCE = Annotated[str | None, typer.Option("--since", help="Only from this date or time on.")]
UNTIL = Annotated[str | None, typer.Option("--until", help="Only before this date or time.")]
FORMAT = Annotated[Literal["table", "csv"], typer.Option("--format", help="How to print: table or csv.")]
_SHOWN = ("time", "who", "source", "action", "case", "purpose", "count")
_MOST = 50


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = new_app("The audit: who did what and why, verified; and who looked at a person.")
    group.command("verify")(audit_verify)
    group.command("list")(audit_list)
    group.command("disclosures")(audit_disclosures)
    group.command("keys")(audit_keys)
    group.command("rotate")(audit_rotate)
    app.add_typer(group, name="audit")


def audit_verify(context: typer.Context) -> None:
    """Verify every entry and every file of the audit; status 1 names what was altered, cut off or put back.

    Example: lethe audit verify
    """
    invocation = shell(context)
    done = ask(invocation, verify.verify)
    answer = {"ok": not done.findings, **asdict(done)}

    def show() -> None:
        for finding in done.findings[:_MOST]:
            invocation.say(finding, "red")
        if len(done.findings) > _MOST:
            invocation.say(f"… and {len(done.findings) - _MOST:,} more; --json lists them")
        earlier = f", {done.earlier_entries:,} of an earlier release" if done.earlier_entries else ""
        invocation.say(f"{done.entries:,} entries in {counted(done.logs, 'log')} verified{earlier}")
        stamps = counted(done.time_stamps, "time stamp")
        vouched = f"anchored in the warehouse: {counted(done.anchors, 'log')}, {stamps}"
        invocation.say(vouched if done.anchors else "nothing outside of the key directory vouches for it yet")
        if not done.findings:
            invocation.say("every entry is as it was signed, and none is missing", "green")

    invocation.answer(answer, show)
    if done.findings:
        fail(f"{counted(len(done.findings), 'finding')}: the audit is not as it was signed", invocation.json)


def audit_keys(context: typer.Context) -> None:
    """Show the verifier keys of the audit: what somebody needs to check its checkpoints. They are public.

    Example: lethe audit keys
    """
    invocation = shell(context)
    _show_keys(invocation, signing.audit_keys(invocation.runtime))


def audit_rotate(context: typer.Context) -> None:
    """Hand over to new keys of the audit: the old ones sign for them and are then gone. Processes take them up.

    Whoever trusts an old key can follow the hand-over. It is in the audit itself.

    Example: lethe audit rotate
    """
    invocation = shell(context)
    _show_keys(invocation, signing.rotate_audit_keys(invocation.runtime, asker()))


def _show_keys(invocation: Shell, history: signing.KeyHistory) -> None:
    told = f"The audit is signed as {history.name}, key set {len(history.sets)}. Its verifier keys:"
    show_verifier_keys(invocation, history, told)


def audit_list(
    context: typer.Context,
    who: WHO = None,
    action: ACTION = None,
    case: Annotated[str | None, typer.Option("--case", help="Only what was done for this case.")] = None,
    since: SINCE = None,
    until: UNTIL = None,
    form: FORMAT = "table",
) -> None:
    """List entries, oldest first: who did what, from where, for which case. They hold no value of a person.

    Example: lethe audit list --who amal --since 2026-10-01 --format csv
    """
    invocation = shell(context)
    wanted = entries.Filter(who, action, case, moment(since, "--since"), moment(until, "--until"))
    damage: list[str] = []
    found: Iterable[dict[str, Any]]
    if invocation.server is not None:
        found, damage = calls.entries(invocation.server, "/api/audit/entries", wanted)
    else:
        found = entries.listed(invocation.runtime, wanted, damage.append)
    _answer(invocation, found, form, damage)


def audit_disclosures(
    context: typer.Context,
    value: Annotated[str, typer.Argument(help="A number or an address; - reads it from a prompt.")],
    case: CASE,
    purpose: PURPOSE,
    who: WHO = None,
    action: ACTION = None,
    since: SINCE = None,
    until: UNTIL = None,
    form: FORMAT = "table",
) -> None:
    """List who looked at a person, when and why; the person is not printed. The question is in the audit too.

    Example: lethe audit disclosures - --case R-12 --purpose "asked by the person" --format csv
    """
    invocation = shell(context)
    wanted = entries.Filter(who, action, None, moment(since, "--since"), moment(until, "--until"))
    damage: list[str] = []
    who_asks, text = asker(case, purpose), typed(value)
    if invocation.server is not None:
        found, damage = calls.entries(invocation.server, "/api/disclosures", wanted, who_asks, text=text)
    else:
        found = entries.disclosures(invocation.runtime, who_asks, text, wanted, damage.append)
    _answer(invocation, found, form, damage)


def _answer(invocation: Shell, found: Iterable[dict[str, Any]], form: str, damage: list[str]) -> None:
    if invocation.json:
        _lines(found)
    elif form == "csv":
        _csv(found)
    else:
        rows = [[_cell(entry, name) for name in _SHOWN] for entry in found]
        invocation.table(f"{len(rows):,} entries", ["time (UTC)", *_SHOWN[1:]], rows)
    if damage:
        fail(f"not everything could be read: {damage[0]}; lethe audit verify says all", invocation.json)


def _lines(found: Iterable[dict[str, Any]]) -> None:
    """Write a JSON array entry by entry: an audit of years does not fit memory."""
    sys.stdout.write("[")
    for at, entry in enumerate(found):
        sys.stdout.write(",\n" if at else "\n")
        sys.stdout.write(orjson.dumps(entry).decode())
    sys.stdout.write("\n]\n")


def _csv(found: Iterable[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(entries.COLUMNS)
    for entry in found:
        writer.writerow(_formula_free(entry.get(name)) for name in entries.COLUMNS)


def _formula_free(value: Any) -> str:
    text = "" if value is None else str(value)
    # A spreadsheet would take such a cell for a formula.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _cell(entry: dict[str, Any], name: str) -> Any:
    value = entry.get(name)
    return str(value)[:19].replace("T", " ") if name == "time" else value
