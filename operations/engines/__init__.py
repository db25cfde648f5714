"""Where tasks run: processes of this machine, a Dask cluster or a Spark cluster. An engine runs tasks and nothing else.

What it carries is the text of a task and the text of what came of it: no key, no token, no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from lethe.schemas.errors import ConfigurationError

__all__ = ["ENGINES", "Engine", "open_engine"]

ENGINES: Final = ("local", "dask", "spark")


class Engine(Protocol):
    """Runs a function on texts, anywhere, and gives its answers back in their order."""

    def map(self, work: Callable[[str], str], texts: Sequence[str]) -> Iterator[str]:
        """Run `work` on each text; what it raises is raised here. A worker that dies is replaced."""

    def close(self) -> None:
        """Leave what runs the tasks; end it if it was started for this."""


def open_engine(name: str, address: str | None = None, workers: int | None = None) -> Engine:
    """Choose an engine by its name; raises `ConfigurationError` when it is not installed or not reachable.

    `address`: of the cluster, for those that have one. `workers`: processes of the engine on this machine.
    """
    if name == "local":
        if address is not None:
            raise ConfigurationError("an address is that of a cluster; say which: --engine dask or spark")
        from lethe.operations.engines.local import Local

        return Local(workers)
    if name not in ENGINES:
        raise ConfigurationError(f"no engine is called so; choose one of {', '.join(ENGINES)}")
    try:
        if name == "dask":
            from lethe.operations.engines.dask import Dask

            return Dask(address, workers)
        from lethe.operations.engines.spark import Spark

        return Spark(address, workers)
    except ImportError:
        raise ConfigurationError(
            f"the engine {name} is not installed; install lethe[{name}], nothing was changed"
        ) from None
