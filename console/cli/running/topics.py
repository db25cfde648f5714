"""Topics of the broker: made by whoever may, so that workers need no right to."""

from __future__ import annotations

from typing import Annotated

import typer

from lethe.console.cli._root import new_app
from lethe.console.cli.shell import shell


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    topics = new_app("Topics of the broker: those of `sources` and Lethe's own, made where they are missing.")
    topics.command("create")(create_command)
    app.add_typer(topics, name="topics")


def create_command(
    context: typer.Context,
    partitions: Annotated[
        int, typer.Option("--partitions", min=1, max=10_000, help="Partitions of each source topic.")
    ] = 6,
    retention_hours: Annotated[
        float,
        typer.Option(
            "--retention-hours",
            min=0.1,
            max=24 * 366,
            help="How long the broker keeps records: they hold identifiers, so no longer than workers may be down.",
        ),
    ] = 72.0,
) -> None:
    """Make the topics of `sources` and Lethe's own where they are missing; what is there stays as it is.

    Example: lethe topics create --partitions 12 --retention-hours 72
    """
    from confluent_kafka.cimpl import NewTopic  # here: the broker's client takes long to import

    from lethe.streams.broker.topics import create
    from lethe.streams.worker.control_topic import own_topics

    invocation = shell(context)
    settings = invocation.settings
    config = {"retention.ms": str(int(retention_hours * 3_600_000)), "cleanup.policy": "delete"}
    replicas = settings.kafka.replication
    sources = [NewTopic(topic, partitions, replicas, config=config) for topic in sorted(settings.sources)]
    made = create(settings, [*sources, *own_topics(settings)])
    rows = [{"topic": topic, "state": "made" if new else "was there"} for topic, new in made.items()]
    invocation.answer(
        rows, lambda: invocation.table("", ["topic", "state"], [[r["topic"], r["state"]] for r in rows])
    )
