"""Tasks on a Spark cluster, as a map over an RDD of texts; no table of Spark is read or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import pyspark
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from lethe.schemas import errors
from lethe.schemas.errors import ConfigurationError, LetheError, TransientError

_TRIES: Final = 4
"""Times that a task is tried whose executor dies."""
_QUIET: Final = {
    "spark.log.level": "FATAL",  # what goes wrong is said once, by us, and not with what a task was given
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.task.maxFailures": str(_TRIES),
}
_HERE: Final = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
_WORKERS_LACK: Final = {
    "No module named 'lethe": "the workers of the Spark cluster have no Lethe; install this release there "
    "(spark.pyspark.python names the Python)",
    "PYTHON_VERSION_MISMATCH": "the workers of the Spark cluster run another Python than this one; "
    "name the same with spark.pyspark.python",
}


class Spark:
    """A context on a master, such as `spark://host:7077` or `yarn`; processes of this machine if none is named."""

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        settings = (
            pyspark.SparkConf().setAppName("lethe").setMaster(address or f"local[{workers or 2},{_TRIES}]")
        )
        for name, value in (_QUIET | ({} if address else _HERE)).items():
            settings.set(name, value)
        try:
            self._context = pyspark.SparkContext.getOrCreate(settings)
        except (PySparkException, Py4JError, RuntimeError, OSError) as error:
            raise ConfigurationError(
                f"Spark does not start ({type(error).__name__}); is Java there, and the master reachable?"
            ) from None

    def map(self, work: Callable[[str], str], texts: Sequence[str]) -> Iterator[str]:
        """Run `work` on each text, a task each. Spark runs it again where an executor died."""
        if not texts:
            return
        try:
            told = self._context.parallelize(list(texts), len(texts)).map(partial(_told, work)).collect()
        except (PySparkException, Py4JError, OSError) as error:
            for sign, what in _WORKERS_LACK.items():
                if sign in str(error):
                    raise ConfigurationError(f"{what}; nothing was changed") from None
            raise TransientError(f"the Spark job failed: {type(error).__name__}; run it again") from None
        for kind, text in told:
            if kind:
                raise getattr(errors, kind, LetheError)(text)
            yield text

    def close(self) -> None:
        """End the context."""
        self._context.stop()


def _told(work: Callable[[str], str], text: str) -> tuple[str, str]:
    """Run a task where it is and return ("", what it said), or (name of its error, its text).

    Spark would give the error back as a page of Java. One that passes is left to it: the task runs again.
    """
    try:
        return "", work(text)
    except TransientError:
        raise
    except LetheError as error:
        return type(error).__name__, str(error)
