"""Commands over the archive: SQL and the ledger."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from lethe.console.cli.remote.calls import ask
from lethe.console.cli.shell import Shell, fail, progress, shell
from lethe.operations import archive
from lethe.operations.health import ledger
from lethe.schemas.words import counted

_SHOWN: Final = 1_000


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("sql")(sql_command)
    app.command("ledger")(ledger_command)


def sql_command(
    context: typer.Context,
    statement: Annotated[
        str, typer.Argument(help="One SQL statement over `metadata`, `named` (codes by name), `billable`.")
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="table, csv, json or parquet; default: as --out is named, a table on a terminal, else csv.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new file.")] = None,
) -> None:
    """Query the archive with SQL (DuckDB). It holds no identifier of an end user.

    Example: lethe sql "SELECT account, month, count(*), sum(charge) FROM billable GROUP BY ALL ORDER BY ALL"
    """
    if not statement.strip():
        raise typer.BadParameter('a statement is needed, such as "SELECT count(*) FROM metadata"')
    invocation = shell(context)
    chosen = form or _form(invocation, out)
    if chosen not in ("table", *archive.FORMATS):
        raise typer.BadParameter("--format is table, csv, json or parquet")
    if chosen == "table":
        if out is not None:
            raise typer.BadParameter("a table is for terminals: --out takes csv, json or parquet")
        _show_rows(invocation, statement)
    elif out is not None:
        with progress("rows", None, shown=not invocation.json) as update:
            rows = archive.write_file(invocation.runtime, statement, chosen, out, lambda n: update(n, None))
        invocation.answer(
            {"rows": rows, "file": str(out)}, lambda: invocation.say(f"{counted(rows, 'row')} in {out}")
        )
    elif chosen == "parquet" and sys.stdout.isatty():
        raise typer.BadParameter("parquet is nothing for a terminal: give --out")
    else:
        archive.write(invocation.runtime, statement, chosen, sys.stdout.buffer)


def _form(invocation: Shell, out: Path | None) -> str:
    if out is not None:
        return out.suffix.removeprefix(".") or "csv"
    if invocation.json:
        return "csv" if invocation.csv else "json"
    return "table" if sys.stdout.isatty() else "csv"


def _show_rows(invocation: Shell, statement: str) -> None:
    """Print the first rows as a table; numbers as they are: a year is no `2,026`."""
    found, more = archive.first(invocation.runtime, statement, _SHOWN)
    if not found.columns:
        invocation.say("done")
        return
    rows = [
        [str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in row] for row in found.rows
    ]
    invocation.table("", found.columns, rows)
    if more:
        invocation.say(f"the first {_SHOWN} rows; --format csv writes all of them, --out into a file")


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
            fail(f"{counted(len(findings), 'finding')}: ledger and tables do not agree", invocation.json)
        return
    rows = [asdict(summary) for summary in ask(invocation, ledger.by_partition, stream)]
    if stream is not None and not rows:
        there = {summary.stream for summary in ledger.by_stream(invocation.runtime)}
        invocation.say(
            f"There is no commit of that stream; there are {', '.join(sorted(there)) or 'none yet'}."
        )
    columns = ["stream", "partition", "last_offset", "commits", "records", "split", "late", "rejected", "tombstones",
               "redacted", "in_scope", "usage"]  # fmt: skip
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
