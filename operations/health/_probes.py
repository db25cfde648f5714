"""Tries of what the real commands do: a file or object is written, synced, read back and removed again."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Final

from lethe.keys.files import explained, is_shared, sync_directory
from lethe.operations.health._bounded import Check
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError

FOLDER: Final = "_probe"
"""Where the warehouse's probes lie while they are looked at; a crash may leave one there, which nothing reads."""
_OBJECT_BYTES: Final = 1 << 20
_FILE_BYTES: Final = 1 << 16
_ROOM: Final = 512 << 20
"""Less than this, and the next commits may not fit."""


def store(runtime: Runtime, what: str) -> Iterator[Check]:
    """Try the warehouse's store as a commit does; a directory that is not there yet is not made.

    1. Write an object that must not be there, and see that a second one of its name is refused: what keeps two workers
       apart rests on that.
    2. Read it, find it in its folder.
    3. Remove it.
    """
    root = runtime.settings.root.removeprefix("file://")
    local = "://" not in root
    if local and not Path(root).exists():
        yield Check(what, "ok", f"nothing is at {root} yet")
        return
    objects = runtime.objects
    path, data = f"{FOLDER}/{token_hex(8)}", token_bytes(_OBJECT_BYTES)
    written = objects.create(path, data)
    try:
        if not written or objects.create(path, data):
            raise LetheError(
                "the store does not keep an object from being written twice (conditional put): two workers would "
                "overwrite each other; use a store that does"
            )
        if objects.get(path) != data:
            raise LetheError("the store gave back other bytes than it was given; check the disk or the store")
        if path not in objects.list(FOLDER):
            raise LetheError(
                "the store does not list an object that it holds; its user needs the right to list"
            )
    except LetheError:
        with suppress(LetheError):
            objects.delete(path)
        raise
    objects.delete(path)
    yield Check(what, "ok", f"{objects.root}: an object was written, read, listed and removed")
    if local:
        yield from _room(what, Path(root))


def directory(what: str, path: Path) -> Iterator[Check]:
    """Try a directory of this machine: write a file, sync it, remove it, sync that.

    Raises `ConfigurationError` or `TransientError` with what the system says.
    """
    probe = path / f".probe-{token_hex(8)}"
    with explained(f"cannot write to {path}"):
        try:
            with os.fdopen(
                os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb"
            ) as file:
                file.write(token_bytes(_FILE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
        sync_directory(path)
        owner = path.stat().st_uid
    if owner != os.geteuid() and not is_shared(path):
        yield Check(
            what, "warning", f"{path} belongs to {_name(owner)}, this ran as {_name(os.geteuid())}",
            "run it as the user the worker runs as: what one may the other may not",
        )  # fmt: skip
    yield from _room(what, path)


def _room(what: str, path: Path) -> Iterator[Check]:
    free = shutil.disk_usage(path).free
    if free < _ROOM:
        yield Check(what, "warning", f"{path} has {free >> 20:,} MB left", "make room before it is full")


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"
