"""The audit file of earlier releases: one JSON object a line, each with the digest of the line before and a signature.

Nothing is written to it any more. The log of today begins with how many lines it had and the digest of the last one.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lethe.keys.files import explained
from lethe.schemas.errors import ConfigurationError, IntegrityError

NAME: Final = "audit.jsonl"
KEY: Final = "audit.signing"
_FIRST: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class End:
    """How a file ended: its whole lines, and the SHA-256 of the last one in hexadecimal."""

    lines: int
    digest: str


class EarlierFile:
    """The file in a directory, of the installation whose key lies in a key directory."""

    def __init__(self, directory: Path, key_directory: Path) -> None:
        self.path = directory / NAME
        self._key = key_directory / KEY

    def is_ours(self) -> bool:
        """Tell whether there is such a file and this installation has signed its first line.

        Two installations side by side had one file by default, which none but the first could read.
        """
        if not self._key.exists() or not self.path.exists():
            return False
        with explained(f"cannot read {self.path}"), self.path.open("rb") as file:
            first = file.readline()
        try:
            _checked(first, self._public())
        except IntegrityError:
            return False
        return True

    def end(self) -> End:
        """Say how the file ends, without checking it. A torn last line was never answered and does not count."""
        lines, last = 0, b""
        with explained(f"cannot read {self.path}"), self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    lines, last = lines + 1, line
        return End(lines, sha256(last).hexdigest())

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield every entry, oldest first, each one checked; raises `IntegrityError` at the first that does not fit."""
        public = self._public()
        previous, number = _FIRST, 0
        with explained(f"cannot read {self.path}"), self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                number += 1
                try:
                    entry = _checked(line, public)
                except IntegrityError:
                    raise IntegrityError(f"{self.path}: entry {number} was changed") from None
                if entry["number"] != number or entry["previous"] != previous:
                    raise IntegrityError(f"{self.path}: an entry before number {number} was removed or added")
                previous = sha256(line).hexdigest()
                yield entry

    def _public(self) -> Ed25519PublicKey:
        try:
            return Ed25519PrivateKey.from_private_bytes(self._key.read_bytes()).public_key()
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the key of the earlier audit file, {self._key}, cannot be used: {type(error).__name__}"
            ) from None


def _checked(line: bytes, public: Ed25519PublicKey) -> dict[str, Any]:
    """Return the entry of a line without its signature; raises `IntegrityError` when it is not signed."""
    try:
        entry: dict[str, Any] = orjson.loads(line)
        signature = b64decode(entry.pop("signature"), validate=True)
        public.verify(signature, orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
        return entry
    except (orjson.JSONDecodeError, InvalidSignature, AttributeError, KeyError, TypeError, ValueError):
        raise IntegrityError("an entry was changed") from None
