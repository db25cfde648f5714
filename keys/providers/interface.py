"""Where key-encryption keys live: outside the warehouse, one per key id, and destroyed there."""

from __future__ import annotations

import builtins
import re
from datetime import datetime
from typing import Protocol

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,126}")


class KeyProvider(Protocol):
    """Hold key-encryption keys and use them; they never leave the provider.

    Every method raises `TransientError` when the provider does not answer in time or fails in a way that may
    pass, and `ConfigurationError` when a setting or a right is not as it must be. `wrap` and `unwrap` raise
    `ExpiredKeyError` for a key known to be destroyed and `ConfigurationError`, saying what to do, for one
    that is not there. No message holds key material. Methods may be called from several threads.

    tests/unit/keys/test_providers.py is the conformance suite: a new provider is added to its list.
    """

    def create(self, key_id: str) -> None:
        """Make a key, or leave the one that is there: racing callers end with the same key, durably.

        `ExpiredKeyError` when it was destroyed before, as far as the provider can know. `ConfigurationError` when
        the key could leave the provider (export, backup): then destroying it would not be final.
        """

    def wrap(self, key_id: str, plaintext: bytes) -> bytes:
        """Encrypt a data key (32 bytes), with `key_id` as associated data."""

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """Decrypt a data key. `IntegrityError` when it was not wrapped under this key and this key id."""

    def destroy(self, key_id: str) -> None:
        """Make what this key wrapped unreadable for ever, or begin to. Doing it again, or for no key, succeeds."""

    def destroyed_for_good_at(self, key_id: str) -> datetime | None:
        """Tell the instant from which the provider holds no copy of the key and nobody can bring it back.

        None while the key is there, or while its destruction could still be taken back. Never earlier than true: a
        provider that keeps no date answers with the present instant once the key is not there. It may lie in the
        future, when the destruction is final and the provider says how long its own backups live.
        """

    def list(self) -> builtins.list[str]:
        """List the ids of the keys that are there, sorted; those whose destruction can be taken back included."""

    def describe(self) -> str:
        """Say what this is and where, for a person; no credentials."""


def is_key_id(text: str) -> bool:
    """Tell whether this can name a file, a blob and a key of any provider.

    1 to 127 letters, digits, `.`, `_` and `-`, a letter or digit first, not ending in `.destroyed`.
    """
    return bool(_KEY_ID.fullmatch(text)) and not text.endswith(".destroyed")


def checked_key_id(text: str) -> str:
    """Return the key id itself; `ValueError` when it is none."""
    if not is_key_id(text):
        raise ValueError("a key id is 1 to 127 letters, digits, '.', '_', '-' and does not end in .destroyed")
    return text
