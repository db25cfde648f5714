"""Commands about time: what is forgotten when, the sweep, and the certificates of what was forgotten."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.remote.calls import ask
from lethe.console.cli.shell import Shell, asker, moment, progress, prompt, read_file, shell
from lethe.operations.retention import certificates, expire, policy
from lethe.schemas.errors import LetheError
from lethe.schemas.words import counted


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("expire")(expire_command)
    signed = new_app("Certificates of what was forgotten.")
    signed.command("list")(certificates_list)
    signed.command("show")(certificates_show)
    signed.command("verify")(certificates_verify)
    app.add_typer(signed, name="certificates")
    periods = new_app("How long what is kept.")
    periods.command("explain")(policy_explain)
    app.add_typer(periods, name="policy")


def expire_command(
    context: typer.Context,
    now: Annotated[
        str | None, typer.Option("--now", help="With --dry-run: what is due at this time. Destroys nothing.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is due, change nothing.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Believe the machine's clock although nothing new confirms it (idle for long)."
        ),
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why it is to be believed; goes into the audit log.")
    ] = None,
    yes_destroy: Annotated[
        list[str] | None,
        typer.Option(
            "--yes-destroy", help="With --force, for each month that is due: agree to its destruction."
        ),
    ] = None,
) -> None:
    """Forget every month whose window has ended and every archive year that is over.

    Example: lethe expire --dry-run
    """
    invocation = shell(context)
    why = (reason or "").strip()[:500]
    if force and not why:
        raise typer.BadParameter("--force needs a --reason")
    if now is not None and not dry_run:
        raise typer.BadParameter("--now is for previews and destroys nothing: add --dry-run")
    if dry_run:
        outcomes = expire.preview(invocation.runtime, moment(now, "--now"))
    elif not force:
        with progress("forgetting", None, shown=not invocation.json):
            outcomes = expire.expire(invocation.runtime, asker())
    else:
        agreed = set(yes_destroy or ()) or _agreed(invocation)
        with progress("forgetting", None, shown=not invocation.json):
            outcomes = expire.expire_forced(invocation.runtime, asker(), why, agreed)
    invocation.answer([asdict(o) for o in outcomes], lambda: _show(invocation, outcomes))


def _agreed(invocation: Shell) -> set[str]:
    """Ask for the name of each month that a forced sweep destroys, typed out. Without a terminal there is nobody."""
    if invocation.json or not sys.stdin.isatty():
        return set()
    due = expire.preview(invocation.runtime)
    for outcome in due:
        name = expire.named(outcome)
        if prompt(f"{outcome.rows} rows of {name} are destroyed for ever. Type {name} to agree") != name:
            raise typer.Abort
    return {expire.named(outcome) for outcome in due}


def _show(invocation: Shell, outcomes: list[expire.Outcome]) -> None:
    if not outcomes:
        invocation.say("Nothing is due.")
        return
    columns = ["what", "state", "due", "files", "rows", "bytes", "held", "certificate"]
    invocation.table("", columns, [[asdict(o)[c] for c in columns] for o in outcomes], right=columns[3:])
    if waiting := sum(o.rows_waiting for o in outcomes):
        invocation.say(
            f"waiting: {waiting} rows of the archive stay until their commits are in the integrity log; lethe doctor "
            "says what keeps them from being published"
        )
    for lost in (o for o in outcomes if o.state == "differs"):
        found = "cannot be counted" if lost.rows < 0 else f"are {lost.rows} now"
        invocation.say(
            f"{lost.what}: the hold covered {counted(lost.said, 'record')}, of which there {found}; lethe doctor",
            "red",
        )
    if any(o.state == "waiting" and not o.rows_waiting for o in outcomes):
        invocation.say(
            "waiting: unreadable already; files of unfinished commits are removed by a sweep an hour from now"
        )


def certificates_list(context: typer.Context) -> None:
    """Return the certificates there are, oldest first."""
    invocation = shell(context)
    rows = [asdict(listed) for listed in ask(invocation, certificates.every)]
    columns = ["number", "kind", "what", "due", "done", "files", "rows"]
    invocation.answer(
        rows,
        lambda: invocation.table("Deletion certificates", columns, [[r[c] for c in columns] for r in rows]),
    )


def certificates_show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(min=0, help="The certificate's number.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Copy its file, to be verified elsewhere.")
    ] = None,
) -> None:
    """Return one certificate, complete.

    Example: lethe certificates show 0 --out certificate.json
    """
    invocation = shell(context)
    document = ask(invocation, certificates.read, number)
    if out is not None:
        try:
            out.write_bytes(document.file)
        except OSError as error:
            raise LetheError(f"{out}: {error.strerror}") from None
    certificate = document.certificate
    invocation.answer(
        certificate, lambda: invocation.table("", ["", ""], [[k, _cell(v)] for k, v in certificate.items()])
    )


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(_cell(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_cell(v)}" for k, v in value.items())
    return str(value)


def _verified(invocation: Shell, file: Path | None, key: list[str] | None) -> int:
    trusted = certificates.trusted(key) if key else certificates.own_keys(invocation.runtime)
    if file is None:
        return certificates.verify_all(invocation.runtime, trusted)
    certificates.verify(read_file(file), trusted)
    return 1


def certificates_verify(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="One certificate's file; default: all there are.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="A verifier key to trust; default: this installation's.")
    ] = None,
) -> None:
    """Check signatures, contents and that none is missing; status 1 if anything is wrong.

    Example: lethe certificates verify certificate.json --key "lethe+…"
    """
    invocation = shell(context)
    if invocation.server is not None and file is None and not key:
        count = int(invocation.server.ask("POST", "/api/certificates/verify"))
    else:
        count = _verified(invocation, file, key)
    invocation.answer(
        {"ok": True, "verified": count},
        lambda: invocation.say(f"{counted(count, 'certificate')} verified", "green"),
    )


def policy_explain(
    context: typer.Context,
    value: Annotated[
        str,
        typer.Argument(help="A phone number or address, or a country; several of one record: PK,GB."),
    ],
    date: Annotated[str, typer.Argument(help="The day of the communication, such as 2026-02-28.")],
) -> None:
    """Say which period applies to a communication, until when what is kept, and why.

    Example: lethe policy explain +923001234567 2026-02-28
    """
    invocation = shell(context)
    when = moment(date, "DATE")
    assert when is not None  # noqa: S101  (a text was given)
    found = ask(invocation, policy.explain, asker(), value, when)
    columns = ["data", "kept for", "until", "still kept", "rule", "why"]
    invocation.answer(
        asdict(found),
        lambda: invocation.table(
            f"{', '.join(found.countries) or 'no country'} ({found.country_found}), {found.month}",
            columns,
            [
                [p.data_class, f"{p.length} {p.unit}", p.kept_until, p.kept, p.rule, p.reason]
                for p in found.periods
            ],
        ),
    )
