"""Commands over what is not to be billed: superseded reports and repeats."""

from __future__ import annotations

from typing import Annotated

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.engines import ADDRESS, ENGINE, WORKERS, cluster
from lethe.console.cli.shell import parse_month, progress, shell
from lethe.schemas.words import counted


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = new_app("What is not to be billed: superseded reports and repeats.")
    group.command("run")(run_command)
    group.command("list")(list_command)
    app.add_typer(group, name="adjustments")


def run_command(
    context: typer.Context,
    month: Annotated[str | None, typer.Option("--month", help="Only this month, such as 2026-10.")] = None,
    engine: ENGINE = "local",
    address: ADDRESS = None,
    workers: WORKERS = None,
) -> None:
    """Look for superseded and repeated reports in every month of the window; the leader does so daily.

    Example: lethe adjustments run --month 2026-10
    """
    from lethe.operations import adjustments

    invocation = shell(context)
    only = None if month is None else parse_month(month)
    with (
        cluster(invocation, engine, address, workers) as tasks,
        progress("months", None, shown=not invocation.json) as update,
    ):
        found = adjustments.run(invocation.runtime, only, update, tasks)
    rows = [{"month": str(a.month), "new": a.new, "total": a.total} for a in found]
    invocation.answer(
        rows,
        lambda: invocation.table(
            "Set apart: not to be billed",
            ["month", "new", "total"],
            [[*r.values()] for r in rows],
            right=["new", "total"],
        ),
    )


def list_command(
    context: typer.Context,
    month: Annotated[str, typer.Argument(help="A month, such as 2026-10.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Rows at most.")] = 100,
) -> None:
    """List what is set apart in a month: the names of the archive rows, and why.

    Example: lethe adjustments list 2026-10
    """
    from lethe.operations import adjustments

    invocation = shell(context)
    found = adjustments.listed(invocation.runtime, parse_month(month))
    rows = found.head(limit).to_dicts()
    shown = f"{len(rows):,} of " if len(rows) < found.height else ""
    invocation.answer(
        rows,
        lambda: invocation.table(
            f"{shown}{counted(found.height, 'row')} not to be billed",
            found.columns,
            [[*r.values()] for r in rows],
            right=["partition", "offset"],
        ),
    )
