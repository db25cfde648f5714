"""Commands that prove: the archive verified against its signed log, evidence of one record, evidence verified."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lethe.console.cli.engines import ADDRESS, ENGINE, WORKERS, spread
from lethe.console.cli.people.window import CASE, LAW, PURPOSE, RECORD
from lethe.console.cli.remote.calls import ask
from lethe.console.cli.shell import Shell, asker, fail, moment, progress, read_file, shell, write_private
from lethe.operations.proof import evidence, verify
from lethe.schemas.errors import InputError, IntegrityError, LetheError
from lethe.schemas.position import Position
from lethe.schemas.words import counted

_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("verify")(verify_command)
    app.command("evidence")(evidence_command)
    app.command("verify-evidence")(verify_evidence_command)


def verify_command(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option("--since", help="Only rows of this month and later ones (a date in it).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Only rows of this month and earlier ones (a date in it).")
    ] = None,
    stream: Annotated[str | None, typer.Option("--stream", help="Only this stream.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="Verifier key you trust; default: those of the key directory."),
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", help="A signed checkpoint, or evidence, that was kept elsewhere."),
    ] = None,
    originals: Annotated[
        bool,
        typer.Option(
            "--originals", help="Compare rows in scope with what is declared of their originals, too."
        ),
    ] = False,
    every_row: Annotated[
        bool,
        typer.Option(
            "--every-row", help="Read rows out of scope of files, too, that are as they were written."
        ),
    ] = False,
    engine: ENGINE = "local",
    address: ADDRESS = None,
    workers: WORKERS = None,
) -> None:
    """Verify the archive: every row, the ledger and the signed log; status 1 names what is not as it was.

    Example: lethe verify --since 2026-01-01
    """
    invocation = shell(context)
    kept = [read_file(path) for path in checkpoint or []]
    wanted = verify.Wanted(
        stream, moment(since, "--since"), moment(until, "--until"), key or [], kept, originals, every_row
    )
    if invocation.server is not None:
        if originals or engine != "local" or workers is not None:
            raise InputError("--originals, --engine and --workers count where the installation is")
        done = ask(invocation, verify.verify, wanted, lambda _done, _all: None)
        _end_of(invocation, done)
        return
    with (
        spread(invocation, engine, address, workers) as elsewhere,
        progress("rows verified", None, shown=not invocation.json) as update,
    ):
        done = verify.verify(invocation.runtime, wanted, update, elsewhere)
    _end_of(invocation, done)


def _end_of(invocation: Shell, done: verify.Verified) -> None:
    _answer(invocation, done)
    if done.findings:
        fail(
            f"{counted(len(done.findings) + done.more, 'finding')}: the archive or its log is not as it was",
            invocation.json,
        )


def _answer(invocation: Shell, done: verify.Verified) -> None:
    report, findings, more = done.report, done.findings, done.more
    originals = done.originals
    months = {
        "since": str(report.first) if report.first else None,
        "until": str(report.last) if report.last else None,
    }
    answer = {
        "ok": not findings,
        "rows": report.rows,
        "rows_out_of_scope": report.outside,
        "rows_in_unchanged_files": report.unchanged,
        "originals": originals.rows if originals else None,
        "originals_not_declared": originals.unknown if originals else None,
        "commits_silent_of_rows_out_of_scope": report.silent,
        "commits": report.entries,
        "logs": report.logs,
        "time_stamps": report.stamps,
        "unpublished": report.unpublished,
        "table_version": report.version,
        **months,
        "findings": [
            {"kind": f.kind.value, "where": f.where, "file": f.file, "detail": f.detail} for f in findings
        ],
        "more": more,
        "without_hash": {"why": verify.WHY, "rows": [asdict(one) for one in done.unhashed]},
    }

    def show() -> None:
        for finding in findings[:_SHOWN]:
            invocation.out.print(str(finding), style="red")
        if len(findings) > _SHOWN:
            invocation.say(f"… and {len(findings) + more - _SHOWN:,} more; --json lists them")
        invocation.say(
            f"{report.rows:,} rows in scope and {report.outside:,} out of it, of {report.entries:,} commits in "
            f"{counted(report.logs, 'log')}, compared, from month {report.first} on"
            + (f" to {report.last}" if report.last else "")
        )
        if report.unchanged:
            invocation.say(
                f"{report.unchanged:,} of those out of scope by the bytes of their files, which are as they were "
                "written (--every-row reads them)"
            )
        if originals:
            invocation.say(f"{originals.rows:,} of them compared with their originals")
        if originals and originals.unknown:
            invocation.say(
                f"{originals.unknown:,} not: the declaration they were made by is not known any more"
            )
        if report.unpublished:
            invocation.say(
                f"not compared: {counted(report.unpublished, 'commit')} not in the log yet; a worker "
                "publishes within seconds, lethe ingest does when it starts"
            )
        if report.silent:
            invocation.say(
                f"not compared: the rows out of scope of {counted(report.silent, 'commit')} of an earlier release, "
                "which were logged without them"
            )
        if done.unhashed:
            invocation.say(
                f"{counted(sum(one.rows for one in done.unhashed), 'row')} in scope have no hash of their original: "
                f"{verify.WHY}"
            )
            for one in done.unhashed[:_SHOWN]:
                invocation.say(
                    f"  {one.month} {one.stream}/{one.partition}: {counted(one.rows, 'row')}, offsets "
                    f"{one.first_offset} to {one.last_offset}"
                )
        if not findings:
            invocation.say("every row is as it was logged, none is missing, none was added", "green")

    invocation.answer(answer, show)


def evidence_command(
    context: typer.Context,
    record: RECORD,
    case: CASE,
    purpose: PURPOSE,
    out: Annotated[Path | None, typer.Option("--out", help="A new file; default: standard output.")] = None,
    law: LAW = None,
) -> None:
    """The evidence of one record, in one file: the original inside the window, proof of the archive row for ever.

    Example: lethe evidence cdr.sms-report/0/4711 --case F-2041 --purpose "court order 12/26" --out 4711.json
    """
    invocation = shell(context)
    position = Position.parse(record)
    found = ask(invocation, evidence.evidence, asker(case, purpose, law), position)
    if out is None:
        typer.echo(found.file, nl=False)
        return
    write_private(out, found.file)
    invocation.answer(
        {"record": str(position), "file": str(out), "original": found.has_original, "stamped": found.stamped,
         "summary": found.summary},
        lambda: _tell(invocation, [f"Evidence written to {out}.", *found.summary]),
    )  # fmt: skip


def verify_evidence_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The evidence file.")],
    key: Annotated[list[str], typer.Option("--key", help="Verifier key you trust; may be repeated.")],
    stamp_root: Annotated[
        Path | None, typer.Option("--stamp-root", help="Root certificates of the time-stamp authority (PEM).")
    ] = None,
    original: Annotated[
        Path | None, typer.Option("--original", help="Write the original record to this new file.")
    ] = None,
) -> None:
    """Verify an evidence file. Needs nothing but the file and a verifier key: no configuration, no network.

    Example: lethe verify-evidence 4711.json --key "lethe+9fae8bda+…"
    """
    invocation = shell(context)
    try:
        proven = evidence.check(read_file(file), key, read_file(stamp_root) if stamp_root else None)
    except IntegrityError as error:
        raise IntegrityError(f"{file}: not proven: {error}") from None
    except ValueError:
        raise LetheError(f"{stamp_root}: not a PEM file with certificates") from None
    if original is not None:
        if proven.original is None:
            raise LetheError("the original is not in this file")
        write_private(original, proven.original)
    besides = [line for line in proven.limits if line not in proven.summary]
    invocation.answer(
        {"proven": True, "record": proven.record, "summary": proven.summary, "stamped": proven.stamped,
         "authority_known": proven.authority_known, "original": proven.original is not None,
         "not_proven": proven.limits},
        lambda: _tell(invocation, ["PROVEN: the record is unaltered since it was logged.", *proven.summary, *besides]),
    )  # fmt: skip
    if proven.stamped and not proven.authority_known:
        invocation.say(
            "Who made the time stamp was not checked: give the authority's root with --stamp-root."
        )


def _tell(invocation: Shell, lines: list[str]) -> None:
    for line in lines:
        invocation.out.print(line)
