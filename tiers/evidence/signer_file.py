"""A file with signing keys in the key directory: for its owner alone, made once, replaced when keys are handed over."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lethe.integrity.log.signing import Signer
from lethe.keys.files import create_file, explained, is_shared, make_directories, replace_file
from lethe.keys.secret import Secret
from lethe.schemas.errors import ConfigurationError


def load_signer_file(path: Path, what: str) -> Signer | None:
    """Return the signer of a key file, None when there is no such file. `what` names it in errors.

    Raises `ConfigurationError` when it is damaged or open to others.
    """
    with explained(f"cannot read {what} {path}"):
        if not path.exists():
            return None
        shared = is_shared(path.parent)
        mode = path.stat().st_mode & (0o007 if shared else 0o077)
        data = Secret(path.read_bytes())
    if mode:
        raise ConfigurationError(
            f"{what} {path} is open to others than its owner: chmod {660 if shared else 600} {path}"
        )
    return Signer.from_bytes(data.reveal())


def make_signer_file(path: Path, what: str, name: str, now: datetime) -> Signer:
    """Return the signer of a key file, made if there is none: racing callers end with the same one."""
    if (known := load_signer_file(path, what)) is not None:
        return known
    with explained(f"cannot write {what} in {path.parent}"):
        make_directories(path.parent, 0o700)
        create_file(path, Secret(Signer.generate(name, int(now.timestamp())).to_bytes()), 0o600)
    found = load_signer_file(path, what)
    if found is None:
        raise ConfigurationError(f"{what} {path} was removed while it was made")
    return found


def rotate_signer_file(path: Path, what: str, now: datetime) -> Signer | None:
    """Hand over to new keys and return their signer, None when there are none. The old private keys are gone then.

    1. Read the key file, alone among all who rotate.
    2. Make the next keys, and have the old ones sign for them. A crash leaves the old keys in force.
    3. Put the new key file in the place of the old one. From here on the new keys sign.
    """
    with explained(f"cannot write {what} in {path.parent}"), _alone(path.parent):
        # Step 1
        old = load_signer_file(path, what)
        if old is None:
            return None
        # Step 2
        new = old.rotate(int(now.timestamp()))
        # Step 3
        replace_file(path, Secret(new.to_bytes()), 0o600)
    return new


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
