"""Commands over format declarations: which there are, what each says goes where, and what becomes of a sample."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.text import Text

from lethe.console.cli._root import new_app
from lethe.console.cli.shell import Shell, fail, shell
from lethe.operations.intake.received import day_received
from lethe.operations.intake.trial import Outcome, Placed, received_of, try_out
from lethe.operations.site_files import read_own_numbers, read_residence
from lethe.schemas.declaration import format as formats
from lethe.schemas.declaration.format import Declaration, FieldSpec, Kinds
from lethe.schemas.errors import ConfigurationError, LetheError
from lethe.schemas.words import counted
from lethe.streams.transform.batch import EXPLAINED

_COLOURS: Final = {"archive": "green", "window": "yellow", "nowhere": "red", "undeclared": "dim"}
_MOST_SAMPLE: Final = 16 << 20


def register(app: typer.Typer) -> None:
    """Add the group `lethe formats`."""
    group = new_app("The declared formats: what of a record goes where.")
    group.command("list")(list_command)
    group.command("show")(show_command)
    group.command("check")(check_command)
    group.command("try")(try_command)
    app.add_typer(group, name="formats")
    own = typer.Typer(no_args_is_help=True, help="The site's own numbers, which are nobody's in particular.")
    own.callback()(_own_numbers)
    own.command("check")(check_own_command)
    app.add_typer(own, name="own-numbers")
    residence = typer.Typer(no_args_is_help=True, help="In which country the site's people are, by a table.")
    residence.callback()(_own_numbers)
    residence.command("check")(check_residence_command)
    app.add_typer(residence, name="residence")


def _own_numbers() -> None:
    """Keep `check` a command of its own although it is the only one."""


def check_own_command(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="A file of own numbers.")]
) -> None:
    """Read a file of own numbers and say in which line something is wrong; status 1 if anything is.

    Example: lethe own-numbers check own-numbers.txt
    """
    invocation = shell(context)
    found = read_own_numbers(file)
    invocation.answer(
        {"stretches": found.count},
        lambda: invocation.say(f"the file is sound: {found.count:,} numbers and ranges", "green"),
    )


def check_residence_command(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="A residence table.")]
) -> None:
    """Read a residence table and say in which line something is wrong; status 1 if anything is.

    Example: lethe residence check residence.csv
    """
    invocation = shell(context)
    found = read_residence(file)
    counts = {
        "accounts": len(found.accounts), "domains": len(found.domains), "ranges": len(found.stretches),
        "subjects": len(found.subjects),
    }  # fmt: skip
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    invocation.answer(counts, lambda: invocation.say(f"the file is sound: {said}", "green"))


def list_command(context: typer.Context) -> None:
    """Every format there is, those of `formats_dir` among them.

    Example: lethe formats list
    """
    invocation = _with_settings(context)
    known = list(formats.known().values())
    invocation.answer(
        [{"name": f.name, "version": f.version, "title": f.title} for f in known],
        lambda: invocation.table(
            "", ["format", "version", "what it is"], [[f.name, f.version, f.title] for f in known]
        ),
    )


def show_command(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Name of a format.")]
) -> None:
    """What a format declares: each field, its class and where it goes.

    Example: lethe formats show infobip/sms-report
    """
    invocation = _with_settings(context)
    _show(invocation, formats.get(name))


def check_command(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="A TOML file that declares a format.")]
) -> None:
    """Read a declaration and say what is wrong with it; status 1 if anything is.

    Example: lethe formats check acme-sms.toml
    """
    invocation = shell(context)
    declared = _read(file)
    formats.formats_of(declared)
    _show(invocation, declared)
    invocation.say("the declaration is sound; `lethe formats try` shows what becomes of a sample", "green")


def try_command(
    context: typer.Context,
    declaration: Annotated[str, typer.Argument(help="A format's name, or a TOML file that declares one.")],
    sample: Annotated[Path, typer.Argument(help="A file with one record a line.")],
    received: Annotated[
        str | None,
        typer.Option(
            "--received", help="The day up to which the records were received, for times that say no year."
        ),
    ] = None,
) -> None:
    """Split sample records and show what of each goes where, and what is left out. Nothing is stored.

    Shows the values of the sample: use made-up records, or look where nobody looks over your shoulder.

    Example: lethe formats try acme-sms.toml sample.ndjson
    """
    invocation = _with_settings(context)
    declared = _read(Path(declaration)) if declaration.endswith(".toml") else formats.get(declaration)
    if isinstance(declared, Kinds):
        raise LetheError(
            f"{declared.name} is a mix of kinds: try each of them, {', '.join(sorted(declared.kinds.values()))}"
        )
    try:
        with sample.open("rb") as data:
            lines = data.read(_MOST_SAMPLE).splitlines()
    except OSError as error:
        raise LetheError(f"{sample}: {error.strerror}") from None
    with tempfile.TemporaryDirectory(prefix="lethe-try-") as folder:
        day = None if received is None else day_received(received, datetime.now(UTC))
        up_to = received_of(str(sample), list(lines), declared, day)
        outcomes = try_out(list(lines), declared, Path(folder), up_to)
    if up_to is not None:
        why = "as --received says" if up_to.told else "when the file was last written"
        invocation.say(f"times without a year: the latest up to {up_to.up_to:%Y-%m-%d}, {why}", "yellow")
    invocation.answer([_as_json(o) for o in outcomes], lambda: _print(invocation, outcomes))
    refused = sum(o.reason is not None for o in outcomes)
    if refused:
        fail(f"{refused} of {counted(len(outcomes), 'record')} would be quarantined", invocation.json)


def _with_settings(context: typer.Context) -> Shell:
    """Return the shell, its configured formats known: reading the settings reads `formats_dir`."""
    invocation = shell(context)
    directory = getattr(invocation.settings, "formats_dir", None)
    if directory is not None:
        formats.use_directory(directory)
    return invocation


def _read(file: Path) -> Declaration:
    try:
        return formats.parse_any(file.read_text("utf-8"), file.name)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: not UTF-8") from None


def _show(invocation: Shell, declared: Declaration) -> None:
    if isinstance(declared, Kinds):
        told = f"header {declared.header}" if declared.header else f"field {declared.by_field}"
        rows = [[word, name] for word, name in declared.kinds.items()]
        invocation.answer(
            described(declared), lambda: invocation.table(declared.title, [told, "format"], rows)
        )
        return
    fields = [
        [spec.path, Text(spec.class_, style=_COLOURS[_part(spec)]), goes_to(spec)] for spec in declared.fields
    ]
    invocation.answer(described(declared), lambda: _table(invocation, declared.title, fields))
    if declared.charge is not None and not invocation.json:
        assumed = f"; assumed: {declared.charge.assumed}" if declared.charge.assumed else ""
        plus = f", plus {', '.join(declared.charge.plus)}" if declared.charge.plus else ""
        invocation.say(f"charge: the price is by {declared.charge.basis}{plus}{assumed}")


def _table(invocation: Shell, title: str, rows: list[list[Any]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for column in ("field", "class", "goes to"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    invocation.out.print(table)


def _part(spec: FieldSpec) -> str:
    return {"content": "nowhere", "archive": "archive"}.get(spec.class_, "window")


def described(declared: Declaration) -> dict[str, Any]:
    """Return a declaration as JSON: as written, defaults left out."""
    return declared.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def goes_to(spec: FieldSpec) -> str:
    """Say where a field ends, in a few words."""
    if spec.class_ == "content":
        return "nowhere: dropped and counted"
    if spec.class_ == "window":
        return "window, sealed" + (", with a token to look it up" if spec.message_id else "")
    if spec.class_ == "archive":
        return f"archive: {spec.column}" + (f" and {spec.keep}" if spec.keep else "")
    if spec.end_user == "always":
        return f"window: token and sealed value ({spec.role})"
    if spec.end_user == "never":
        return f"archive: {spec.business} (a business)" if spec.business != "withheld" else "window, sealed"
    return f"window ({spec.role}) if an end user, else archive: {spec.business}"


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "record": outcome.record, "reason": outcome.reason, "detail": outcome.detail,
        "archive": outcome.archive, "redacted": outcome.redacted,
        "fields": [{"path": p.path, "part": p.part, "goes_to": p.goes_to, "value": p.value} for p in outcome.fields],
    }  # fmt: skip


def _print(invocation: Shell, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        _print_one(invocation, outcome)


def _print_one(invocation: Shell, outcome: Outcome) -> None:
    invocation.out.print(Text(f"record {outcome.record}", style="bold"))
    if outcome.reason is not None:
        detail = f" ({outcome.detail})" if outcome.detail else ""
        invocation.out.print(Text(f"  quarantine: {EXPLAINED[outcome.reason]}{detail}", style="bold red"))
    for placed in outcome.fields:
        invocation.out.print(_line(placed))
    if outcome.archive:
        invocation.out.print(
            Text("  the archive's row: " + orjson.dumps(outcome.archive, default=str).decode(), style="green")
        )
    if outcome.redacted:
        invocation.out.print(Text(f"  taken out of the row: {outcome.redacted}", style="red"))


def _line(placed: Placed) -> Text:
    line = Text(f"  {placed.path}: ")
    line.append(
        placed.value if len(placed.value) <= 80 else placed.value[:79] + "…", style=_COLOURS[placed.part]
    )
    line.append(f"  → {placed.goes_to}", style="dim")
    return line
