"""Commands over the archive: SQL and the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lethe.console.cli.shell import Shell, fail, progress, shell
from lethe.operations import archive
from lethe.operations.health import ledger


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("sql")(sql_command)
    app.command("ledger")(ledger_command)


def sql_command(
    context: typer.Context,
    statement: Annotated[str, typer.Argument(help="One SQL statement over the view `metadata`.")],
) -> None:
    """Query the archive with SQL (DuckDB). It holds no identifier of an end user.

    Example: lethe sql "SELECT account, month, count(*), sum(price) FROM metadata GROUP BY ALL ORDER BY ALL"
    """
    here = shell(context)
    found = archive.query(here.runtime, statement)
    here.answer(
        found.dicts(),
        lambda: here.table("", found.columns, found.rows) if found.columns else here.say("done"),
    )


def ledger_command(
    context: typer.Context,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the tables; status 1 if anything differs.")
    ] = False,
    stream: Annotated[str | None, typer.Option("--stream", help="Only this stream.")] = None,
) -> None:
    """What was taken in and where each record went, per stream and partition.

    Example: lethe ledger --check
    """
    here = shell(context)
    if check:
        with progress("checking", None, shown=not here.json) as update:
            findings = ledger.check(here.runtime, update)
        here.answer({"ok": not findings, "findings": findings}, lambda: _said(here, findings))
        if findings:
            fail(f"{len(findings)} finding(s): ledger and tables do not agree", here.json)
        return
    rows = [asdict(summary) for summary in ledger.by_partition(here.runtime, stream)]
    columns = ["stream", "partition", "last_offset", "commits", "records", "split", "late", "rejected", "tombstones",
               "redacted", "in_scope"]  # fmt: skip
    here.answer(
        rows,
        lambda: here.table(
            "Where each record went (records = split + late + rejected + tombstones)", columns,
            [[r[c] for c in columns] for r in rows], right=columns[2:],
        ),
    )  # fmt: skip


def _said(here: Shell, findings: list[str]) -> None:
    for finding in findings:
        here.out.print(finding, style="red")
    if not findings:
        here.say("every offset is accounted for, and the tables hold what the ledger says", "green")
