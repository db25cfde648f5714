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
    invocation = shell(context)
    found = archive.query(invocation.runtime, statement)
    invocation.answer(
        found.dicts(),
        lambda: invocation.table("", found.columns, found.rows) if found.columns else invocation.say("done"),
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
    invocation = shell(context)
    if check:
        with progress("checking", None, shown=not invocation.json) as update:
            findings = ledger.check(invocation.runtime, update)
        invocation.answer({"ok": not findings, "findings": findings}, lambda: _said(invocation, findings))
        if findings:
            fail(f"{len(findings)} finding(s): ledger and tables do not agree", invocation.json)
        return
    rows = [asdict(summary) for summary in ledger.by_partition(invocation.runtime, stream)]
    columns = ["stream", "partition", "last_offset", "commits", "records", "split", "late", "rejected", "tombstones",
               "redacted", "in_scope"]  # fmt: skip
    invocation.answer(
        rows,
        lambda: invocation.table(
            "Where each record went (records = split + late + rejected + tombstones)", columns,
            [[r[c] for c in columns] for r in rows], right=columns[2:],
        ),
    )  # fmt: skip


def _said(invocation: Shell, findings: list[str]) -> None:
    for finding in findings:
        invocation.out.print(finding, style="red")
    if not findings:
        invocation.say("every offset is accounted for, and the tables hold what the ledger says", "green")
