"""Tasks on a Spark cluster, as a map over an RDD of texts; no table of Spark is read or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyspark
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from lethe.schemas.errors import ConfigurationError, TransientError


class Spark:
    """A context on a master, such as `spark://host:7077` or `yarn`; processes of this machine if none is named."""

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        settings = pyspark.SparkConf().setAppName("lethe").setMaster(address or f"local[{workers or 2},4]")
        settings.set("spark.ui.enabled", "false").set("spark.driver.bindAddress", "127.0.0.1")
        if address is None:
            settings.set("spark.driver.host", "127.0.0.1")
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
            yield from self._context.parallelize(list(texts), len(texts)).map(work).collect()
        except (PySparkException, Py4JError, OSError) as error:
            raise TransientError(f"the Spark job failed: {type(error).__name__}; run it again") from None

    def close(self) -> None:
        """End the context."""
        self._context.stop()
