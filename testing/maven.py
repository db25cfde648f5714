"""Jars of a Maven project (a `pom.xml` and nothing to build), fetched once into a cache of the user's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from lethe.schemas.errors import ConfigurationError

INSTALL: Final = "install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless maven)"
_DOWNLOAD_SECONDS: Final = 540.0


def cache(name: str, variable: str) -> Path:
    """Return a cache: what the environment variable says, or `lethe/NAME` under the user's cache directory."""
    if given := os.environ.get(variable):
        return Path(given)
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "lethe" / name


def version(pom: Path, name: str) -> str:
    """Return a pinned version; the Maven project is the one place that has it."""
    root = ElementTree.parse(pom).getroot()  # noqa: S314 - our own file
    found = root.findtext(f"{{*}}properties/{{*}}{name}")
    if not found:
        raise ConfigurationError(f"{pom} names no {name}")
    return found


def libraries(pom: Path, folder: Path, what: str) -> Path:
    """Return the folder with the jars of a project, fetched if it is not there yet.

    `what`: how errors call it. Raises `ConfigurationError`, in one line, if they cannot be had.
    """
    if not folder.is_dir():
        _download(pom, folder, what)
    return folder


def _download(pom: Path, folder: Path, what: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigurationError(
            f"{what} is not in {folder.parent} yet, and there is no Maven to fetch it: {INSTALL}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="download-") as temporary:
        # --strict-checksums: a jar that does not match its published checksum ends the download.
        command = [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom)]
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
                f"{what}'s artifacts did not arrive within {_DOWNLOAD_SECONDS:.0f} s"
            ) from None
        if run.returncode != 0:
            raise ConfigurationError(f"{what}'s artifacts cannot be had: {_first_error(run.stdout)}")
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
