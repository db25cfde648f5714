"""Small files on a local disk that are there completely, durably, once, or not at all."""

from __future__ import annotations

import errno
import grp
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from lethe.keys.secret import Secret
from lethe.schemas.errors import ConfigurationError, TransientError

_NEEDS_A_PERSON = {
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
    errno.EOPNOTSUPP,
}

_BESIDE = {"latest-time", "lost+found"}


class NotDurableError(OSError):
    """A file is there, but may be gone after a power cut; that it is there must not be relied upon."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an `OSError` into one line: `ConfigurationError` if a person must act, else `TransientError`."""
    try:
        yield
    except OSError as error:
        kind = ConfigurationError if error.errno in _NEEDS_A_PERSON else TransientError
        raise kind(f"{what}: {error.strerror or type(error).__name__}") from error


def is_bare(directory: Path) -> bool:
    """Tell whether a directory has nothing in it that goes with keys: a mount point without its mount has not.

    The latest time may have been noted in it, and a file system of its own has a folder for what it finds again.
    """
    return all(path.name in _BESIDE or path.name.startswith(".") for path in directory.iterdir())


def is_shared(directory: Path) -> bool:
    """Tell whether a directory is for its owner and its group, and what is made in it belongs to that group (2770)."""
    mode = stat.S_IMODE(directory.stat().st_mode)
    return mode & (stat.S_ISGID | stat.S_IRWXG | stat.S_IRWXO) == stat.S_ISGID | stat.S_IRWXG


def own_mode(directory: Path, mode: int) -> int:
    """Return the mode of what is made in a directory: in a shared one, its group may do what the owner may.

    Write access as well: who destroys a key overwrites it, whoever of the two made it.
    """
    return mode | mode >> 3 if mode & 0o077 == 0 and is_shared(directory) else mode


def refuse_open(what: str, path: Path, group: str | None) -> None:
    """Raise `ConfigurationError` when a directory is open to others than its owner and the group that may share it."""
    with explained(f"cannot open {what} {path}"):
        status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IRWXO or (group is None and mode & stat.S_IRWXG):
        alone = f"{what} {path} is open to others than its owner"
        if group is None:
            raise ConfigurationError(
                f"{alone}: chmod 700 {path} (or name its group in `keys_group`, if that holds no person)"
            )
        raise ConfigurationError(f"{alone} and the group {group}: chmod 2770 {path}")
    if not mode & stat.S_IRWXG:
        return
    if status.st_gid != _group_id(group or ""):
        raise ConfigurationError(f"{what} {path} is open to another group than {group}: chgrp {group} {path}")
    if not is_shared(path):
        raise ConfigurationError(
            f"{what} {path} is open to the group {group}, but what is made in it would not be: chmod 2770 {path}"
        )


def first_mode(above: Path, group: str | None) -> int:
    """Return the mode of a new directory: open to a group where the one above gives it to that group (setgid)."""
    status = above.stat()
    given = group is not None and status.st_mode & stat.S_ISGID and status.st_gid == _group_id(group)
    return 0o770 if given else 0o700


def _group_id(group: str) -> int:
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigurationError(f"keys_group: there is no group {group} on this machine") from None


def open_lock(path: Path) -> int:
    """Open the file of a lock, made if it is not there; whoever shares its directory can open it, too."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    return os.open(path, flags, own_mode(path.parent, 0o600))


def create_file(path: Path, content: Secret, mode: int) -> bool:
    """Create a file with all of its content, durably; False when there is one already, which stays as it is.

    1. Write a temporary file beside it and fsync it. A crash leaves that file, whose name starts with `.` and
       the name of the file it was for; nothing reads it.
    2. Link it to its name: the one step that only one of several racing callers gets through.
    3. Remove the temporary name and fsync the directory. A crash before may lose the file or leave
       both names.

    The directory is made durable for the loser of a race too: it will build on the winner's file, so it must
    not return before that file is there to stay. Raises `NotDurableError` if that fails, any other `OSError` while
    the file is not there.
    """
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, own_mode(path.parent, mode)), "wb") as file:
            file.write(content.reveal())
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
        created = True
    except FileExistsError:
        created = False
    finally:
        temporary.unlink(missing_ok=True)
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise NotDurableError(*error.args) from error
    return created


def replace_file(path: Path, content: Secret, mode: int) -> None:
    """Put other bytes in the place of a file; what a crash leaves is the old file or the new one.

    1. Write a temporary file beside it and fsync it. A crash leaves that file, as `create_file` does.
    2. Rename it to its name.
    3. Fsync the directory. A crash before may bring the old file back.
    """
    temporary = path.with_name(f".{path.name}.{token_hex(8)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, own_mode(path.parent, mode)), "wb") as file:
            file.write(content.reveal())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def temporaries(path: Path) -> list[Path]:
    """Return what crashes of `create_file` left behind for this file (or what it is working on just now)."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.new")
    return [Path(entry.path) for entry in os.scandir(path.parent) if name.fullmatch(entry.name)]


def make_directories(path: Path, mode: int = 0o777) -> None:
    """Make a directory, and those above it, durably; leave what is there."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for directory in reversed(missing):
        directory.mkdir(own_mode(directory.parent, mode), exist_ok=True)
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
