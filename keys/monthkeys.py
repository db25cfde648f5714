"""The four keys of one calendar month (or of one hold), derived from one secret."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lethe.keys.secret import Secret
from lethe.schemas.errors import IntegrityError

_SECRET_BYTES = 32


def new_secret() -> Secret:
    """Return a random secret for a month's keys."""
    return Secret(os.urandom(_SECRET_BYTES))


class MonthKeys:
    """Token, message, sealing and salt key under one key id: 32 bytes each.

    They are derived with HKDF-SHA256 (RFC 5869) from one random secret rather than wrapped one by one:
    opening a month costs one call to the provider, which may be remote and billed by the call, and a later
    version can add a fifth key without wrapping anything again. The secret is uniform, so HKDF needs no salt
    (RFC 5869, 3.1); the `info` strings differ, which makes the derived keys independent.

    `IntegrityError` when the secret is not 32 bytes long. Whoever holds an instance can use it for ever: ask
    the ring for it once per batch, and keep it no longer.
    """

    __slots__ = ("key_id", "message_key", "salt_key", "sealing_key", "token_key")

    def __init__(self, key_id: str, secret: Secret) -> None:
        if len(secret.reveal()) != _SECRET_BYTES:
            raise IntegrityError(f"the secret of the keys {key_id} is not of {_SECRET_BYTES} bytes")
        self.key_id = key_id
        self.token_key = _derive(secret, b"token")
        self.message_key = _derive(secret, b"message")
        self.sealing_key = _derive(secret, b"sealing")
        self.salt_key = _derive(secret, b"salt")

    def __repr__(self) -> str:
        return f"MonthKeys({self.key_id})"


def _derive(secret: Secret, purpose: bytes) -> Secret:
    info = b"lethe/month-key/v1/" + purpose
    return Secret(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.reveal()))
