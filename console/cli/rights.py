"""Commands for the rights of the person: a copy of what is held, erasure, restriction."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lethe.console.cli.shell import Shell, progress, shell, who
from lethe.console.cli.window import audit_log, read_query
from lethe.keys.tokens import subject_token
from lethe.operations.retention.sweep import maintenance_context
from lethe.schemas.errors import LetheError
from lethe.schemas.subjects.addresses import Subject, normalise
from lethe.tiers.maintenance import MaintenanceContext
from lethe.tiers.rights import restrictions, subject_export
from lethe.tiers.rights.erasure import COUNTS, Erased, erase, preview_erasure
from lethe.tiers.window.records import open_parts

VALUE = Annotated[str, typer.Argument(help="A phone number, an e-mail or IP address, a SIP URI, a chat id.")]
CASE = Annotated[str, typer.Option("--case", help="The request this belongs to.")]
_COLUMNS = ["month", "window_months", *COUNTS, "evidence", "held", "holds"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("export")(export_command)
    app.command("erase")(erase_command)
    app.command("restrict")(restrict_command)


def person(value: str) -> tuple[Subject, ...]:
    """The one person a value names: an id that a chat channel shares with a phone number has to name the channel."""
    query = read_query(value, None, None)
    found = normalise(value.strip())
    if found is None or found.kind in ("opaque", "chat"):
        return query.subjects
    return tuple(s for s in query.subjects if s.kind != "chat")


def export_command(
    context: typer.Context,
    value: VALUE,
    out: Annotated[
        Path | None, typer.Option("--out", help="A directory; default: JSON on standard output.")
    ] = None,
    case: CASE = "data subject request",
) -> None:
    """Everything about a person in the window, for that person, as JSON and CSV.

    Example: lethe export +923001234567 --case DSR-12 --out dsr-12
    """
    here = shell(context)
    subjects = person(value)
    now, log = here.runtime.clock(), audit_log(here)
    with progress("records looked through", None, shown=not here.json and out is not None) as update:
        maintenance = maintenance_context(here.runtime, on_records=lambda done: update(done, None))
        export = subject_export.build(maintenance, here.settings.retention, subjects, log.entries(), now)
    tokens = sorted(
        {
            subject_token(p.keys, s.kind, s.value).hex()
            for p in open_parts(maintenance.ring, maintenance.clock())
            for s in subjects
        }
    )
    count = len(export["records"])
    log.append({"who": who(), "action": "export", "case": case[:200], "tokens": tokens, "count": count}, now)
    files = subject_export.as_files(export)
    if out is None:
        sys.stdout.write(files["export.json"].decode())
        return
    written = write_export(out, files)
    here.answer(
        {"records": count, "files": written}, lambda: here.say(f"{count} record(s) in {', '.join(written)}")
    )


def write_export(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write the files for their owner alone, and return their paths; `LetheError` when the disk refuses."""
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in files.items():
            path = folder / name
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
                file.write(data)
            written.append(str(path))
    except OSError as error:
        raise LetheError(f"{folder}: {error.strerror}") from None
    return written


def erase_command(
    context: typer.Context,
    value: VALUE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the preview.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask on a terminal.")] = False,
    case: CASE = "data subject request",
) -> None:
    """Erase a person from the window: preview, then every row and page entry, then the files that held them.

    Example: lethe erase +923001234567 --dry-run
    """
    here = shell(context)
    subjects = person(value)
    with progress("records looked through", None, shown=not here.json) as update:
        maintenance = maintenance_context(here.runtime, on_records=lambda done: update(done, None))
        preview = preview_erasure(maintenance, subjects)
    why = _why(maintenance, preview)
    log = audit_log(here)
    entry = {"who": who(), "case": case[:200], "count": preview.total("identifiers")}
    if dry_run or not preview.months:
        log.append({**entry, "action": "erase.preview"}, here.runtime.clock())
        here.answer(
            {"months": preview.months, "holds": why, "certificate": None}, lambda: _show(here, preview, why)
        )
        return
    if not here.json:
        _show(here, preview, why)
    if not (yes or here.json) and sys.stdin.isatty():
        typer.confirm("Erase this for ever?", abort=True)
    log.append({**entry, "action": "erase"}, here.runtime.clock())
    with progress("records looked through", None, shown=not here.json) as update:
        maintenance = maintenance_context(here.runtime, on_records=lambda done: update(done, None))
        erased = erase(maintenance, subjects)
    answer = {"months": erased.months, "holds": why, "certificate": erased.certificate}
    log.append({**entry, "action": "erase.done", "certificate": erased.certificate}, here.runtime.clock())
    waits = f"; {erased.total('held')} record(s) are under a hold and wait for its release" if why else ""
    here.answer(answer, lambda: here.say(f"[green]erased[/green], certificate {erased.certificate}{waits}"))


def _why(maintenance: MaintenanceContext, preview: Erased) -> list[dict[str, Any]]:
    """The holds that keep something, with who ordered them."""
    concerned = {hold for month in preview.months for hold in month["holds"]}
    return [
        {"hold": h.id, "reference": h.reference, "authority": h.authority, "review": h.review}
        for h in maintenance.holds.active()
        if h.id in concerned
    ]


def _show(here: Shell, preview: Erased, why: list[dict[str, Any]]) -> None:
    if not preview.months:
        here.say("Nothing about this person is in the window.")
        return
    rows = [[", ".join(m[c]) if c == "holds" else m[c] for c in _COLUMNS] for m in preview.months]
    here.table(
        "What is erased, by month: rows, originals, rejected records, texts in records of others",
        _COLUMNS,
        rows,
        right=_COLUMNS[1:8],
    )
    if evidence := preview.total("evidence"):
        here.say(
            f"{evidence} original(s) of records of others name this person and go whole: they cannot be produced as "
            "evidence any more, while their archive rows stay proven; a hold on those records keeps them"
        )
    for hold in why:
        here.say(
            f"held: {hold['reference']} by order of {hold['authority']}; erased when that hold is released"
        )


def restrict_command(
    context: typer.Context,
    value: VALUE,
    lift: Annotated[bool, typer.Option("--lift", help="Show the records again.")] = False,
    case: CASE = "data subject request",
) -> None:
    """Keep a person's records from being shown: look-ups answer "restricted" unless a reason of law is given.

    Example: lethe restrict +923001234567 --case DSR-14
    """
    here = shell(context)
    subjects = person(value)
    runtime = here.runtime
    now = runtime.clock()
    action = "restrict.lift" if lift else "restrict"
    audit_log(here).append({"who": who(), "action": action, "case": case[:200]}, now)
    if lift:
        changed = restrictions.lift(runtime.objects, runtime.ring, subjects)
        said = "lifted" if changed else "there was no restriction"
    else:
        changed = restrictions.place(runtime.objects, runtime.ring, here.settings.retention, subjects, now)
        said = "restricted" if changed else "restricted already"
    here.answer({"state": said, "changed": changed}, lambda: here.say(said))
