"""Commands about time: what is forgotten when, the sweep, and the certificates of what was forgotten."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.shell import Shell, asker, moment, progress, shell
from lethe.integrity.log.note import VerifierKey
from lethe.operations.proof.signer import load_signer
from lethe.schemas.errors import LetheError
from lethe.schemas.retention.calendar import Month, archive_end, window_end
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.subjects.addresses import normalise
from lethe.schemas.subjects.geography import country_of_prefix
from lethe.tiers.certificates import certificates
from lethe.tiers.retention.expiry import Outcome


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("expire")(expire_command)
    signed = new_app("Certificates of what was forgotten.")
    signed.command("list")(certificates_list)
    signed.command("show")(certificates_show)
    signed.command("verify")(certificates_verify)
    app.add_typer(signed, name="certificates")
    policy = new_app("How long what is kept.")
    policy.command("explain")(policy_explain)
    app.add_typer(policy, name="policy")


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
    from lethe.operations.retention import expire

    here = shell(context)
    why = (reason or "").strip()[:500]
    if force and not why:
        raise typer.BadParameter("--force needs a --reason")
    if now is not None and not dry_run:
        raise typer.BadParameter("--now is for previews and destroys nothing: add --dry-run")
    if dry_run:
        outcomes = expire.preview(here.runtime, moment(now, "--now"))
    elif not force:
        with progress("forgetting", None, shown=not here.json):
            outcomes = expire.expire(here.runtime, asker())
    else:
        agreed = set(yes_destroy or ()) or _agreed(here)
        with progress("forgetting", None, shown=not here.json):
            outcomes = expire.expire_forced(here.runtime, asker(), why, agreed)
    here.answer([_as_dict(o) for o in outcomes], lambda: _show(here, outcomes))


def _agreed(here: Shell) -> set[str]:
    """Ask for the name of each month that a forced sweep destroys, typed out. Without a terminal there is nobody."""
    from lethe.operations.retention import expire

    if here.json or not sys.stdin.isatty():
        return set()
    due = expire.preview(here.runtime)
    for outcome in due:
        name = expire.named(outcome)
        typed = typer.prompt(f"{outcome.rows} rows of {name} are destroyed for ever. Type {name} to agree")
        if typed.strip() != name:
            raise typer.Abort
    return {expire.named(outcome) for outcome in due}


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in outcome.__slots__}


def _show(here: Shell, outcomes: list[Outcome]) -> None:
    if not outcomes:
        here.say("Nothing is due.")
        return
    columns = ["what", "state", "due", "files", "rows", "bytes", "held", "certificate"]
    here.table("", columns, [[_as_dict(o)[c] for c in columns] for o in outcomes], right=columns[3:])
    if waiting := sum(o.rows_waiting for o in outcomes):
        here.say(
            f"waiting: {waiting} rows of the archive stay until their commits are in the integrity log; lethe doctor "
            "says what keeps them from being published"
        )
    if any(o.state == "waiting" and not o.rows_waiting for o in outcomes):
        here.say(
            "waiting: unreadable already; files of unfinished commits are removed by a sweep an hour from now"
        )


def certificates_list(context: typer.Context) -> None:
    """The certificates there are, oldest first."""
    here = shell(context)
    found = list(certificates.every(here.runtime.objects))
    rows = [
        {
            "number": c["number"], "kind": c["kind"], "what": _what(c["what"]), "due": c.get("due"), "done": c["done"],
            "files": len(c.get("files", ())), "rows": c.get("counts", {}).get("rows"),
        }
        for c in found
    ]  # fmt: skip
    columns = ["number", "kind", "what", "due", "done", "files", "rows"]
    here.answer(
        rows, lambda: here.table("Deletion certificates", columns, [[r[c] for c in columns] for r in rows])
    )


def _what(what: dict[str, Any]) -> str:
    if "months" in what:
        return "one person, months " + ", ".join(m["month"] for m in what["months"])
    return str(what.get("month") or what.get("hold"))


def certificates_show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(min=0, help="The certificate's number.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Copy its file, to be verified elsewhere.")
    ] = None,
) -> None:
    """One certificate, complete.

    Example: lethe certificates show 0 --out certificate.json
    """
    here = shell(context)
    document = certificates.read(here.runtime.objects, number)
    if out is not None:
        try:
            out.write_bytes(here.runtime.objects.get(certificates.path_of(number)) or b"")
        except OSError as error:
            raise LetheError(f"{out}: {error.strerror}") from None
    certificate = document["certificate"]
    here.answer(
        certificate, lambda: here.table("", ["", ""], [[k, _cell(v)] for k, v in certificate.items()])
    )


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(_cell(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {_cell(v)}" for k, v in value.items())
    return str(value)


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
    here = shell(context)
    trusted = [VerifierKey.parse(k) for k in key] if key else _own_keys(here)
    if file is not None:
        try:
            document = certificates.parse(file.read_bytes())
        except OSError as error:
            raise LetheError(f"{file}: {error.strerror}") from None
        certificates.verify(document, trusted)
        count = 1
    else:
        count = certificates.verify_all(here.runtime.objects, trusted) if trusted else 0
    here.answer(
        {"ok": True, "verified": count}, lambda: here.say(f"{count} certificate(s) verified", "green")
    )


def _own_keys(here: Shell) -> list[VerifierKey]:
    signer = load_signer(here.settings.keys_dir)
    if signer is None and certificates.numbers(here.runtime.objects):
        raise LetheError("there is no signing key here to verify with; give the verifier key with --key")
    return [] if signer is None else list(signer.history.keys)


def policy_explain(
    context: typer.Context,
    value: Annotated[str, typer.Argument(help="A phone number or address, or a country such as PK.")],
    date: Annotated[str, typer.Argument(help="The day of the communication, such as 2026-02-28.")],
) -> None:
    """Which period applies to a communication, until when what is kept, and why.

    Example: lethe policy explain +923001234567 2026-02-28
    """
    here = shell(context)
    when = moment(date, "DATE")
    assert when is not None  # noqa: S101  (a text was given)
    answer = explained(here.settings.retention, value, when, here.runtime.clock())
    here.answer(answer, lambda: here.table("", ["", ""], [[k, v] for k, v in answer.items()]))


def explained(policy: RetentionPolicy, value: str, when: datetime, now: datetime) -> dict[str, Any]:
    """The period of a communication in words and instants; the value itself is not in it."""
    text = value.strip()
    country: str | None
    if len(text) == 2 and text.isalpha():
        country, found = text.upper(), "given"
    else:
        subject = normalise(text)
        number = subject.value if subject is not None and subject.kind == "msisdn" else None
        country = country_of_prefix(number[:4]) if number else None
        found = "by the number's country code" if country else "none can be told from this address"
    period = policy.for_country(country)
    month = Month.of(when)
    window, years = policy.window_of(country), policy.archive_of(country)
    ends = window_end(month, window)
    year = when.astimezone(UTC).year
    kept_until = archive_end(year, years)
    return {
        "country": country,
        "country_found": found,
        "rule": f"of {period.country}" if period else "default",
        "reason": period.reason
        if period
        else "identifiers: 12 months after the end of the month; archive: 10 years following the year",
        "month": str(month),
        "window_months": window,
        "identifiers_kept_until": ends,
        "identifiers_readable": now < ends,
        "archive_years": years,
        "metadata_kept_until": kept_until,
        "metadata_kept": now < kept_until,
    }
