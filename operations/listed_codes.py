"""The site's list of codes that name nobody: read at the start, and again when the file changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lethe.schemas.declaration.vocabulary import CODE_MAX_LENGTH, CODES
from lethe.schemas.errors import ConfigurationError

_log = logging.getLogger(__name__)
_LOOK_EVERY: Final = 5.0  # seconds
_MOST_BYTES: Final = 64 * 1024 * 1024
Codes = Mapping[str, frozenset[str]]


def parse_codes(text: str, origin: str) -> Codes:
    """Read a file of codes: a column and a code a line, `#` begins a comment line.

    Raises `ConfigurationError` with the line and what is wrong there, never with what it says.
    """
    found: dict[str, set[str]] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        column, _, code = line.partition(" ")
        code = code.strip()
        if column not in CODES:
            raise ConfigurationError(
                f"{origin}, line {number}: begins with one of the columns {', '.join(sorted(CODES))}"
            )
        if not code or len(code) > CODE_MAX_LENGTH:
            raise ConfigurationError(
                f"{origin}, line {number}: behind the column stands a code of at most {CODE_MAX_LENGTH} characters"
            )
        found.setdefault(column, set()).add(code)
    return {column: frozenset(codes) for column, codes in found.items()}


def read_codes(path: Path) -> Codes:
    """Read a file of codes; raises `ConfigurationError` naming the file, the line and what is wrong there."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigurationError(f"codes {path}: larger than 64 MB")
        return parse_codes(path.read_bytes().decode("utf-8"), f"codes {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"codes {path}: {type(error).__name__}; check that it is there, readable and UTF-8"
        ) from None


@dataclass(slots=True)
class ListedCodes:
    """The codes of a file, by column. Called for what they are now; safe in several threads.

    A file that cannot be read at the start is an error. One that cannot be read later is told to the log, and what was
    read before stays.
    """

    path: Path
    clock: Callable[[], float] = field(repr=False)  # seconds, never backwards
    _known: Codes = field(default_factory=dict, repr=False)
    _seen: tuple[int, int] | None = None
    _looked: float = 0.0

    def __post_init__(self) -> None:
        """Read the file; raises `ConfigurationError` where it is wrong."""
        self._seen = self._mark()
        self._known = read_codes(self.path)
        self._looked = self.clock()

    def __call__(self) -> Codes:
        """Return the codes of each column."""
        if self.clock() - self._looked >= _LOOK_EVERY:
            self._looked = self.clock()
            if (mark := self._mark()) != self._seen:
                self._seen = mark  # told once, however it ends
                try:
                    self._known = read_codes(self.path)
                    _log.info("codes: read again, %s in all", sum(map(len, self._known.values())))
                except ConfigurationError as error:
                    _log.error("%s; the codes read before stay in force", error)
        return self._known

    def _mark(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
