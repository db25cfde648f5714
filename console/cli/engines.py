"""The options of commands that go through all data: where their tasks run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from lethe.console.cli.shell import Shell

if TYPE_CHECKING:
    from lethe.operations.engines.tasks import Cluster

ENGINE = Annotated[str, typer.Option("--engine", help="Where it runs: local (processes), dask or spark.")]
ADDRESS = Annotated[
    str | None, typer.Option("--address", help="The cluster's scheduler or master; default: this machine.")
]
WORKERS = Annotated[int | None, typer.Option("--workers", min=1, max=256, help="Processes on this machine.")]


@contextmanager
def cluster(invocation: Shell, engine: str, address: str | None, workers: int | None) -> Iterator[Cluster]:
    """Open an engine for the warehouse of a command, and leave it at the end."""
    from lethe.operations.engines import open_engine
    from lethe.operations.engines.tasks import Cluster

    chosen = open_engine(engine, address, workers)
    try:
        yield Cluster(chosen, invocation.runtime.settings.root, invocation.config)
    finally:
        chosen.close()
