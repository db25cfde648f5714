"""Commands over the archive: SQL and the ledger."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from lethe.console.cli.shell import Shell, fail, progress, shell
from lethe.tiers.archive import sql
from lethe.tiers.ledger import reconcile


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
    columns, rows = sql.query(here.runtime.warehouse, statement)
    here.answer(
        [dict(zip(columns, row, strict=True)) for row in rows],
        lambda: here.table("", columns, rows) if columns else here.say("done"),
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
            findings = reconcile.check(here.runtime.warehouse, update)
        here.answer(
            {"ok": not findings, "findings": [str(f) for f in findings]}, lambda: _said(here, findings)
        )
        if findings:
            fail(f"{len(findings)} finding(s): ledger and tables do not agree", here.json)
        return
    frame = reconcile.ledger_rows(here.runtime.warehouse)
    if stream is not None:
        frame = frame.filter(frame.get_column("stream") == stream)
    rows = (
        [summed(part.to_dicts()) for part in frame.partition_by("stream", "partition")]
        if frame.height
        else []
    )
    columns = ["stream", "partition", "last_offset", "commits", "records", "split", "late", "rejected", "tombstones",
               "redacted", "in_scope"]  # fmt: skip
    here.answer(
        rows,
        lambda: here.table(
            "Where each record went (records = split + late + rejected + tombstones)", columns,
            [[r[c] for c in columns] for r in rows], right=columns[2:],
        ),
    )  # fmt: skip


def _said(here: Shell, findings: list[reconcile.Finding]) -> None:
    for finding in findings:
        here.out.print(str(finding), style="red")
    if not findings:
        here.say("every offset is accounted for, and the tables hold what the ledger says", "green")


def summed(commits: list[dict[str, Any]]) -> dict[str, Any]:
    """The ledger rows of one stream (and partition) added up."""
    reasons: dict[str, int] = {}
    for commit in commits:
        for reason, count in orjson.loads(commit["rejected_by_reason"]).items():
            reasons[reason] = reasons.get(reason, 0) + count
    counted = ("messages", "records", "split", "late", "rejected", "tombstones", "redacted", "content_dropped",
               "identifiers", "in_scope")  # fmt: skip
    return {
        "stream": commits[0]["stream"],
        "partition": commits[0]["partition"],
        "first_offset": commits[0]["first_offset"],
        "last_offset": max(c["last_offset"] for c in commits),  # what a replay moved lies among the others
        "commits": len(commits),
        **{name: sum(c[name] for c in commits) for name in counted},
        "rejected_by_reason": dict(sorted(reasons.items())),
        "gaps": [c["gap"] for c in commits if c["gap"]] or None,
    }
