"""Where Java and Apache Kafka's jars are; the jars are fetched once, by Maven, into a cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from lethe.schemas.errors import ConfigurationError
from lethe.testing import maven

CACHE_VARIABLE = "LETHE_TEST_KAFKA_CACHE"
_POM = Path(__file__).parent / "pom.xml"
_JAVA_WANTED = 17


def java() -> str:
    """Return the path of a Java that can run Kafka 4; raise `ConfigurationError` if there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if found is None:
        raise ConfigurationError(f"Apache Kafka needs Java, and there is none: {maven.INSTALL}")
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None or int(version[1]) < _JAVA_WANTED:
        raise ConfigurationError(f"{found} is not new enough for Apache Kafka 4: {maven.INSTALL}")
    return found


def libraries() -> Path:
    """Return the folder with the jars of the pinned version, fetched if the cache has none yet.

    Raises `ConfigurationError`, in one line, if they cannot be had.
    """
    return maven.libraries(_POM, maven.cache("kafka", CACHE_VARIABLE) / f"kafka-{version()}", "Apache Kafka")


def version() -> str:
    """Return the pinned version of Apache Kafka."""
    return maven.version(_POM, "kafka.version")
