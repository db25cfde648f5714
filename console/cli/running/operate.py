"""Commands that run Lethe: worker, ingest, doctor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from lethe.console.cli.shell import Shell, agree, asker, fail, progress, shell
from lethe.schemas.errors import Interrupted
from lethe.schemas.words import counted
from lethe.streams.worker.logs import set_up

if TYPE_CHECKING:
    from lethe.operations.health.doctor import Check
    from lethe.operations.runtime import Runtime
    from lethe.streams.worker.metrics import Metrics


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("worker")(worker_command)
    app.command("ingest")(ingest_command)
    app.command("doctor")(doctor_command)


def worker_command(
    context: typer.Context,
    stop_at_end: Annotated[
        bool, typer.Option("--stop-at-end", help="Process what is there now, commit and exit 0.")
    ] = False,
    accept_gap: Annotated[
        bool,
        typer.Option(
            "--accept-gap", help="Go on although the topic has lost records; the ledger notes the gap."
        ),
    ] = False,
) -> None:
    """Consume the configured topics, split every record and commit both halves exactly once.

    Example: lethe worker --stop-at-end
    """
    invocation = shell(context, makes=True)
    run_worker(invocation, stop_at_end, accept_gap)


def run_worker(invocation: Shell, stop_at_end: bool, accept_gap: bool = False) -> None:
    """Run a worker in this process; with a terminal it shows a progress bar when it stops at the end."""
    from lethe.streams.worker.worker import (  # here: Faust alone takes a third of a second to import
        Progress,
        Worker,
    )

    bar = stop_at_end and sys.stderr.isatty()
    set_up("ERROR" if bar else invocation.settings.log_level)
    with progress("records committed", None, shown=bar) as update:

        def moved(state: Progress) -> None:
            update(state.committed, max(state.total, state.committed) or None)

        worker = Worker(
            invocation.runtime,
            stop_at_end=stop_at_end,
            accept_gap=accept_gap,
            on_progress=moved,
            # One that only catches up answers no requests and forgets nothing: it would be gone in the middle.
            attach=None if stop_at_end else partial(_attach_control, invocation.runtime),
        )
        worker.run()
    if stop_at_end and worker.interrupted:
        raise Interrupted(
            f"{counted(worker.committed, 'record')} came in by this run; started again it goes on behind them"
        )


def _attach_control(runtime: Runtime, app: Any, metrics: Metrics) -> None:
    """Make the control topics if they are not there, and give a worker's application its agents and timers."""
    from lethe.streams.worker.control_topic import Desk, attach, make_topics

    make_topics(runtime)
    attach(app, runtime, metrics, Desk(runtime))


def ingest_command(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            help="Files with one record a line; .gz and .zst too, - for standard input. undo FILE takes it out again."
        ),
    ],
    format_name: Annotated[
        str | None, typer.Option("--format", help="The declared format of the records.")
    ] = None,
    as_declared: Annotated[
        bool,
        typer.Option(
            "--as-declared", help="Take it in although the first records fit another format better."
        ),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="Whose settings (lines) hold: a source's name, or none. Default: of the only one with the format.",
        ),
    ] = None,
    received: Annotated[
        str | None,
        typer.Option(
            "--received",
            help="The day up to which the records were received, for times that say no year (logs of syslog).",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With undo: agree to it; needed without a terminal.")
    ] = False,
) -> None:
    """Back-fill from files: exactly once per content, so a file adds nothing the second time.

    `lethe ingest undo FILE` takes the records of a file out of all tables again, to take it in under another format.

    Example: lethe ingest records.ndjson.gz --format infobip/sms-report
    """
    if files[0] == "undo" and format_name is None:
        if len(files) != 2:
            raise typer.BadParameter(
                "undo takes one file, or the name of its stream as `lethe ledger` shows it"
            )
        _undo(shell(context), files[1], yes)
        return
    if format_name is None:
        raise typer.BadParameter("--format is needed: `lethe formats list` shows those that are declared")
    from lethe.operations.intake.ingest import ingest
    from lethe.operations.intake.received import day_received
    from lethe.schemas.declaration import format as formats

    invocation = shell(context, makes=True)
    day = None if received is None else day_received(received, datetime.now(UTC))
    formats.use_directory(invocation.settings.formats_dir)
    formats.get(format_name)
    set_up("ERROR")
    reports: list[dict[str, Any]] = []
    failed: list[str] = []
    total = sum(Path(f).stat().st_size for f in files if f != "-" and Path(f).is_file())
    read = 0
    with progress("bytes read", total or None, shown=not invocation.json) as update:
        for file in files:
            report = ingest(
                invocation.runtime, file, format_name, partial(_moved, update, read), as_declared, source, day
            )
            read += Path(file).stat().st_size if file != "-" else 0
            update(read, None)
            counts = report.counts
            failed += [report.log_error] if report.log_error else []
            reports.append(
                {
                    "file": file, "stream": report.stream, "already": report.already, "records": counts.records,
                    "split": counts.split, "late": counts.late, "rejected": counts.rejected,
                    "rejected_by_reason": dict(sorted(counts.reasons.items())),
                    "received": report.received,
                }
            )  # fmt: skip
    columns = ["file", "stream", "already", "records", "split", "late", "rejected"]
    invocation.answer(
        reports,
        lambda: invocation.table(
            "already: lines that an earlier run had taken in", columns, [[r[c] for c in columns] for r in reports],
            right=columns[2:],
        ),
    )  # fmt: skip
    for one in reports:
        if one["received"] is not None:
            invocation.say(f"{one['file']}: times without a year are of the latest up to {one['received']}")
    if failed:
        fail(f"the records are in, but not the integrity log: {failed[0]}", invocation.json)


def _undo(invocation: Shell, file: str, yes: bool) -> None:
    from lethe.operations.intake.undo import before_undo, undo

    going = before_undo(invocation.runtime, file)
    agree(
        invocation,
        yes,
        f"{counted(going.records, 'record')} of {going.stream}: out of archive and window for ever",
        "undo",
    )
    with progress("taking out", None, shown=not invocation.json):
        done = undo(invocation.runtime, asker(), file)
    kept = f"; {done.held} of them are kept by holds" if done.held else ""
    said = f"{counted(done.records, 'record')} of {done.stream} taken out again, certificate {done.certificate}{kept}"
    invocation.answer(asdict(done), lambda: invocation.say(said, "green"))


def _moved(update: Callable[[int, int | None], None], before: int, at: int) -> None:
    update(before + at, None)


_DAYS: Final = 28
"""The least days of a month: what no window is shorter than by."""
_MARKS: Final = {"ok": ("ok  ", "green"), "warning": ("look", "yellow"), "wrong": ("bad ", "red")}


def _broker(runtime: Runtime) -> Iterator[Check]:
    """Ask the broker for every right a worker needs and for the topics; compare those with what is committed."""
    from lethe.operations.health.doctor import Check
    from lethe.streams.broker.rights import Needed, missing
    from lethe.streams.broker.topics import Streams, identify
    from lethe.streams.worker.control_topic import RESPONSES, own_topics

    settings = runtime.settings
    groups = [settings.kafka.group, settings.kafka.control_group]
    own = [topic.topic for topic in own_topics(settings)]
    read = [topic for topic in own if topic != RESPONSES]
    for right in missing(settings, Needed([*settings.sources, *read], [RESPONSES], groups, own)):
        yield Check("broker rights", "wrong", right, "docs/kafka.md names the rights a worker needs")
    identities = identify(settings, settings.sources)
    if runtime.has_warehouse():
        Streams(runtime.warehouse.sources(), settings, identities).check(accept_gap=False)
    yield from _long_kept(runtime)
    yield from _stamped(runtime)
    yield Check(
        "broker", "ok", f"{settings.bootstrap} answers, {counted(len(identities), 'topic')} are there"
    )


def _long_kept(runtime: Runtime) -> Iterator[Check]:
    """Warn of topics that keep everybody in clear for longer than the shortest window allows."""
    from lethe.operations.health.doctor import Check
    from lethe.schemas.retention.data_class import DataClass
    from lethe.streams.broker.kept import retention_of

    months = runtime.settings.retention.lengths(DataClass.IDENTIFIERS)[0]
    for topic, milliseconds in retention_of(runtime.settings).items():
        days = milliseconds / 86_400_000
        if milliseconds < 0 or days > months * _DAYS:
            kept = "for ever" if milliseconds < 0 else f"for {days:.0f} days"
            advice = "it holds everybody in clear: set its retention.ms to what catching up needs"
            yield Check(
                f"topic {topic}", "warning", f"kept {kept}, the window is {counted(months, 'month')}", advice
            )


def _stamped(runtime: Runtime) -> Iterator[Check]:
    """Hold the clock against the broker's newest message, where it has one and tells its time."""
    from lethe.operations.health.doctor import Check
    from lethe.streams.broker.kept import newest_stamp

    now, newest = runtime.clock(), newest_stamp(runtime.settings)
    if newest is None or abs(now - newest) <= timedelta(days=1):
        return
    found = (
        f"{now:%Y-%m-%d %H:%M} UTC, but the broker's newest message is stamped {newest:%Y-%m-%d %H:%M} UTC"
    )
    yield Check("clock", "warning", found,
                "set the clock, unless it is right and nothing was sent since, or a producer's is ahead")  # fmt: skip


def doctor_command(context: typer.Context) -> None:
    """Check configuration, broker, clocks, keys and tables; say what is wrong and what to do about it.

    Example: lethe doctor
    """
    from lethe.operations.health.doctor import checks

    invocation = shell(
        context, makes=True
    )  # it makes none: it says that there is none, and looks at the rest
    results = []
    for check in checks(invocation.runtime, {"broker": _broker}):
        results.append(check)
        if not invocation.json:
            mark, style = _MARKS[check.state]
            invocation.out.print(mark, style=style, end="")
            invocation.say(f" {check.what}: {check.found}" + (f" -> {check.advice}" if check.advice else ""))
    wrong = [c for c in results if c.state == "wrong"]
    if invocation.json:
        invocation.answer(
            [{"what": c.what, "state": c.state, "found": c.found, "advice": c.advice} for c in results],
            lambda: None,
        )
    if wrong:
        fail(f"{len(wrong)} of {len(results)} checks found something wrong", invocation.json)
