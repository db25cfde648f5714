"""Who sits at this keyboard, as the system knows it."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import Final

LOGIN: Final = Path("/proc/self/loginuid")
_NO_LOGIN: Final = 2**32 - 1


def who() -> str:
    """Return the user this process runs as, and who logged in where that is another: `root (login amal)`.

    Both are the system's own word. No variable is asked: a person can set those to any name.
    """
    user, login = os.getuid(), _login()
    return _name(user) if login is None or login == user else f"{_name(user)} (login {_name(login)})"


def terminal() -> str | None:
    """Return the name of the terminal the command was given at, such as `/dev/pts/3`; None where there is none."""
    for stream in (0, 2):
        with suppress(OSError):
            return os.ttyname(stream)
    return None


def _login() -> int | None:
    """Return who logged in, as the kernel keeps it through `su` and `sudo`; None for a service or another system."""
    try:
        found = int(LOGIN.read_text())
    except (OSError, ValueError):
        return None
    return None if found == _NO_LOGIN else found


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # a container may run as a number that no line of its passwd names
        return f"uid {user}"
