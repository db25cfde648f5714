"""Look for fraud patterns: blocks of numbers, accounts and routes are shown, and which record a reveal can ask for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lethe.console.cli.people.window import CASE, PURPOSE
from lethe.console.cli.shell import asker, fail, parse_month, shell
from lethe.operations.detection import detect


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("detect")(detect_command)


def detect_command(
    context: typer.Context,
    pattern: Annotated[str, typer.Argument(help="ait, otp, grey, burst or recycled.")],
    month: Annotated[str, typer.Option("--month", help="Which month, such as 2026-10.")],
    case: CASE,
    purpose: PURPOSE,
    least: Annotated[
        int, typer.Option("--least", min=5, max=1000, help="Numbers a block has that is shown.")
    ] = detect.LEAST,
) -> None:
    """Look for a fraud pattern in a month: ait, otp, grey, burst or recycled. Blocks are shown, no numbers.

    Example: lethe detect ait --month 2026-10 --case F-2041 --purpose fraud
    """
    invocation = shell(context)
    found = detect.detect(invocation.runtime, asker(case, purpose), pattern, parse_month(month), least)

    def show() -> None:
        columns = list(found.rows[0]) if found.rows else []
        if found.rows:
            rows = [[_said(v) for v in row.values()] for row in found.rows]
            invocation.table(detect.KINDS[pattern], columns, rows)
        else:
            invocation.line("Nothing found.")
        if found.hidden:
            invocation.line(f"{found.hidden:,} number(s) lie in no block of {least} and are not shown.")
        invocation.line(f"Cannot see: {found.limits}")

    invocation.answer(asdict(found), show)
    if found.missing:
        fail(f"not all was read: the keys {', '.join(found.missing)} did not open", invocation.json)


def _said(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.3g}"
    return " ".join(value) if isinstance(value, list) else value
