"""Where key-encryption keys live: outside the warehouse, one per key id, and destroyed there."""

from __future__ import annotations

import builtins
import re
from typing import Protocol

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}")


class KeyProvider(Protocol):
    """Holds key-encryption keys and uses them; they never leave it.

    Every method raises `TransientError` when the provider does not answer in time or fails in a way that may
    pass, and `ConfigurationError` when a setting or a right is not as it must be. `wrap` and `unwrap` raise
    `ExpiredKeyError` for a key known to be destroyed and `ConfigurationError`, saying what to do, for one
    that is not there. No message holds key material.
    """

    def create(self, key_id: str) -> None:
        """Make a key, or leave the one that is there: racing callers end with the same key, durably.

        `ExpiredKeyError` when it was destroyed before, as far as the provider can know.
        """

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        """Encrypt a data key, with `key_id` as associated data."""

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """The data key. `IntegrityError` when it was not wrapped under this key and this key id."""

    def destroy(self, key_id: str) -> None:
        """Make what this key wrapped unreadable for ever. Doing it again, or for no key, succeeds."""

    def exists(self, key_id: str) -> bool:
        """Whether the key is there and can be used."""

    def list(self) -> builtins.list[str]:
        """The ids of the keys that are there, sorted."""

    def describe(self) -> str:
        """What this is and where, for a person; no credentials."""


def is_key_id(text: str) -> bool:
    """Whether this can name a file, a blob and a key of any provider.

    1 to 127 letters, digits, `.`, `_` and `-`, a letter or digit first, not ending in `.destroyed`.
    """
    return bool(_KEY_ID.fullmatch(text)) and not text.endswith(".destroyed")


def checked_key_id(text: str) -> str:
    """The key id itself; `ValueError` when it is none."""
    if not is_key_id(text):
        raise ValueError("a key id is 1 to 127 letters, digits, '.', '_', '-' and does not end in .destroyed")
    return text
