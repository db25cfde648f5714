"""Commands for the rights of the person: a copy of what is held, erasure, restriction."""

from __future__ import annotations

import sys
from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lethe.console.cli.engines import ADDRESS, ENGINE, WORKERS, spread
from lethe.console.cli.people.window import FOR
from lethe.console.cli.remote.calls import ask, with_case
from lethe.console.cli.shell import Shell, agree, asker, progress, shell, typed
from lethe.operations.documents.packed import Content
from lethe.operations.rights import erase, export, restrict
from lethe.operations.rights.erase import COUNTS, Erasure
from lethe.schemas.errors import ConfigurationError, InputError
from lethe.schemas.words import counted

if TYPE_CHECKING:
    from lethe.operations.asker import Asker

VALUE = Annotated[
    str,
    typer.Argument(
        help="A phone number, an e-mail or IP address, a SIP URI, a chat id; - reads it from a prompt."
    ),
]
CASE = Annotated[str, typer.Option("--case", help="The request this belongs to.")]
_COLUMNS = ["month", "window_months", *COUNTS, "evidence", "held", "holds"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("export")(export_command)
    app.command("erase")(erase_command)
    app.command("restrict")(restrict_command)


def export_command(
    context: typer.Context,
    value: VALUE,
    out: Annotated[
        Path | None, typer.Option("--out", help="A directory; default: JSON on standard output.")
    ] = None,
    with_names: Annotated[
        bool,
        typer.Option(
            "--with-names", help="Tell whose each look was, and for which case; the audit notes it."
        ),
    ] = False,
    answer: Annotated[
        str | None,
        typer.Option(
            "--answer",
            metavar="LANGUAGE",
            help="Beside the files, a letter the person can read (HTML, PDF): en, ja, zh-Hant, id, fr or th.",
        ),
    ] = None,
    case: CASE = "data subject request",
    purpose: FOR = None,
) -> None:
    """Everything about a person in the window, for that person, as JSON and CSV; with --answer also as a letter.

    Example: lethe export +923001234567 --case DSR-12 --out dsr-12 --answer th
    """
    invocation = shell(context)
    if answer is not None and out is None:
        raise InputError("--answer writes files: give --out with a directory")
    who, text = asker(case, purpose), typed(value)
    if answer is not None and out is not None and invocation.server is not None:
        _from_afar(invocation, who, text, answer, out, with_names)
        return
    letter = None if answer is None else _letter(answer)
    with progress("records looked through", None, shown=not invocation.json and out is not None) as update:
        copy = ask(invocation, export.export, who, text, lambda done: update(done, None), with_names)
    files: dict[str, Content] = {**copy.parts()}
    if letter is not None:
        files |= letter(invocation, copy, case, text)
    if out is None:
        for part in copy.parts()["records.csv" if invocation.csv else "export.json"]:
            sys.stdout.write(part.decode())
        return
    written = export.write_files(out, files)
    invocation.answer(
        {"records": copy.records, "files": written},
        lambda: invocation.say(
            f"{counted(copy.records, 'record')} in {', '.join(written)}; {copy.held} more are kept by law alone"
        ),
    )


def _from_afar(invocation: Shell, who: Asker, text: str, language: str, out: Path, with_names: bool) -> None:
    """Have the service make the copy and its letter, and write its files."""
    assert invocation.server is not None  # noqa: S101  (looked at before)
    body = {**with_case(who), "text": text, "names": with_names, "answer": language}
    made = invocation.server.ask("POST", "/api/exports/files", body)
    files = {Path(name).name: b64decode(data) for name, data in made["files"].items()}
    written = export.write_files(out, files)
    invocation.answer(
        {"records": made["records"], "files": written},
        lambda: invocation.say(
            f"{counted(made['records'], 'record')} in {', '.join(written)}; {made['held']} more are kept by law alone"
        ),
    )


def _letter(language: str) -> Callable[[Shell, export.Export, str, str], dict[str, bytes]]:
    """Return what writes the letter; refused before anything is read where it cannot be written."""
    try:
        from lethe.operations.office import answer
    except ImportError:
        raise ConfigurationError("the letter is an extra: pip install 'lethe[serve]'") from None
    answer.language_of(language)

    def write(invocation: Shell, copy: export.Export, case: str, text: str) -> dict[str, bytes]:
        runtime = invocation.runtime
        now = runtime.clock()
        facts = answer.Facts("access", case, now.date(), [text])
        return answer.files(copy.content, facts, language, runtime.settings.office, now)

    return write


def erase_command(
    context: typer.Context,
    value: Annotated[
        str | None,
        typer.Argument(
            help="A phone number, an e-mail or IP address, a SIP URI, a chat id; - reads it from a prompt."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A file of people, one a line, to be erased at once; - is standard input."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the preview.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to it; needed without a terminal.")] = False,
    case: CASE = "data subject request",
    purpose: FOR = None,
    engine: ENGINE = "local",
    address: ADDRESS = None,
    workers: WORKERS = None,
) -> None:
    """Erase a person from the window: preview, then every row and page entry, then the files that held them.

    Several people are erased at once: each file is written anew once, and one certificate is for all of them.

    Example: lethe erase +923001234567 --dry-run
    """
    invocation = shell(context)
    if (value is None) == (source is None):
        raise InputError("give one person, or --from with a file of people")
    who, texts = asker(case, purpose), [typed(value)] if value is not None else _people(source)
    with (
        spread(invocation, engine, address, workers) as elsewhere,
        progress("records looked through", None, shown=not invocation.json) as update,
    ):
        preview = ask(invocation, erase.preview_all, who, texts, lambda done: update(done, None), elsewhere)
    if dry_run or not preview.found:
        invocation.answer(asdict(preview), lambda: _show(invocation, preview))
        return
    if not invocation.json:
        _show(invocation, preview)
    agree(invocation, yes, "what the preview lists is erased for ever", "erase")
    with (
        spread(invocation, engine, address, workers) as elsewhere,
        progress("records looked through", None, shown=not invocation.json) as update,
    ):
        erased = ask(invocation, erase.erase_all, who, texts, lambda done: update(done, None), elsewhere)
    waits = (
        f"; {counted(erased.total('held'), 'record')} are under a hold and wait for its release"
        if erased.holds
        else ""
    )
    done = (
        "nothing was left to erase"
        if erased.certificate is None
        else f"erased, certificate {erased.certificate}"
    )
    invocation.answer(asdict(erased), lambda: invocation.say(f"{done}{waits}", "green"))


def _people(source: Path | None) -> list[str]:
    """Read a list of people, one a line."""
    try:
        text = sys.stdin.read() if str(source) == "-" else Path(str(source)).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list of people cannot be read: {type(error).__name__}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _show(invocation: Shell, preview: Erasure) -> None:
    if not preview.found:
        invocation.say("Nothing about this person is in the window.")
        return
    if preview.unfinished:
        invocation.say(
            "An erasure of them was begun and has not ended: it is ended first, and certified.", "yellow"
        )
    if not preview.months:
        return
    rows: list[list[Any]] = [
        [", ".join(m[c]) if c == "holds" else m[c] for c in _COLUMNS] for m in preview.months
    ]
    invocation.table(
        "What is erased, by month: rows, originals, rejected records, texts in records of others",
        _COLUMNS,
        rows,
        right=_COLUMNS[1:8],
    )
    if evidence := preview.total("evidence"):
        invocation.say(
            f"{counted(evidence, 'original')} of records of others name this person and go whole: they cannot be "
            "produced as evidence any more, while their archive rows stay proven; a hold on those records keeps them"
        )
    for hold in preview.holds:
        invocation.say(
            f"held: {hold.reference} by order of {hold.authority}; erased when that hold is released"
        )


def restrict_command(
    context: typer.Context,
    value: VALUE,
    lift: Annotated[bool, typer.Option("--lift", help="Show the records again.")] = False,
    case: CASE = "data subject request",
    purpose: FOR = None,
) -> None:
    """Keep a person's records from being shown: look-ups answer "restricted" unless a reason of law is given.

    Example: lethe restrict +923001234567 --case DSR-14
    """
    invocation = shell(context)
    wanted = restrict.lift if lift else restrict.restrict
    done = ask(invocation, wanted, asker(case, purpose), typed(value))
    invocation.answer(asdict(done), lambda: invocation.say(done.state))
