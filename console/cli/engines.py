"""The options of commands that go through all data: where their tasks run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lethe.console.cli.shell import Shell
from lethe.schemas.errors import InputError

if TYPE_CHECKING:
    from lethe.operations.engines.tasks import Cluster

ENGINE = Annotated[str, typer.Option("--engine", help="Where it runs: local (processes), dask or spark.")]
ADDRESS = Annotated[
    str | None, typer.Option("--address", help="The cluster's scheduler or master; default: this machine.")
]
WORKERS = Annotated[int | None, typer.Option("--workers", min=1, max=256, help="Processes on this machine.")]


@contextmanager
def spread(
    invocation: Shell, engine: str, address: str | None, workers: int | None
) -> Iterator[Callable[[str, Sequence[Any]], Iterator[Any]] | None]:
    """Open an engine as `cluster` does, or none: then it is done in this process, which tells how far it is."""
    here = engine == "local" and workers is None and address is None
    if invocation.server is not None and not here:
        raise InputError(
            "an engine runs where the warehouse is; give no --engine, --address or --workers with LETHE_SERVER"
        )
    if here:
        yield None
        return
    with cluster(invocation, engine, address, workers) as tasks:
        yield tasks.map


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
