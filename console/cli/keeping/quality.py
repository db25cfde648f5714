"""The command that says what changed in the formats that are taken in."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import typer

from lethe.console.cli.shell import shell


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("quality")(quality_command)


def quality_command(
    context: typer.Context,
    form: Annotated[
        Literal["table", "csv", "json"] | None,
        typer.Option("--format", help="How to print: table, csv or json."),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3_660, help="As far back as this.")] = 35,
    of: Annotated[str | None, typer.Option("--of", help="Only of this format.")] = None,
) -> None:
    """Show what is different in the records of each format from what they were before, newest first.

    Example: lethe quality --of infobip/sms-report --days 7
    """
    from lethe.operations import quality

    invocation = shell(context)
    if form is not None:
        invocation = replace(invocation, json=form != "table", csv=form == "csv")
    found = quality.listed(invocation.runtime, days, of)
    rows = [
        {
            "format": one.format,
            "column": one.column,
            "day": one.day,
            "change": one.what,
            "since": f"{one.since:%Y-%m-%dT%H:%MZ}",
            "last": f"{one.last:%Y-%m-%dT%H:%MZ}",
            "from": one.before,
            "to": one.now,
            "means": quality.EXPLAINED[one.what],
        }
        for one in found
    ]

    def show() -> None:
        if not rows:
            invocation.say(f"nothing has changed in {days} days, as far as commits have shown")
            return
        names = [name for name in rows[0] if name not in ("last", "means")]
        invocation.table("What has changed", names, [[row[name] for name in names] for row in rows])

    invocation.answer(rows, show)
