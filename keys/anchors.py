"""What is kept with the keys so that nobody who can only write the warehouse can give it another history.

    ledger.key            the key under which commits are authenticated, and from which version of the table on
    log.signed/<name>     the checkpoint that was signed or seen last for each log, named by the hash of its origin
    audit.signed/<name>   the same for the journals of the audit
    certificates.signed/  the same for the deletion certificates
    service.marks/        how far the service's database had come (`lethe.operations.health.watermark`)

A warehouse without its log looks like one that never had any. So what was signed is remembered here: a log never goes
back behind it. And what a commit says of itself is authenticated here: a log never takes in what nobody committed.
"""

from __future__ import annotations

import base64
import fcntl
import hmac
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

from lethe.keys.files import create_file, explained, make_directories, open_lock, replace_file
from lethe.keys.secret import Secret
from lethe.schemas.errors import ConfigurationError

_KEY: Final = "ledger.key"
_FORMAT: Final = "lethe/ledger-key/v1"
_KEY_SIZE: Final = 32
_DOMAIN: Final = b"lethe/commit/v1\x00"


@dataclass(frozen=True)
class LedgerKey:
    """Authenticates commits. Those of versions before `since` were made by a release that had no such key."""

    since: int
    _key: bytes = field(repr=False)

    def mac(self, message: bytes) -> bytes:
        """Compute HMAC-SHA256 (32 bytes) of what a commit says of itself."""
        return hmac.digest(self._key, _DOMAIN + message, "sha256")


@dataclass(frozen=True)
class Anchors:
    """The anchors in a key directory.

    `first_version` is asked when the ledger key is made: the first version of the metadata table that is going to be
    authenticated.
    """

    directory: Path
    first_version: Callable[[], int] = lambda: 0
    signed_in: str = "log.signed"
    """The folder of the checkpoints."""

    @cached_property
    def ledger_key(self) -> LedgerKey:
        """Return the ledger key, made if there is none: racing callers end with the same one."""
        path = self.directory / _KEY
        with explained(f"cannot use the ledger key {path}"):
            if not path.exists():
                if self.all_signed():
                    raise ConfigurationError(
                        f"the ledger key {path} is missing, and logs were signed with it: restore it from its backup"
                    )
                since = self.first_version()
                make_directories(self.directory, 0o700)
                key = base64.b64encode(os.urandom(_KEY_SIZE)).decode()
                content = {"format": _FORMAT, "key": key, "since": since}
                create_file(path, Secret(json.dumps(content).encode() + b"\n"), 0o600)
            data = path.read_bytes()
        return _parse(data, path)

    @property
    def known_ledger_key(self) -> LedgerKey | None:
        """Return the ledger key if this machine has it, as one that only verifies has not."""
        return self.ledger_key if (self.directory / _KEY).exists() else None

    def signed(self, origin: str) -> bytes | None:
        """Return the signed checkpoint of a log that was noted last, None when there is none."""
        path = self._path(origin)
        with explained(f"cannot read {path}"):
            return path.read_bytes() if path.exists() else None

    def all_signed(self) -> list[bytes]:
        """Return the signed checkpoints noted last of all logs, in no particular order."""
        folder = self.directory / self.signed_in
        with explained(f"cannot read {folder}"):
            return [p.read_bytes() for p in sorted(folder.glob("[0-9a-f]*"))] if folder.exists() else []

    @contextmanager
    def alone(self, origin: str) -> Iterator[Callable[[bytes], None]]:
        """Give what notes another checkpoint of a log; meanwhile nobody else on this machine notes one of it."""
        folder = self.directory / self.signed_in
        with explained(f"cannot write to {folder}"):
            make_directories(folder, 0o700)
            lock = (
                folder / f".{self._path(origin).name}.lock"
            )  # it stays: who removed it could let two in at once
            descriptor = open_lock(lock)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield lambda note: replace_file(self._path(origin), Secret(note), 0o600)
            finally:
                os.close(descriptor)

    def _path(self, origin: str) -> Path:
        return self.directory / self.signed_in / sha256(origin.encode()).hexdigest()


def _parse(data: bytes, path: Path) -> LedgerKey:
    try:
        content = json.loads(data)
        key, since = base64.b64decode(content["key"], validate=True), content["since"]
        if content["format"] != _FORMAT or len(key) != _KEY_SIZE or type(since) is not int:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        # Not chained: the cause could show key material.
        raise ConfigurationError(f"the ledger key {path} is damaged; restore it from its backup") from None
    return LedgerKey(since, key)
