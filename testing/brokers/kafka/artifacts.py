"""Where Java and Apache Kafka's jars are; the jars are fetched once, by Maven, into a cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from lethe.schemas.errors import ConfigurationError

CACHE_VARIABLE = "LETHE_TEST_KAFKA_CACHE"
_HERE = Path(__file__).parent
_POM = _HERE / "pom.xml"
_JAVA_WANTED = 17
_INSTALL = f"install Java {_JAVA_WANTED} or later (Debian: apt-get install openjdk-17-jre-headless maven)"
_DOWNLOAD_SECONDS = 540.0


def java() -> str:
    """Return the path of a Java that can run Kafka 4; raise `ConfigurationError` if there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if found is None:
        raise ConfigurationError(f"Apache Kafka needs Java, and there is none: {_INSTALL}")
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None or int(version[1]) < _JAVA_WANTED:
        raise ConfigurationError(f"{found} is not new enough for Apache Kafka 4: {_INSTALL}")
    return found


def libraries() -> Path:
    """Return the folder with the jars of the pinned version, fetched if the cache has none yet.

    Raises `ConfigurationError`, in one line, if they cannot be had.
    """
    folder = cache() / f"kafka-{version()}"
    if not folder.is_dir():
        _download(folder)
    return folder


def cache() -> Path:
    """Return the cache: `LETHE_TEST_KAFKA_CACHE`, or `lethe/kafka` under the user's cache directory."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given)
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "lethe" / "kafka"


def version() -> str:
    """Return the pinned version of Apache Kafka; the Maven project is the one place that has it."""
    root = ElementTree.parse(_POM).getroot()  # noqa: S314 - our own file
    found = root.findtext("{*}properties/{*}kafka.version")
    if not found:
        raise ConfigurationError(f"{_POM} names no kafka.version")
    return found


def _download(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigurationError(
            f"Apache Kafka is not in {folder.parent} yet, and there is no Maven to fetch it: {_INSTALL}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="download-") as temporary:
        # --strict-checksums: a jar that does not match its published checksum ends the download.
        command = [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(_POM)]
        goal = [
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={temporary}/jars",
        ]
        try:
            run = subprocess.run(  # noqa: S603
                [*command, *goal],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_DOWNLOAD_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(
                f"Apache Kafka's artifacts did not arrive within {_DOWNLOAD_SECONDS:.0f} s"
            ) from None
        if run.returncode != 0:
            raise ConfigurationError(f"Apache Kafka's artifacts cannot be had: {_first_error(run.stdout)}")
        try:
            # The rename makes the folder appear complete or not at all, whatever happens to this process.
            Path(temporary, "jars").rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same jars
                raise


def _first_error(output: str) -> str:
    lines = [
        line.removeprefix("[ERROR]").strip() for line in output.splitlines() if line.startswith("[ERROR]")
    ]
    return (lines[0] if lines else "Maven failed without a word")[:300]
