"""Tasks on a Dask cluster: one that runs already, or one of processes on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import distributed
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from lethe.schemas.errors import ConfigurationError, TransientError

_SECONDS = 30
ALONE: Final[Mapping[str, Any]] = {
    "host": "127.0.0.1",
    "dashboard_address": None,
    # Without a dashboard it still answers for its health, by default at the one port that another may have taken.
    "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
}
"""How a cluster of this machine is made, so that several can run at once."""


class Dask:
    """A client of a scheduler, by its address such as `tcp://scheduler:8786` or `tls://…`."""

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        for name in ("distributed", "distributed.client"):  # what fails is said once, by us
            logging.getLogger(name).setLevel(logging.CRITICAL)
        local: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, **ALONE}
        try:
            self._client = (
                distributed.Client(address, timeout=_SECONDS) if address else distributed.Client(**local)
            )
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigurationError(
                f"the Dask scheduler does not answer ({type(error).__name__}); nothing was changed"
            ) from None

    def map(self, work: Callable[[str], str], texts: Sequence[str]) -> Iterator[str]:
        """Run `work` on each text. A task is pure: it runs again where a worker died."""
        futures = self._client.map(work, list(texts), pure=False, retries=3)
        try:
            yield from self._client.gather(futures)
        except RuntimeError as error:
            if "deserialization" not in str(error):
                raise
            raise ConfigurationError(
                "the scheduler or the workers of the Dask cluster have no Lethe, or another release; install this "
                "one there; nothing was changed"
            ) from None
        except (KilledWorker, FutureCancelledError, CommClosedError, TimeoutError, OSError) as error:
            raise TransientError(
                f"the Dask cluster could not finish: {type(error).__name__}; run it again"
            ) from None

    def close(self) -> None:
        """Leave the cluster; end it if it was started here."""
        self._client.close()
