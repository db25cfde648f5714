"""Key-encryption keys as files in a directory of this machine.

Right for one machine and for trying things out. The directory must not be on the warehouse's storage nor in
its backups, and one directory serves one warehouse.

What destruction means here: the file is overwritten, removed, and the removal made durable. On a disk that
writes in place, the key is gone. Flash storage (SSD), copy-on-write and log-structured file systems (btrfs,
ZFS), journals of data, snapshots and backups may keep the old block where no overwriting reaches it. Where
that matters, keep the directory on an encrypted volume whose own key can be destroyed, without snapshots, or
use a provider in hardware: cryptographic erase counts only if no copy of the key stays (NIST SP 800-88).
"""

from __future__ import annotations

import builtins
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lethe.keys.files import (
    create_file,
    explained,
    first_mode,
    make_directories,
    refuse_open,
    sync_directory,
    temporaries,
)
from lethe.keys.providers.interface import checked_key_id, is_key_id
from lethe.keys.secret import Secret
from lethe.schemas.errors import ConfigurationError, ExpiredKeyError, IntegrityError

_KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"
_DOMAIN = b"lethe/wrapped/v1\0"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


class LocalProvider:
    """A `KeyProvider`: `KEYID.key` holds 32 random bytes (mode 0600), `KEYID.destroyed` is its tombstone.

    The directory has to be there, for its owner alone (mode 0700): making a missing one silently would make
    new keys beside an unmounted volume. `initialise` makes one. `clock` dates the tombstones. With `group`, a group of
    this machine without persons in it, the directory may be for that group too (mode 2770), and so are the files
    that are made in it then: worker and service run under users of their own.

    A tombstone is JSON without key material. It wins over a key file in every method, which is what makes
    destruction final in a race: whoever links a key file looks for the tombstone afterwards, whoever destroys
    writes the tombstone first, so one of the two sees the other.

    Wrapping is AES-256-GCM with a random nonce, `0x01 ‖ nonce ‖ ciphertext ‖ tag`, and the key id as
    associated data (RFC 5116). A key wraps one secret, or a few when workers race: far from the 2^32 messages
    that random nonces allow (NIST SP 800-38D, 8.3).
    """

    def __init__(
        self, directory: Path, clock: Callable[[], datetime] = _utc_now, group: str | None = None
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._group = group
        self._check_directory()

    @classmethod
    def initialise(
        cls, directory: Path, clock: Callable[[], datetime] = _utc_now, group: str | None = None
    ) -> LocalProvider:
        """Make the directory if there is none, for its owner alone (a group too, below its own); open it."""
        with explained(f"cannot make the key directory {directory}"):
            make_directories(directory.parent)
            if not directory.exists():
                make_directories(directory, first_mode(directory.parent, group))
        return cls(directory, clock, group)

    def create(self, key_id: str) -> None:
        """Make a key, or leave the one that is there; `ExpiredKeyError` when it was destroyed."""
        path = self._key_path(key_id)
        self._check_directory()
        self._refuse_destroyed(key_id)
        with explained(f"cannot make the key {key_id} in {self._directory}"):
            try:
                # A crash in here leaves at worst a temporary file: a key that never wrapped anything, or a
                # second name of this one. `destroy` overwrites and removes both.
                create_file(path, Secret(os.urandom(_KEY_BYTES)), 0o600)
            except FileNotFoundError:
                # `destroy` ran meanwhile and removed the temporary file; otherwise the directory is gone.
                self._refuse_destroyed(key_id)
                raise
        if self._is_destroyed(key_id):
            # `destroy` may have looked before the key file was there. No one has used it: see `_load`.
            self._remove(key_id)
        self._load(key_id)

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        """Encrypt a data key under this key and key id."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._load(key_id).reveal()).encrypt(nonce, plaintext, _DOMAIN + key_id.encode())
        return _VERSION + nonce + sealed

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Decrypt a data key; `IntegrityError` when it was not wrapped under this key and key id."""
        key = self._load(key_id)
        nonce, sealed = wrapped[1 : 1 + _NONCE_BYTES], wrapped[1 + _NONCE_BYTES :]
        if wrapped[:1] == _VERSION and len(nonce) == _NONCE_BYTES:
            with suppress(InvalidTag):
                return AESGCM(key.reveal()).decrypt(nonce, sealed, _DOMAIN + key_id.encode())
        raise IntegrityError(
            f"the wrapped key {key_id} does not open with the key in {self._directory}: it was changed, "
            "or this is the key directory of another warehouse"
        )

    def destroy(self, key_id: str) -> None:
        """Destroy a key for ever. Restartable: run again after a crash, it does what is left.

        1. Write the tombstone. From here on no one can use the key or make it again.
        2. Overwrite the key file, as far as the storage allows (see the module).
        3. Remove it and make the removal durable.
        """
        tombstone = {"key_id": checked_key_id(key_id), "destroyed": self._clock().isoformat()}
        self._check_directory()
        with explained(f"cannot destroy the key {key_id} in {self._directory}"):
            create_file(self._destroyed_path(key_id), Secret(json.dumps(tombstone).encode() + b"\n"), 0o600)
        self._remove(key_id)

    def destroyed_for_good_at(self, key_id: str) -> datetime | None:
        """Return the present instant once no file of the key is left in the directory, None before."""
        self._check_directory()
        path = self._key_path(key_id)
        with explained(f"cannot look into the key directory {self._directory}"):
            left = path.exists() or temporaries(path)
        return None if left else self._clock()

    def list(self) -> builtins.list[str]:
        """List the ids of the keys whose file is there, sorted.

        One whose destruction was interrupted is among them: it has a tombstone and may still have its bytes.
        """
        self._check_directory()
        with explained(f"cannot look into the key directory {self._directory}"):
            names = {entry.name for entry in os.scandir(self._directory)}
        ids = {name.removesuffix(".key") for name in names if name.endswith(".key")}
        return sorted(key_id for key_id in ids if is_key_id(key_id))

    def describe(self) -> str:
        """Say what this is and where."""
        return f"local directory {self._directory}"

    def _load(self, key_id: str) -> Secret:
        self._check_directory()
        key = self._read(key_id)
        # In this order: a key that was read before there was a tombstone was read before it was overwritten.
        self._refuse_destroyed(key_id)
        if key is None:
            raise ConfigurationError(
                f"the key {key_id} is not in {self._directory}: check that this is the key directory of this "
                "warehouse and that it is mounted, or restore the key from its backup"
            )
        return key

    def _read(self, key_id: str) -> Secret | None:
        path = self._key_path(key_id)
        with explained(f"cannot read the key file {path}"):
            try:
                with open(path, "rb", buffering=0, opener=_no_link) as file:
                    mode = os.fstat(file.fileno()).st_mode
                    key = Secret(file.read(_KEY_BYTES + 1))
            except FileNotFoundError:
                return None
        if mode & (stat.S_IRWXO if self._shared else stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigurationError(
                f"the key file {path} is open to others than its owner: chmod {660 if self._shared else 600} {path}"
            )
        if len(key.reveal()) != _KEY_BYTES:
            raise ConfigurationError(f"the key file {path} is damaged: restore it from its backup")
        return key

    def _remove(self, key_id: str) -> None:
        path = self._key_path(key_id)
        with explained(f"cannot remove the key file {path}"):
            for leftover in (path, *temporaries(path)):
                # A file that cannot be overwritten (mode 0400) can still be removed.
                with suppress(OSError), open(leftover, "r+b", buffering=0, opener=_no_link) as file:
                    file.write(os.urandom(_KEY_BYTES))
                    os.fsync(file.fileno())
                leftover.unlink(missing_ok=True)
            sync_directory(self._directory)

    def _is_destroyed(self, key_id: str) -> bool:
        with explained(f"cannot look into the key directory {self._directory}"):
            return self._destroyed_path(key_id).exists()

    def _refuse_destroyed(self, key_id: str) -> None:
        if self._is_destroyed(key_id):
            raise ExpiredKeyError(f"the key {key_id} was destroyed; nothing brings it back")

    def _check_directory(self) -> None:
        with explained(f"cannot open the key directory {self._directory}"):
            mode = self._directory.stat().st_mode
        if not stat.S_ISDIR(mode):
            raise ConfigurationError(f"the key directory {self._directory} is not a directory")
        refuse_open("the key directory", self._directory, self._group)
        self._shared = bool(mode & stat.S_IRWXG)

    def _key_path(self, key_id: str) -> Path:
        return self._directory / f"{checked_key_id(key_id)}.key"

    def _destroyed_path(self, key_id: str) -> Path:
        return self._directory / f"{checked_key_id(key_id)}.destroyed"
