"""Names that are kept with the keys: what the warehouse says, and who writes there can change, is held against them.

restrictions.kept/<name>   a restriction in force; the name is random, and whom it is for is sealed in the warehouse.
                           What is gone from the warehouse is missed
endings.kept/<name>        a month's keys whose destruction, or giving up (`.gN.given-up`), was begun here, before the
                           warehouse was marked. A mark that has its name here is believed, whatever still opens
"""

from __future__ import annotations

from pathlib import Path

from lethe.keys.files import create_file, explained, make_directories, sync_directory
from lethe.keys.secret import Secret


class KeptNames:
    """The names in one folder of a key directory; without a directory nothing is kept and nothing missed."""

    def __init__(self, directory: Path | None, what: str) -> None:
        self._folder = None if directory is None else directory / f"{what}.kept"

    def names(self) -> frozenset[str]:
        """Return the names; raises `ConfigurationError` or `TransientError` when they cannot be read."""
        if self._folder is None:
            return frozenset()
        with explained(f"cannot read {self._folder}"):
            if not self._folder.is_dir():
                return frozenset()
            return frozenset(path.name for path in self._folder.iterdir() if not path.name.startswith("."))

    def keep(self, name: str) -> None:
        """Keep a name, durably when it returns; raises as `names` does."""
        if self._folder is not None:
            with explained(f"cannot write to {self._folder}"):
                make_directories(self._folder, 0o700)
                create_file(self._folder / name, Secret(b"{}\n"), 0o600)

    def forget(self, name: str) -> None:
        """Keep a name no longer, durably when it returns; raises as `names` does."""
        if self._folder is not None and self._folder.is_dir():
            with explained(f"cannot write to {self._folder}"):
                (self._folder / name).unlink(missing_ok=True)
                sync_directory(self._folder)
