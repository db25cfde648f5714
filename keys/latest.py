"""The latest time a key directory has been used at, kept durably: a clock set back must not open what has ended."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from lethe.keys.files import explained, is_bare, replace_file
from lethe.keys.secret import Secret
from lethe.schemas.errors import ConfigurationError

NAME: Final = "latest-time"
_STEP: Final = timedelta(hours=1)
"""How far the time on disk may lie behind within a month. At the turn of a month, when windows end, it does not."""
ADVICE: Final = (
    f"set the clock; if it is right now and was wrong then, remove the file {NAME} from the key directory"
)
"""What to do where keys were used at a later time than a clock says."""


class LatestTime:
    """The latest time seen by any process with this key directory. Safe to use from several threads."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._lock = threading.Lock()
        self._stored: datetime | None = None
        self._seen: datetime | None = None

    def at_least(self, now: datetime) -> datetime:
        """Note a time as seen and return the latest one; durable before it returns when a month has turned.

        Raises `ConfigurationError` when the file cannot be read or written.
        """
        seen = self._seen
        if seen is not None and self._stored is not None and now <= seen:
            return seen
        with self._lock:
            if self._stored is None:
                self._stored = self._read()
            latest = max(t for t in (now.astimezone(UTC), self._stored, self._seen) if t is not None)
            if self._due(latest):
                self._write(latest)
            self._seen = latest
            return latest

    def peek(self, now: datetime) -> datetime:
        """Return the later of a time and the latest one seen, without noting it: for what is only asked of a time."""
        with self._lock:
            if self._stored is None:
                self._stored = self._read()
            return max(t for t in (now.astimezone(UTC), self._stored, self._seen) if t is not None)

    def _due(self, latest: datetime) -> bool:
        stored = self._stored
        if stored is None or (stored.year, stored.month) < (latest.year, latest.month):
            return True
        return latest - stored >= _STEP

    def _write(self, latest: datetime) -> None:
        if not self._path.parent.is_dir() or is_bare(self._path.parent):
            return  # nothing of this installation is there: not yet, or its directory is not mounted
        other = self._read()  # another process may have been further
        self._stored = latest if other is None else max(latest, other)
        with explained(f"cannot note the time in {self._path}"):
            replace_file(self._path, Secret(self._stored.isoformat().encode() + b"\n"), 0o600)

    def _read(self) -> datetime | None:
        with explained(f"cannot read {self._path}"):
            try:
                text = self._path.read_text()
            except (FileNotFoundError, NotADirectoryError):
                return None
        try:
            return datetime.fromisoformat(text.strip()).astimezone(UTC)
        except ValueError:
            raise ConfigurationError(
                f"{self._path} holds no time; if the clock of this machine is right, remove the file"
            ) from None
