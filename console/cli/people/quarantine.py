"""Commands over the quarantine: what was rejected and why, its values on request, and another try."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.people.window import LAW, RECORD
from lethe.console.cli.shell import Shell, asker, fail, progress, shell
from lethe.operations.intake import quarantine
from lethe.operations.intake.replay import Replayed, Wanted
from lethe.schemas.position import Position
from lethe.schemas.words import counted

REASON = Annotated[str | None, typer.Option("--reason", help="Only records rejected for this reason.")]
FORMAT = Annotated[str | None, typer.Option("--format", help="Only records of this format.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = new_app("Records that were rejected: what, why, on request their values, and another try.")
    group.command("list")(quarantine_list)
    group.command("show")(quarantine_show)
    group.command("replay")(quarantine_replay)
    app.add_typer(group, name="quarantine")


def quarantine_list(
    context: typer.Context,
    reason: REASON = None,
    format_name: FORMAT = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most this many.")] = 100,
) -> None:
    """Return the rejected records, without their values.

    Example: lethe quarantine list --reason bad_time
    """
    quarantine.check_reason(reason)
    invocation = shell(context)
    rows = [asdict(one) for one in quarantine.listed(invocation.runtime, reason, format_name, limit)]
    total = quarantine.counted(invocation.runtime, reason, format_name)
    invocation.answer(
        rows,
        lambda: invocation.table(
            f"{len(rows):,} of {counted(total, 'rejected record')}",
            ["record", "reason", "field", "explanation", "format", "received (UTC)", "month"],
            [
                [r["record"], r["reason"], r["detail"], r["explanation"], r["format"], r["received_time"], r["month"]]
                for r in rows
            ],
        ),
    )  # fmt: skip


def quarantine_show(
    context: typer.Context,
    record: RECORD,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Decrypt and show the value; needs a case and a purpose.")
    ] = False,
    case: Annotated[str | None, typer.Option("--case", help="The case this look belongs to.")] = None,
    purpose: Annotated[str | None, typer.Option("--purpose", help="What the answer is needed for.")] = None,
    law: LAW = None,
) -> None:
    """Return one rejected record: why, and with --reveal what it was.

    Example: lethe quarantine show cdr.sms-report/0/4711 --reveal --case Q-7 --purpose "mend the producer"
    """
    invocation = shell(context)
    position = Position.parse(record)
    if not reveal:
        found = quarantine.show(invocation.runtime, asker(), position)
    elif case is None or purpose is None:
        raise typer.BadParameter("--reveal needs --case and --purpose")
    else:
        found = quarantine.reveal(invocation.runtime, asker(case, purpose, law), position)
    row = {**found.columns, **({"value": found.value} if found.revealed else {}), "kept": found.kept}
    invocation.answer(row, lambda: invocation.table("", ["", ""], [[k, v] for k, v in row.items()]))


def quarantine_replay(
    context: typer.Context,
    reason: REASON = None,
    format_name: FORMAT = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, change nothing.")
    ] = False,
) -> None:
    """Run rejected records through today's declarations: those that pass land once, the others stay.

    Each lands at the position it was rejected at. Interrupted, it is simply run again.

    Example: lethe quarantine replay --reason unknown_value --format acme/sms --dry-run
    """
    quarantine.check_reason(reason)
    invocation = shell(context)
    with progress("rejected records", None, shown=not invocation.json) as update:
        wanted = Wanted(reason, format_name)
        done, log_error = quarantine.replay(invocation.runtime, asker(), wanted, dry_run, update)
    answer = {
        "dry_run": dry_run,
        "tried": done.tried,
        "left": done.left,
        "landed": done.records,
        "late": done.late,
        "identifiers": done.identifiers,
        "stayed": done.tried - done.left,
        "stayed_by_reason": dict(sorted(done.stays.items())),
        "unreadable": done.unreadable,
        "uncommitted": done.uncommitted,
    }
    invocation.answer(answer, lambda: _show_replay(invocation, done, dry_run))
    if log_error is not None:
        fail(f"the records have landed, but {log_error}", invocation.json)


def _show_replay(invocation: Shell, done: Replayed, dry_run: bool) -> None:
    would = "would land" if dry_run else "landed"
    rows: list[list[object]] = [
        ["tried", done.tried, "rejected records whose value is kept and opens"],
        [would, done.records, "records in the archive and the window, at their own positions"],
        ["of them late", done.late, "without identifiers: their window has ended"],
        *([f"stayed: {why}", count, quarantine.explained(why)] for why, count in sorted(done.stays.items())),
        [
            "no longer readable",
            done.unreadable,
            "the value was erased or never kept, or its month was forgotten",
        ],
    ]
    if done.uncommitted:
        rows.append(
            ["not committed yet", done.uncommitted, "of a commit that is on its way; run it again later"]
        )
    invocation.table("", ["", "records", ""], rows, right=["records"])
    if done.records != done.left and not dry_run:
        invocation.say(f"{done.left} of the messages left the quarantine; envelopes hold several records")
