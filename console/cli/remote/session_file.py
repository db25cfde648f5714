"""The file with the token of a session: one for each service, for its owner alone, in the user's own configuration."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from lethe.schemas.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Session:
    """A session at a service. `repr` does not show the token."""

    server: str
    name: str
    token: str

    def __repr__(self) -> str:
        """Say whose it is."""
        return f"Session({self.server!r}, {self.name!r})"


def folder() -> Path:
    """Return the folder of the files: `lethe` in `XDG_CONFIG_HOME`, or in `~/.config`."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(configured) if Path(configured).is_absolute() else Path.home() / ".config") / "lethe"


def path_of(server: str) -> Path:
    """Name the file for a service."""
    return folder() / f"session-{sha256(server.encode()).hexdigest()[:16]}.json"


def read(server: str) -> Session | None:
    """Read the session at a service; None where nobody has signed in.

    Raises `ConfigurationError` for a file that another can read or has made: its token counts as known.
    """
    path = path_of(server)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o077:
            raise ConfigurationError(
                f"{path} is not for its owner alone: remove it, sign out in the console, and give lethe login again"
            )
        try:
            said = orjson.loads(file.read(65_536))
            found = Session(said["server"], said["name"], said["token"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ConfigurationError(f"{path} is damaged: give lethe login again") from None
    return found if found.server == server else None


def write(session: Session) -> Path:
    """Keep a session: a new file beside the old one, mode 0600 from its first byte on, takes its place."""
    path = path_of(session.server)
    data = orjson.dumps({"server": session.server, "name": session.name, "token": session.token})
    new = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    return path


def forget(server: str) -> None:
    """Remove the session at a service from this machine."""
    path_of(server).unlink(missing_ok=True)
