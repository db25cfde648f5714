"""Spark with Delta Lake, for tests: pyspark stands in a folder beside the environment, the jars in a cache."""

from __future__ import annotations

import sys
from pathlib import Path

from lethe.testing import maven

POM = Path(__file__).with_name("pom.xml")
PYSPARK = Path(sys.prefix) / "spark"


def jars() -> str:
    """Return the jars that Spark needs for Delta tables, comma-separated; fetched by Maven if there are none yet."""
    version = maven.version(POM, "delta.version")
    folder = maven.cache("delta", "LETHE_TEST_DELTA_CACHE") / f"delta-{version}"
    found = sorted(maven.libraries(POM, folder, "Delta Lake for Spark").glob("*.jar"))
    assert len(found) >= 5, f"{folder} is not whole: remove it"
    return ",".join(map(str, found))


if __name__ == "__main__":
    print(jars())
