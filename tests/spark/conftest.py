"""One Spark for all checks of this folder, made as docs/billing.md makes it. `make test-spark` runs them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bills import EXAMPLES
from delta import PYSPARK, jars

SMALL = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    # What a cluster has by the hundred: with small tables, tasks of nothing.
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.log.level": "ERROR",
    "spark.sql.debug.maxToStringFields": "100",
    # A session of a minute: what the optimising compiler costs, it does not bring in.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # py4j leaves its sockets to the garbage collector.
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The session of the guide, with two threads on this machine."""
    assert PYSPARK.is_dir(), "Spark is not there: make test-spark"
    scratch = tmp_path_factory.mktemp("spark")
    settings = {**SMALL, "spark.local.dir": str(scratch), "spark.sql.warehouse.dir": str(scratch / "sql")}
    words = shlex.join(word for name, value in settings.items() for word in ("--conf", f"{name}={value}"))
    os.environ |= {
        "PYSPARK_SUBMIT_ARGS": f"--master local[2] --driver-memory 1g {words} pyspark-shell",
        "PYSPARK_PYTHON": sys.executable,
    }
    session = made_as_the_guide_says(scratch)
    yield session
    session.stop()


def made_as_the_guide_says(folder: Path) -> Any:
    """Run the example up to where it reads a table."""
    code, found, _ = EXAMPLES["Spark"].partition("for table in")
    assert found
    names: dict[str, Any] = {"jars": jars()}
    exec(code, names)
    return names["spark"]
