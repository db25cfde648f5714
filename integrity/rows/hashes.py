"""The salted hash of a record's original, which its archive row carries. Specified in docs/integrity.md,
section 1.

    salt           = HMAC-SHA256(month's salt key, position)[:16]
    integrity_hash = SHA-256("lethe/integrity-hash/v1" ‖ 0x00 ‖ salt ‖ original)

The salt is never stored. Once the month's key is destroyed nobody can compute it, and without its 128 bits
the hash cannot be matched to a guess, not even by someone who tries every phone number there is.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha3_512, sha256

import pyarrow as pa

from lethe.integrity.rows import compiled
from lethe.schemas.arrow import HASH

DOMAIN = b"lethe/integrity-hash/v1\x00"
SALT_SIZE = 16

_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def salt(salt_key: bytes, position: str) -> bytes:
    """Return the salt (16 bytes) of the record at `position`, a `lethe.schemas.position.Position` as text."""
    return hmac.digest(salt_key, position.encode(), "sha256")[:SALT_SIZE]


def integrity_hash(salt: bytes, original: bytes) -> bytes:
    """Return the salted hash (32 bytes) of the original."""
    return sha256(DOMAIN + salt + original).digest()


def integrity_hashes(salt_key: bytes, positions: Sequence[str], originals: Sequence[bytes]) -> pa.Array:
    """Compute `integrity_hash(salt(salt_key, position), original)` of every record, in order, as binary(32).

    Raises `ValueError` when there are not as many positions as originals.
    """
    # HMAC (RFC 2104) with both padded keys hashed once: copying a state costs a fifth of `hmac.digest`.
    key = (salt_key if len(salt_key) <= _BLOCK else sha256(salt_key).digest()).ljust(_BLOCK, b"\x00")
    inner = sha256(key.translate(_INNER)).copy
    outer = sha256(key.translate(_OUTER)).copy
    domain = sha256(DOMAIN).copy
    hashes: list[bytes] = []
    append = hashes.append
    for position, original in zip(positions, originals, strict=True):
        inside = inner()
        inside.update(position.encode())
        outside = outer()
        outside.update(inside.digest())
        state = domain()
        state.update(outside.digest()[:SALT_SIZE])
        state.update(original)
        append(state.digest())
    return pa.array(hashes, HASH)


def sha3_512_each(texts: Sequence[Sequence[bytes | memoryview]]) -> list[bytes]:
    """Compute SHA3-512 (64 bytes) of each text, which is given in pieces, one after the other."""
    found = compiled.sha3_512(texts)
    if found is not None:
        return found
    digests = []
    for text in texts:
        state = sha3_512()
        for piece in text:
            state.update(piece)
        digests.append(state.digest())
    return digests
