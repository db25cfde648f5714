"""The site's table of residences: read at the start, and again when the file changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lethe.schemas.errors import ConfigurationError
from lethe.schemas.residence import Residence, parse_residence

_log = logging.getLogger(__name__)
_LOOK_EVERY: Final = 5.0  # seconds
_MOST_BYTES: Final = 256 * 1024 * 1024


def read_residence(path: Path) -> Residence:
    """Read a residence table; raises `ConfigurationError` naming the file, the line and what is wrong there."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigurationError(f"residence {path}: larger than 256 MB")
        return parse_residence(path.read_bytes().decode("utf-8"), f"residence {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"residence {path}: {type(error).__name__}; check that it is there, readable and UTF-8"
        ) from None


@dataclass(slots=True)
class ResidenceTable:
    """The table of a file. Called for what it is now; safe in several threads.

    A file that cannot be read at the start is an error. One that cannot be read later is told to the log, and what was
    read before stays: people must not leave integrity scope because a copy was half done.
    """

    path: Path
    clock: Callable[[], float] = field(repr=False)  # seconds, never backwards
    _known: Residence = field(init=False, repr=False)
    _seen: tuple[int, int, int] | None = field(init=False)
    _looked: float = field(init=False)

    def __post_init__(self) -> None:
        """Read the file; raises `ConfigurationError` where it is wrong."""
        self._seen = self._mark()
        self._known = read_residence(self.path)
        self._looked = self.clock()

    def __call__(self) -> Residence:
        """Return the table."""
        if self.clock() - self._looked >= _LOOK_EVERY:
            self._looked = self.clock()
            if (mark := self._mark()) != self._seen:
                self._seen = mark  # told once, however it ends
                try:
                    self._known = read_residence(self.path)
                    _log.info("residence: read again, %s entries", self._known.count)
                except ConfigurationError as error:
                    _log.error("%s; the table read before stays in force", error)
        return self._known

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
