"""Commands over format declarations: which there are, and what each says goes where."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console.shell import shell
from schemas import format as formats
from schemas.format import FieldSpec, Format


def register(app: typer.Typer) -> None:
    """Add the group `lethe formats`."""
    group = typer.Typer(no_args_is_help=True, help="The declared formats: what of a record goes where.")
    group.command("list")(list_command)
    group.command("show")(show_command)
    app.add_typer(group, name="formats")


def list_command(context: typer.Context) -> None:
    """Every format there is.

    Example: lethe formats list
    """
    here = shell(context)
    known = list(formats.builtin().values())
    here.answer(
        [{"name": f.name, "version": f.version, "title": f.title} for f in known],
        lambda: here.table(
            "", ["format", "version", "what it is"], [[f.name, f.version, f.title] for f in known]
        ),
    )


def show_command(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Name of a format.")]
) -> None:
    """What a format declares: each field, its class and where it goes.

    Example: lethe formats show infobip/sms-report
    """
    here = shell(context)
    fmt = formats.get(name)
    here.answer(described(fmt), lambda: here.table(fmt.title, ["field", "class", "goes to"], [
        [spec.path, spec.class_, goes_to(spec)] for spec in fmt.fields
    ]))  # fmt: skip


def described(fmt: Format) -> dict[str, Any]:
    """A format as JSON: as declared, defaults left out."""
    return fmt.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def goes_to(spec: FieldSpec) -> str:
    """Where a field ends, in a few words."""
    if spec.class_ == "content":
        return "nowhere: dropped and counted"
    if spec.class_ == "window":
        return "window, sealed" + (", with a token to look it up" if spec.message_id else "")
    if spec.class_ == "archive":
        return f"archive: {spec.column}"
    if spec.end_user == "always":
        return f"window: token and sealed value ({spec.role})"
    return f"window ({spec.role}) if an end user, else archive: {spec.business}"
