"""The demo: a broker, two hundred thousand made-up records, a worker, and what a newcomer wants to see of it."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.panel import Panel

from lethe.console.cli.shell import Shell, progress, shell
from lethe.operations.asker import Asker
from lethe.operations.billing import bill
from lethe.operations.health import ledger
from lethe.operations.settings import DEFAULT_SOURCES
from lethe.operations.window import lookup
from lethe.schemas.errors import ConfigurationError, Interrupted, LetheError
from lethe.schemas.words import counted
from lethe.testing.traffic import generate

_SHARES: Final = {
    "infobip/sms-report": 0.55,
    "infobip/sms-inbound": 0.2,
    "infobip/voice-report": 0.1,
    "infobip/email-report": 0.15,
}
_PARTITIONS: Final = 4
_MARK: Final = ".lethe-demo"
_CONFIG: Final = """\
# Written by `lethe demo`; the broker of the demo is gone, everything else can be asked.
root = "{root}/warehouse"
keys_dir = "{root}/keys"
bootstrap = "{bootstrap}"
metrics_port = 0

[kafka]
session_timeout_ms = 6000

[flush]
records = 60000
seconds = 3.0

[serve]
second_factor = "choice"  # for the made-up people of the demo only: by default it is demanded
"""
_BILL_ROWS: Final = 12
_NAMES: Final = ("amal", "bela", "dora", "egon", "carl", "fay", "gus")
"""The made-up people of the demo, in the order of the roles."""
_WORDS: Final = ("lantern", "harbour", "willow", "granite", "meadow", "compass", "thimble", "walnut")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("demo")(demo_command)


def demo_command(
    context: typer.Context,
    records: Annotated[
        int, typer.Option("--records", min=100, max=50_000_000, help="How many records.")
    ] = 200_000,
    directory: Annotated[Path, typer.Option("--dir", help="Where everything is put; emptied first.")] = Path(
        "var/demo"
    ),
) -> None:
    """Show the whole path on made-up traffic: broker, worker, look-up, billing. Can be repeated.

    Example: lethe demo --records 20000
    """
    from lethe.testing.brokers.embedded import EmbeddedBroker

    invocation = shell(context)
    _empty(directory)
    config = directory / "lethe.toml"
    try:
        with EmbeddedBroker(log=directory / "broker.log") as broker:
            config.write_text(_CONFIG.format(root=directory, bootstrap=broker.bootstrap), "utf-8")
            demo = Shell(config=config, json=invocation.json, makes=True)
            for topic in DEFAULT_SOURCES:
                broker.create_topic(topic, _PARTITIONS)
            subject = _produce(demo, broker.bootstrap, records)
            started = time.monotonic()
            from lethe.console.cli.running.operate import run_worker

            run_worker(demo, stop_at_end=True)
            seconds = time.monotonic() - started
        report = {**_report(demo, subject, seconds), "people": _people(demo)}
    except KeyboardInterrupt:
        raise Interrupted(_left(config)) from None
    invocation.answer(report, lambda: _show(demo, report, directory))


def _left(config: Path) -> str:
    """Say what an interrupted demo has made by then, and how to go on."""
    demo = Shell(config=config)
    try:
        done = sum(s.records for s in ledger.by_stream(demo.runtime)) if config.exists() else 0
    except LetheError:  # interrupted before there was a warehouse
        done = 0
    again = "the same command begins anew"
    if not done:
        return f"the demo has taken in nothing yet; {again}"
    return f"the demo has taken in {counted(done, 'record')}, which lethe --config {config} ledger shows; {again}"


def _empty(directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()) and not (directory / _MARK).exists():
        raise LetheError(f"{directory} is not empty and not of an earlier demo; choose another --dir")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / _MARK).touch()


def _produce(demo: Shell, bootstrap: str, records: int) -> str:
    """Produce the traffic; returns a number that occurs often, to be looked up."""
    from lethe.console.cli.running.traffic import produce

    now = datetime.now(UTC)
    until = datetime(now.year, now.month, 1, tzinfo=UTC)
    numbers: Counter[str] = Counter()
    done = 0
    with progress("records produced", records, shown=not demo.json) as update:
        for (topic, name), share in zip(DEFAULT_SOURCES.items(), _SHARES.values(), strict=True):
            count = int(records * share)
            made = generate(
                name, count, 7, until=until, pakistan=0.1, late=0.003, malformed=0.001, envelope=0.01
            )
            produce(
                bootstrap,
                topic,
                _watched(made, numbers if name == "infobip/sms-report" else None, done, update),
            )
            done += count
            update(done, None)
    return numbers.most_common(1)[0][0]


def _watched(
    records: Iterator[bytes], numbers: Counter[str] | None, done: int, update: Any
) -> Iterator[bytes]:
    for number, record in enumerate(records, 1):
        if (
            numbers is not None
            and number <= 20_000
            and record.startswith(b'{"')
            and b'"to":"' in record[:200]
        ):
            found = record.split(b'"to":"', 1)[1].split(b'"', 1)[0]
            if found.isdigit():
                numbers[found.decode()] += 1
        yield record
        if number % 2_000 == 0:
            update(done + number, None)


def _report(demo: Shell, number: str, seconds: float) -> dict[str, Any]:
    runtime = demo.runtime
    taken_in = [asdict(summary) for summary in ledger.by_stream(runtime)]
    found = lookup.lookup(runtime, Asker("demo", "DEMO-1", "demo"), number).records
    return {
        "seconds": round(seconds, 1),
        "records": sum(r["records"] for r in taken_in),
        "ledger": taken_in,
        "lookup": {"value": number, "records": found},
        "billing": bill(runtime, _BILL_ROWS).dicts(),
        "warehouse": runtime.settings.root,
        "keys": str(runtime.settings.keys_dir),
    }


def _people(demo: Shell) -> dict[str, Any] | None:
    """Make an account for each role, with one password; None where the service is not installed."""
    try:
        from lethe.console.cli.running._service import service_of

        service = service_of(demo)
    except ConfigurationError:
        return None
    from lethe.operations.access.roles import Role

    password = f"{secrets.choice(_WORDS)} {secrets.choice(_WORDS)} {secrets.token_hex(3)}"
    people = dict(zip(_NAMES, Role, strict=True))
    for name, role in people.items():
        service.accounts.add(name, name.title(), [role], password)
        service.audit({"who": "demo", "action": "account.add", "account": name, "roles": [role]})
    service.database.engine.dispose()
    return {"password": password, "names": {name: str(role) for name, role in people.items()}}


def _show(demo: Shell, report: dict[str, Any], directory: Path) -> None:
    columns = ["stream", "records", "split", "late", "rejected", "redacted", "content_dropped", "in_scope"]
    demo.say("")
    demo.table(
        f"1. Where {report['records']:,} records went, in {report['seconds']} s from start to exit",
        columns, [[r[c] for c in columns] for r in report["ledger"]], right=columns[1:],
    )  # fmt: skip
    demo.say(
        "   split: identifiers to the window, metadata to the archive · late: month ended, metadata only"
    )
    demo.say(
        "   rejected: sealed in the quarantine, with a reason · in_scope: provable (end users in Pakistan)\n"
    )
    found = report["lookup"]["records"]
    demo.table(
        f"2. What a fraud investigator sees: +{report['lookup']['value']} ({len(found)} found, newest first)",
        ["time (UTC)", "record", "role", "counterpart", "status", "account", "route"],
        [
            [f["event_time"], f["record"], f["role"], f["counterpart"], f["status_group"], f["account"], f["route"]]
            for f in found[:6]
        ],
    )  # fmt: skip
    billing = report["billing"]
    demo.table(
        "3. What billing asks of the archive, which holds no identifier: records and charges by account and month",
        list(billing[0]) if billing else [], [list(b.values()) for b in billing],
        right=["records", "parts", "charge"],
    )  # fmt: skip
    command = f"{_program()} --config {directory}/lethe.toml"
    statement = "SELECT country, count(*) FROM metadata GROUP BY 1 ORDER BY 2 DESC"
    demo.out.print(
        Panel(
            f"archive   {report['warehouse']}/metadata, for any Delta or Parquet reader\n"
            f"window    {report['warehouse']}/identifiers, encrypted, sorted by token\n"
            f"keys      {report['keys']}, one a month; destroyed, the month is forgotten\n\n"
            "Try next:\n"
            f'  {command} lookup +{report["lookup"]["value"]} --case F-1 --purpose "try it"\n'
            f'  {command} sql "{statement}"\n'
            f"  {command} quarantine list\n"
            f"  {command} ledger --check\n"
            f"  {command} verify\n"
            f"  {command} keys list\n\n" + _browser(command, report["people"]),
            title="Where everything is",
            title_align="left",
        )
    )


def _program() -> str:
    """Return how the command that runs just now is called: by its name where a shell finds it, else by its path."""
    path, found = sys.argv[0], shutil.which("lethe")
    if Path(path).name != "lethe" or (found is not None and Path(found).samefile(path)):
        return "lethe"
    return shlex.quote(os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path)


def _browser(command: str, people: dict[str, Any] | None) -> str:
    """Say how the console is opened over the demo's data, and as whom."""
    if people is None:
        return "In a browser: pip install 'lethe[serve]', then make the demo again"
    who = "\n".join(f"  {name:<6} {role}" for name, role in people["names"].items())
    return f"In a browser, http://127.0.0.1:9465, password of all: {people['password']}\n{who}\n  {command} serve"
