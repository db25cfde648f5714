"""Files that the site keeps beside the settings: read at the start, and again when they change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

from lethe.schemas.errors import ConfigurationError
from lethe.schemas.line import OwnNumbers, parse_own_numbers
from lethe.schemas.site.listed_codes import Codes, parse_codes
from lethe.schemas.site.residence import Residence, parse_residence

_log = logging.getLogger(__name__)
_LOOK_EVERY: Final = 5.0  # seconds
_MEGABYTE: Final = 1024 * 1024
_T = TypeVar("_T")


def read_own_numbers(path: Path) -> OwnNumbers:
    """Read a file of own numbers; raises `ConfigurationError` naming the file, the line and what is wrong there."""
    return _read("own_numbers", path, parse_own_numbers, 256, "; write ranges as first-last")


def read_residence(path: Path) -> Residence:
    """Read a residence table; raises `ConfigurationError` naming the file, the line and what is wrong there."""
    return _read("residence", path, parse_residence, 256)


def read_codes(path: Path) -> Codes:
    """Read a file of codes; raises `ConfigurationError` naming the file, the line and what is wrong there."""
    return _read("codes", path, parse_codes, 64)


def _read(what: str, path: Path, parse: Callable[[str, str], _T], megabytes: int, advice: str = "") -> _T:
    try:
        if path.stat().st_size > megabytes * _MEGABYTE:
            raise ConfigurationError(f"{what} {path}: larger than {megabytes} MB{advice}")
        return parse(path.read_bytes().decode("utf-8"), f"{what} {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{what} {path}: {type(error).__name__}; check that it is there, readable and UTF-8"
        ) from None


@dataclass(slots=True)
class SiteFile(Generic[_T]):
    """What a file says, as one of the readers above reads it. Called for what it says now; safe in several threads.

    A file that cannot be read at the start is an error. One that cannot be read later is told to the log, and what was
    read before stays: persons must not become businesses, leave integrity scope or be shown because a copy was half
    done.
    """

    path: Path
    read: Callable[[Path], _T] = field(repr=False)
    clock: Callable[[], float] = field(repr=False)  # seconds, never backwards
    _known: _T = field(init=False, repr=False)
    _seen: tuple[int, int, int] | None = field(init=False)
    _looked: float = field(init=False)

    def __post_init__(self) -> None:
        """Read the file; raises `ConfigurationError` where it is wrong."""
        self._seen = self._mark()
        self._known = self.read(self.path)
        self._looked = self.clock()

    def __call__(self) -> _T:
        """Return what the file says, looking every few seconds whether it has changed."""
        if self.clock() - self._looked >= _LOOK_EVERY:
            self._looked = self.clock()
            if (mark := self._mark()) != self._seen:
                self._seen = mark  # told once, however it ends
                try:
                    self._known = self.read(self.path)
                    _log.info("%s: read again", self.path)
                except ConfigurationError as error:
                    _log.error("%s; what was read before stays in force", error)
        return self._known

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
