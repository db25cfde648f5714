"""The keys that sign the integrity log and the deletion certificates: one file in the key directory, made once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lethe.integrity.log.signing import Signer
from lethe.keys.files import create_file, explained, make_directories, replace_file
from lethe.keys.secret import Secret
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import ConfigurationError
from lethe.tiers.evidence.log_store import published_history

FILE_NAME = "log.signing"


def signer_path(keys_dir: Path) -> Path:
    """Say where the signer's key file lies."""
    return keys_dir / FILE_NAME


def load_signer(keys_dir: Path) -> Signer | None:
    """Return the signer of this installation, None when none was made yet."""
    path = signer_path(keys_dir)
    with explained(f"cannot read the signer's key file {path}"):
        if not path.exists():
            return None
        mode = path.stat().st_mode & 0o077
        data = Secret(path.read_bytes())
    if mode:
        raise ConfigurationError(
            f"the signer's key file {path} is open to others than its owner: chmod 600 {path}"
        )
    return Signer.from_bytes(data.reveal())


def make_signer(keys_dir: Path, name: str, now: datetime) -> Signer:
    """Return the signer of this installation, made if there is none: racing callers end with the same one."""
    if (known := load_signer(keys_dir)) is not None:
        return known
    with explained(f"cannot write the signer's key file in {keys_dir}"):
        make_directories(keys_dir, 0o700)
        made = Signer.generate(name, int(now.timestamp()))
        create_file(signer_path(keys_dir), Secret(made.to_bytes()), 0o600)
    found = load_signer(keys_dir)
    if found is None:
        raise ConfigurationError(
            f"the signer's key file {signer_path(keys_dir)} was removed while it was made"
        )
    return found


def signer_of(runtime: Runtime) -> Signer:
    """Return the signer of this installation, made together with a new warehouse.

    Raises `ConfigurationError` when the warehouse has been signed for before and the key file is gone: other keys
    under the same name would make a second log beside the one that was signed.
    """
    directory = runtime.settings.keys_dir
    known = load_signer(directory)
    if known is None:
        _ = (
            runtime.key_directory.describe()
        )  # refuses a key directory that is missing or lies in the warehouse
        if published_history(runtime.objects) is not None:
            raise ConfigurationError(
                f"the signer's key file {signer_path(directory)} is missing, but the warehouse has a signed log: "
                "restore it from its backup"
            )
        known = make_signer(directory, runtime.settings.integrity.log_name, runtime.clock())
    return known


def rotate_signer(keys_dir: Path, now: datetime) -> Signer:
    """Hand over to new keys and return their signer. The old private keys are gone from then on.

    1. Read the key file, alone among all who rotate.
    2. Make the next keys, and have the old ones sign for them. A crash leaves the old keys in force.
    3. Put the new key file in the place of the old one. From here on the new keys sign.
    """
    with explained(f"cannot write the signer's key file in {keys_dir}"), _alone(keys_dir):
        # Step 1
        old = load_signer(keys_dir)
        if old is None:
            raise ConfigurationError(
                f"there are no signing keys in {keys_dir}; make them with lethe keys init"
            )
        # Step 2
        new = old.rotate(int(now.timestamp()))
        # Step 3
        replace_file(signer_path(keys_dir), Secret(new.to_bytes()), 0o600)
    return new


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
