"""The audit log: who asked what, and for which case, durable before an answer is shown.

Each line is a JSON object with its number, the digest of the line before it and an Ed25519 signature, so that a line
changed, removed or put in between shows. It holds tokens, never a value: when a month's key is gone, they say nothing.
"""

from __future__ import annotations

import fcntl
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lethe.keys.files import create_file, make_directories, sync_directory
from lethe.keys.secret import Secret
from lethe.schemas.errors import ConfigurationError, IntegrityError

_FIRST = "0" * 64
_LONGEST_LINE = 1 << 20


class AuditLog:
    """An append-only log in a directory of its own; several processes may append."""

    def __init__(self, directory: Path, key_directory: Path) -> None:
        self._file = directory / "audit.jsonl"
        self.directory = directory
        self._key_file = key_directory / "audit.signing"

    def append(self, entry: dict[str, Any], now: datetime) -> None:
        """Add an entry and return once it is on disk; raises `ConfigurationError` when it cannot be."""
        key = self._key()
        try:
            make_directories(self.directory, 0o700)
            with self._file.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                number, previous = _last(file)
                body = {
                    "number": number + 1,
                    "previous": previous,
                    "time": now.astimezone(UTC).isoformat(timespec="microseconds"),
                    **entry,
                }
                signed = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
                signature = b64encode(key.sign(signed)).decode()
                file.write(
                    orjson.dumps({**body, "signature": signature}, option=orjson.OPT_SORT_KEYS) + b"\n"
                )
                file.flush()
                os.fsync(file.fileno())
            sync_directory(self.directory)
        except OSError as error:
            raise self._unwritable(error) from None

    def check(self) -> None:
        """Open what an entry is written to and signed with, if it is there; raises `ConfigurationError` as `append`."""
        if self._key_file.exists():
            self._key()
        if self._file.exists():
            try:
                self._file.open("a+b").close()
            except OSError as error:
                raise self._unwritable(error) from None

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield every entry, oldest first, each one checked; raises `IntegrityError` at the first that does not fit."""
        if not self._file.exists():
            return
        public = self._key().public_key()
        previous, number = _FIRST, 0
        with self._file.open("rb") as file:
            for line in file:
                number += 1
                try:
                    entry = orjson.loads(line)
                    signature = entry.pop("signature")
                    public.verify(
                        b64decode(signature, validate=True), orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
                    )
                except (orjson.JSONDecodeError, InvalidSignature, KeyError, ValueError):
                    raise IntegrityError(f"audit log: entry {number} was changed") from None
                if entry["number"] != number or entry["previous"] != previous:
                    raise IntegrityError(f"audit log: an entry before number {number} was removed or added")
                previous = sha256(line).hexdigest()
                yield entry

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"the audit log {self._file} cannot be written: {error.strerror}; without an entry there is no answer"
        )

    def _key(self) -> Ed25519PrivateKey:
        try:
            if not self._key_file.exists():
                make_directories(self._key_file.parent, 0o700)
                create_file(self._key_file, Secret(Ed25519PrivateKey.generate().private_bytes_raw()), 0o600)
            return Ed25519PrivateKey.from_private_bytes(self._key_file.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the audit log's key {self._key_file} cannot be used: {type(error).__name__}"
            ) from None


def _last(file: Any) -> tuple[int, str]:
    """Return number and digest of the last line. A torn line, left by a crash, is cut off: its answer was never
    shown.
    """
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - _LONGEST_LINE)
    file.seek(start)
    tail = file.read(end - start)
    whole = tail.rfind(b"\n") + 1
    file.truncate(start + whole)
    if not whole:
        return 0, _FIRST
    line = tail[tail.rfind(b"\n", 0, whole - 1) + 1 : whole]
    return int(orjson.loads(line)["number"]), sha256(line).hexdigest()
