"""Commands over codes that the archive shows by a stand-in: list them, approve them, name what may be named."""

from __future__ import annotations

from typing import Annotated

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.shell import asker, parse_month, progress, shell
from lethe.schemas.words import counted


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = new_app("Codes the archive shows by a stand-in, and what those stand for.")
    group.command("list")(list_command)
    group.command("approve")(approve_command)
    group.command("sweep")(sweep_command)
    app.add_typer(group, name="codes")


def list_command(
    context: typer.Context,
    month: Annotated[str, typer.Argument(help="A month, such as 2026-10.")],
    show: Annotated[
        bool, typer.Option("--show", help="Also what stands for what is not named yet, from the window.")
    ] = False,
    case: Annotated[str | None, typer.Option("--case", help="Case it is for; needed with --show.")] = None,
    purpose: Annotated[
        str | None, typer.Option("--purpose", help="What it is for; needed with --show.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Rows at most.")] = 100,
) -> None:
    """List the stand-ins of a month: in how many rows, how many people share them, what is named.

    Example: lethe codes list 2026-10 --show --case B-7 --purpose "approve routes"
    """
    from lethe.operations import codes

    invocation = shell(context)
    found = codes.listing(invocation.runtime, asker(case, purpose), parse_month(month), show)
    rows = [
        {"column": c.column, "stand_in": c.stand_in, "rows": c.rows, "subjects": c.subjects,
         "stands_for": c.text, "why": c.why}
        for c in sorted(found, key=lambda c: -c.rows)[:limit]
    ]  # fmt: skip
    shown = f"{len(rows):,} of " if len(rows) < len(found) else ""
    invocation.answer(
        rows,
        lambda: invocation.table(
            f"{shown}{counted(len(found), 'stand-in')} in {month}",
            ["column", "stand_in", "rows", "subjects", "stands_for", "why"],
            [[*r.values()] for r in rows],
            right=["rows"],
        ),
    )


def approve_command(
    context: typer.Context,
    column: Annotated[str, typer.Argument(help="Column of the archive, such as route.")],
    code: Annotated[str, typer.Argument(help="The code as it was written.")],
    case: Annotated[str | None, typer.Option("--case", help="Case it is for.")] = None,
    purpose: Annotated[str | None, typer.Option("--purpose", help="Why it names nobody.")] = None,
) -> None:
    """Say that a code names nobody: views show it in place of its stand-in from the next sweep on.

    Example: lethe codes approve route "Telenor Pakistan (direct)"
    """
    from lethe.operations import codes

    invocation = shell(context)
    codes.approve(invocation.runtime, asker(case, purpose), column, code)
    invocation.answer(
        {"column": column, "approved": True},
        lambda: invocation.say("Approved; `lethe codes sweep` names it now, the leader does so daily."),
    )


def sweep_command(
    context: typer.Context,
    month: Annotated[str | None, typer.Option("--month", help="Only this month, such as 2026-10.")] = None,
) -> None:
    """Name what may be named in every month of the window; the leader does so daily.

    Example: lethe codes sweep --month 2026-10
    """
    from lethe.operations import codes

    invocation = shell(context)
    only = None if month is None else parse_month(month)
    with progress("months", None, shown=not invocation.json) as update:
        found = codes.sweep(invocation.runtime, only, update)
    rows = [{"month": name, "named": count} for name, count in found.items()]
    invocation.answer(
        rows,
        lambda: invocation.table(
            "Stand-ins named", ["month", "named"], [[*r.values()] for r in rows], right=["named"]
        ),
    )
