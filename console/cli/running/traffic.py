"""Seeded traffic."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lethe.console.cli.shell import progress, shell
from lethe.schemas.errors import LetheError, TransientError
from lethe.testing.traffic import FORMATS, generate


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("generate")(generate_command)


def generate_command(
    context: typer.Context,
    format_name: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")],
    count: Annotated[int, typer.Option("--count", min=0, max=1_000_000_000, help="How many records.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")],
    pakistan: Annotated[
        float, typer.Option("--pakistan", min=0, max=1, help="Share of end users in Pakistan.")
    ] = 0.1,
    late: Annotated[
        float, typer.Option("--late", min=0, max=1, help="Share of records of a month that has ended.")
    ] = 0.0,
    malformed: Annotated[
        float, typer.Option("--malformed", min=0, max=1, help="Share of bad records.")
    ] = 0.0,
    envelope: Annotated[
        float, typer.Option("--envelope", min=0, max=1, help="Share of messages with several records.")
    ] = 0.0,
    months: Annotated[
        int, typer.Option("--months", min=1, max=12, help="Over how many months, the last one included.")
    ] = 4,
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until", formats=["%Y-%m-%d"], help="No record is later; default: the start of this month."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A file; default: standard output.")] = None,
    topic: Annotated[str | None, typer.Option("--topic", help="A topic instead of a file.")] = None,
) -> None:
    """Made-up records in a real shape, one a line. Nobody's data is in them.

    Example: lethe generate --format infobip/sms-report --count 1000 --seed 1 --out records.ndjson
    """
    invocation = shell(context)
    if format_name not in FORMATS:
        raise typer.BadParameter(f"traffic can be made for {', '.join(FORMATS)}", param_hint="--format")
    if out is not None and topic is not None:
        raise typer.BadParameter("either --out or --topic")
    now = datetime.now(UTC)
    end = until.replace(tzinfo=UTC) if until else datetime(now.year, now.month, 1, tzinfo=UTC)
    records = generate(
        format_name, count, seed, until=end, pakistan=pakistan, late=late, malformed=malformed, envelope=envelope,
        months=months,
    )  # fmt: skip
    with progress("generating", count, shown=out is not None or topic is not None) as update:
        counted = _counted(records, update)
        if topic is not None:
            from lethe.streams.broker.client import client_options

            written = produce(
                invocation.settings.bootstrap, topic, counted, client_options(invocation.settings)
            )
        elif out is not None:
            written = _write(out, counted)
        else:
            for record in counted:
                sys.stdout.buffer.write(record + b"\n")
            return
    target = str(out) if out else topic
    invocation.answer(
        {"written": written, "to": target}, lambda: invocation.say(f"{written:,} records to {target}")
    )


def _counted(records: Iterator[bytes], update: object) -> Iterator[bytes]:
    for number, record in enumerate(records, 1):
        yield record
        if number % 1_000 == 0:
            update(number, None)  # type: ignore[operator]


def _write(out: Path, records: Iterator[bytes]) -> int:
    written = 0
    try:
        with out.open("wb") as file:
            for record in records:
                file.write(record + b"\n")
                written += 1
    except OSError as error:
        raise LetheError(f"{out}: {error.strerror}") from None
    return written


def produce(
    bootstrap: str, topic: str, records: Iterator[bytes], options: dict[str, object] | None = None
) -> int:
    """Produce records to a topic and return how many the broker has; raises `TransientError` if it lost any."""
    from confluent_kafka import KafkaException, Producer  # here: none is needed to write a file

    producer = Producer(
        {
            **(options or {"bootstrap.servers": bootstrap}),
            "queue.buffering.max.messages": 500_000,
            "linger.ms": 20,
            "compression.type": "lz4",
            "message.max.bytes": 8_000_000,
            "log_level": 3,  # what goes wrong is told by what is raised here
        }
    )
    written, lost = 0, [0]

    def landed(error: object, _: object) -> None:
        lost[0] += error is not None

    for record in records:
        while True:
            try:
                producer.produce(topic, record, on_delivery=landed)
                break
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                raise TransientError(f"the broker at {bootstrap} refuses: {error.args[0].name()}") from None
        written += 1
        if written % 10_000 == 0:
            producer.poll(0)
    if producer.flush(30) or lost[0]:
        raise TransientError(
            f"the broker at {bootstrap} did not take every record; is it running, does {topic} exist?"
        )
    return written
