"""Signed notes and verifier keys as C2SP signed-note v1.0.0 defines them, for two signature types.

    0x01  Ed25519 over the text of the note
    0x06  ML-DSA-44 cosignature of a checkpoint (C2SP tlog-cosignature): 8-byte big-endian time ‖ signature

Signatures by unknown keys are ignored; one by a known key that does not verify refuses the note.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from lethe.integrity.log.checkpoint import Checkpoint, cosigned_message
from lethe.schemas.errors import IntegrityError

ED25519 = 0x01
ML_DSA_44 = 0x06

MAX_NOTE_SIZE = 1 << 20
MAX_SIGNATURES = 100

_PUBLIC_SIZE = {ED25519: 32, ML_DSA_44: 1312}
_SIGNATURE_SIZE = {ED25519: 64, ML_DSA_44: 8 + 2420}
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who says to have signed, the first 4 bytes of the key's hash, the signature."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"

    @property
    def time(self) -> int:
        """When a cosignature says it was made, in seconds since 1970; meaningless for other types."""
        return int.from_bytes(self.value[:8], "big")


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a newline, and the signatures under it."""

    text: str
    signatures: tuple[Signature, ...]

    def __bytes__(self) -> bytes:
        return (self.text + "\n" + "".join(map(str, self.signatures))).encode()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read a note; raises `IntegrityError` when it is malformed. Nothing in it is verified yet."""
        if len(data) > MAX_NOTE_SIZE:
            raise IntegrityError("signed note: it is too long")
        try:
            note = data.decode()
        except UnicodeDecodeError:
            raise IntegrityError("signed note: it is not UTF-8") from None
        if _CONTROL.search(note):
            raise IntegrityError("signed note: it holds control characters")
        body, gap, lines = note.rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise IntegrityError("signed note: a text, a blank line and signature lines are expected")
        found = lines[:-1].split("\n")
        if len(found) > MAX_SIGNATURES:
            raise IntegrityError(f"signed note: it has more than {MAX_SIGNATURES} signatures")
        return cls(body + "\n", tuple(map(_signature, found)))


def _signature(line: str) -> Signature:
    match = _LINE.fullmatch(line)
    if not match:
        raise IntegrityError("signed note: a signature line is malformed")
    decoded = decode_base64(match[2])
    if len(decoded) < 5:
        raise IntegrityError("signed note: a signature is too short")
    return Signature(match[1], decoded[:4], decoded[4:])


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name it signs under, written `name+hex(key id)+base64(type ‖ public key)`."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Return SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a verifier key; raises `IntegrityError` unless it is whole and of a type known here."""
        parts = text.split("+", 2)
        if len(parts) != 3 or not is_name(parts[0]):
            raise IntegrityError("verifier key: it is written name+hash+key")
        material = decode_base64(parts[2])
        if material[:1] not in (b"\x01", b"\x06"):
            raise IntegrityError("verifier key: only Ed25519 (type 1) and ML-DSA-44 (type 6) are supported")
        key = cls(parts[0], material[0], material[1:])
        if len(key.public) != _PUBLIC_SIZE[key.kind]:
            raise IntegrityError("verifier key: the key is of the wrong length")
        if key.key_id.hex() != parts[1]:
            raise IntegrityError("verifier key: the hash is not that of the key; copy the whole line")
        return key

    def signed(self, signature: Signature) -> bool:
        """Tell whether a line claims to be by this key."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verify(self, text: str, signature: Signature) -> None:
        """Check a signature that claims to be by this key; raises `IntegrityError` when it does not hold."""
        if len(signature.value) != _SIGNATURE_SIZE[self.kind]:
            raise IntegrityError(f"signed note: the signature by {self.name} is of the wrong length")
        try:
            if self.kind == ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature.value, text.encode())
            else:
                message = cosigned_message(self.name, signature.time, Checkpoint.parse(text))
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature.value[8:], message)
        except (InvalidSignature, ValueError):
            raise IntegrityError(f"signed note: the signature by {self.name} does not hold") from None


def verify(note: Note, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Check every signature of a known key and return those keys, at least one.

    Raises `IntegrityError` when a known key's signature does not hold, and when no known key has signed.
    """
    signers = []
    for key in keys:
        for signature in filter(key.signed, note.signatures):
            key.verify(note.text, signature)
            signers.append(key)
    if not signers:
        raise IntegrityError("signed note: none of the keys that are trusted has signed it")
    return signers


def is_name(text: str) -> bool:
    """Tell whether a key may have this name: not empty, at most 255 bytes, no white space, no plus, no control."""
    return bool(re.fullmatch(r"[^\s+\x00-\x1f]+", text)) and len(text.encode()) <= 255


def decode_base64(text: str) -> bytes:
    """Decode standard base64 in its one canonical spelling; raises `IntegrityError` for any other."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    if data is None or base64.b64encode(data).decode() != text:
        raise IntegrityError("signed note: the base64 is malformed")
    return data


def sign_lines(text: str, signatures: Sequence[Signature]) -> Note:
    """Put signatures under a text; raises `ValueError` for a text that a note cannot hold."""
    note = Note(text, tuple(signatures))
    if not signatures or Note.parse(bytes(note)) != note:
        raise ValueError("this text cannot be a signed note")
    return note
