"""Commands about the files of the tables: what there are, and merging them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lethe.console.cli.engines import ADDRESS, ENGINE, WORKERS, cluster
from lethe.console.cli.shell import Shell, progress, shell
from lethe.operations.compact import Asked, Merge, compact, due, overview
from lethe.schemas.arrow import TABLES
from lethe.schemas.words import counted

MONTH = Annotated[str | None, typer.Option("--month", help="Only this month, such as 2026-11.")]
TABLE = Annotated[str | None, typer.Option("--table", help="Only this table.")]
WHOLE = Annotated[
    bool, typer.Option("--whole", help="Make each month one sorted run, whatever that costs to write.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("tables")(tables_command)
    app.command("compact")(compact_command)


def tables_command(context: typer.Context, month: MONTH = None, table: TABLE = None) -> None:
    """Show the files of each table and month: how many, how large, in which levels, and what is due to be merged.

    Example: lethe tables --month 2026-11
    """
    invocation = shell(context)
    parts = overview(invocation.runtime, _asked(month, table))
    columns = ["table", "month", "files", "rows", "bytes", "runs by level", "merges due"]
    rows = [
        [p.table, p.partition.get("month", ""), f"{p.files:,}", f"{p.rows:,}", f"{p.bytes:,}",
         ", ".join(f"{level}: {count}" for level, count in p.levels.items()), p.due]
        for p in parts
    ]  # fmt: skip
    invocation.answer(
        [asdict(p) for p in parts],
        lambda: invocation.table("", columns, rows, right=("files", "rows", "bytes", "merges due")),
    )


def compact_command(
    context: typer.Context,
    month: MONTH = None,
    table: TABLE = None,
    whole: WHOLE = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be merged first; change nothing.")
    ] = False,
    engine: ENGINE = "local",
    address: ADDRESS = None,
    workers: WORKERS = None,
) -> None:
    """Merge small files into few sorted ones with the same rows. Workers and look-ups go on meanwhile.

    Example: lethe compact --month 2026-10 --whole
    """
    invocation = shell(context)
    asked = _asked(month, table, whole)
    if dry_run:
        _show(invocation, due(invocation.runtime, asked), "would be merged")
        return
    with cluster(invocation, engine, address, workers) as tasks, progress("merges", None) as update:
        made: list[Merge] = []

        def merged(one: Merge) -> None:
            made.append(one)
            update(len(made), None)

        compact(invocation.runtime, asked, tasks, merged)
    _show(invocation, made, "merged")


def _asked(month: str | None, table: str | None, whole: bool = False) -> Asked:
    return Asked(tuple(TABLES) if table is None else (table,), month, whole)


def _show(invocation: Shell, merges: list[Merge], what: str) -> None:
    columns = ["table", "month", "files", "rows", "bytes", "files after", "bytes after"]
    rows = [
        [m.table, m.partition.get("month", ""), f"{m.files_before:,}", f"{m.rows:,}", f"{m.bytes_before:,}",
         m.files_after, None if m.bytes_after is None else f"{m.bytes_after:,}"]
        for m in merges
    ]  # fmt: skip
    title = (
        f"{counted(len(merges), 'group')} of files {what}"
        if merges
        else "Nothing is due: the files are few enough."
    )
    if not merges:
        invocation.answer([], lambda: invocation.say(title))
        return
    invocation.answer(
        [asdict(m) for m in merges], lambda: invocation.table(title, columns, rows, right=columns[2:])
    )
