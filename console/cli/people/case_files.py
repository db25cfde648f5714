"""Check a case file that somebody was given: it needs no installation, only the file and a verifier key."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.shell import read_file, shell
from lethe.operations.case_files.check import check
from lethe.schemas.errors import IntegrityError


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = new_app("Case files of the console: verify one. Needs nothing but the file and a verifier key.")
    group.callback()(_nothing)
    group.command("verify")(verify_command)
    app.add_typer(group, name="case-file")


def _nothing() -> None:
    """Make a group of what has one command only."""


def verify_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The case file, a ZIP.")],
    key: Annotated[list[str], typer.Option("--key", help="Verifier key you trust; may be given again.")],
) -> None:
    """Verify a case file: that nothing was changed, added or taken out since it was signed. No network.

    Example: lethe case-file verify case-file-F-2041.zip --key "lethe+9fae8bda+…"
    """
    invocation = shell(context)
    try:
        checked = check(read_file(file), key)
    except IntegrityError as error:
        raise IntegrityError(f"{file}: not proven: {error}") from None
    invocation.answer(
        {"proven": True, **asdict(checked)},
        lambda: invocation.out.print(
            f"PROVEN: case {checked.case}, made by {checked.by} at {checked.made}: {checked.files:,} files as they "
            f"were signed, {checked.evidence:,} of them evidence, each proven.",
            markup=False,
        ),
    )
