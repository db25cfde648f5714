"""The keys that sign the integrity log and the deletion certificates: one file in the key directory, made once."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from lethe.integrity.log.signing import Signer
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import ConfigurationError
from lethe.tiers.evidence.log_store import published_history
from lethe.tiers.evidence.signer_file import load_signer_file, make_signer_file, rotate_signer_file

FILE_NAME = "log.signing"
_WHAT = "the signer's key file"


def signer_path(keys_dir: Path) -> Path:
    """Say where the signer's key file lies."""
    return keys_dir / FILE_NAME


def load_signer(keys_dir: Path) -> Signer | None:
    """Return the signer of this installation, None when none was made yet."""
    return load_signer_file(signer_path(keys_dir), _WHAT)


def make_signer(keys_dir: Path, name: str, now: datetime) -> Signer:
    """Return the signer of this installation, made if there is none: racing callers end with the same one."""
    return make_signer_file(signer_path(keys_dir), _WHAT, name, now)


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
    """Hand over to new keys and return their signer. The old private keys are gone from then on."""
    new = rotate_signer_file(signer_path(keys_dir), _WHAT, now)
    if new is None:
        raise ConfigurationError(f"there are no signing keys in {keys_dir}; make them with lethe keys init")
    return new
