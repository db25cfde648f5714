"""Look for fraud patterns: blocks of numbers, accounts and routes are shown, and which record a reveal can ask for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lethe.console.cli.people.window import CASE, PURPOSE
from lethe.console.cli.remote.calls import ask
from lethe.console.cli.shell import Shell, asker, fail, parse_month, progress, shell
from lethe.operations.detection import detect
from lethe.schemas.words import counted


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("detect")(detect_command)


def detect_command(
    context: typer.Context,
    pattern: Annotated[str, typer.Argument(help="ait, otp, grey, burst, recycled, or all of them.")],
    month: Annotated[str, typer.Option("--month", help="Which month, such as 2026-10.")],
    case: CASE,
    purpose: PURPOSE,
    least: Annotated[
        int, typer.Option("--least", min=5, max=1000, help="Numbers a block has that is shown.")
    ] = detect.LEAST,
) -> None:
    """Look for a fraud pattern in a month: ait, otp, grey, burst, recycled or all. Blocks are shown, no numbers.

    Example: lethe detect ait --month 2026-10 --case F-2041 --purpose fraud
    """
    invocation = shell(context)
    kinds = list(detect.KINDS) if pattern == "all" else [pattern]
    who, when = asker(case, purpose), parse_month(month)
    with progress("records read", None, shown=not invocation.json) as update:
        answers = ask(invocation, detect.detect, who, kinds, when, least, update)
    told = [asdict(found) for found in answers]

    def show() -> None:
        for found in answers:
            _show(invocation, found, least)

    invocation.answer(told if pattern == "all" else told[0], show)
    missing = sorted({key for found in answers for key in found.missing})
    if missing:
        fail(f"not all was read: the keys {', '.join(missing)} did not open", invocation.json)


def _show(invocation: Shell, found: detect.Found, least: int) -> None:
    if found.rows:
        rows = [[_said(v) for v in row.values()] for row in found.rows]
        invocation.table(detect.KINDS[found.kind], list(found.rows[0]), rows)
    else:
        invocation.line(f"{found.kind}: nothing found.")
    if found.hidden:
        invocation.line(f"not shown: {counted(found.hidden, 'number')} in no block of {least}")
    invocation.line(f"Cannot see: {found.limits}")


def _said(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.3g}"
    return " ".join(value) if isinstance(value, list) else value
