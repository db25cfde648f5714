"""The keys that sign checkpoints, and how one set of them hands over to the next.

A warehouse signs under one name for ever. Its key sets form a log of their own, `<name>/keys`: leaf n is the
text of set n (its two verifier keys, a line each), and the checkpoint of size n + 1 is the note that brings
in set n. It is signed by set n and, from the second on, by set n - 1: the old keys vouch for the new ones,
the new ones show that they are held. Who trusts any key of the chain can follow it from there. Specified in
docs/integrity.md, section 6.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint, cosigned_message
from lethe.integrity.log.note import ED25519, ML_DSA_44, Note, Signature, VerifierKey, is_name, sign_lines
from lethe.schemas.errors import ConfigurationError, IntegrityError

_NO_NOTE = b"\x00"  # no note has a NUL in it: what is endorsed can never pass for a signed note
FILE_FORMAT = "lethe/signer/v1"
MAX_SETS = 1000


@dataclass(frozen=True, slots=True)
class KeySet:
    """The two public keys that sign side by side."""

    ed25519: VerifierKey
    ml_dsa_44: VerifierKey

    def __str__(self) -> str:
        return f"{self.ed25519}\n{self.ml_dsa_44}\n"

    @property
    def keys(self) -> tuple[VerifierKey, VerifierKey]:
        """Both, in the order in which they are written and sign."""
        return self.ed25519, self.ml_dsa_44

    def verify(self, note: Note) -> None:
        """Check that both keys have signed; raises `IntegrityError` when either has not."""
        for key in self.keys:
            made = [signature for signature in note.signatures if key.signed(signature)]
            if not made:
                raise IntegrityError(
                    f"signed note: a signature by {key.name} ({key.key_id.hex()}) is missing"
                )
            for signature in made:
                key.verify(note.text, signature)


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """All key sets of a warehouse from the first to the current, with the notes that brought them in."""

    sets: tuple[KeySet, ...]
    notes: tuple[Note, ...]

    @classmethod
    def parse(cls, notes: Sequence[bytes]) -> KeyHistory:
        """Read and check a chain of hand-over notes; raises `IntegrityError` unless every link holds.

        A whole chain proves nothing by itself: `trust` ties it to a key that is known from elsewhere.
        """
        if not 0 < len(notes) <= MAX_SETS:
            raise IntegrityError(f"signing keys: 1 to {MAX_SETS} hand-over notes are expected")
        sets: list[KeySet] = []
        parsed = [Note.parse(note) for note in notes]
        for number, note in enumerate(parsed):
            checkpoint = Checkpoint.parse(note.text)
            if len(checkpoint.extension) != 2:
                raise IntegrityError(f"signing keys: note {number} does not name two keys")
            new = KeySet(*map(VerifierKey.parse, checkpoint.extension))
            sets.append(new)
            name = sets[0].ed25519.name
            if (new.ed25519.kind, new.ml_dsa_44.kind) != (ED25519, ML_DSA_44):
                raise IntegrityError(
                    f"signing keys: note {number} does not name an Ed25519 and an ML-DSA-44 key"
                )
            if {key.name for key in new.keys} != {name}:
                raise IntegrityError(f"signing keys: note {number} names keys of another name")
            if checkpoint != _introduction(sets):
                raise IntegrityError(f"signing keys: note {number} does not continue the chain")
            for signers in sets[-2:]:
                signers.verify(note)
            if len(note.signatures) != 2 * len(sets[-2:]):
                raise IntegrityError(f"signing keys: note {number} has signatures by others")
        return cls(tuple(sets), tuple(parsed))

    @property
    def name(self) -> str:
        """The name all keys sign under."""
        return self.sets[0].ed25519.name

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """Every key there was."""
        return tuple(key for keys in self.sets for key in keys.keys)

    def trust(self, keys: Sequence[VerifierKey]) -> None:
        """Tie the chain to keys the verifier trusts; raises `IntegrityError` unless all of them are in it.

        A trusted key vouches for what came after it by signing the hand-over, and for what was before it
        because the root it signed when it came in covers all earlier sets.
        """
        if not keys:
            raise IntegrityError("signing keys: at least one trusted verifier key is needed")
        for key in keys:
            if key not in self.keys:
                raise IntegrityError(f"signing keys: {key.name} ({key.key_id.hex()}) is not in the chain")

    def verify(self, note: Note) -> KeySet:
        """Check that one set has signed a note with both keys, and no key of the chain wrongly; returns the
        set.

        Raises `IntegrityError` otherwise.
        """
        signed = [keys for keys in self.sets if any(keys.ed25519.signed(line) for line in note.signatures)]
        if not signed:
            raise IntegrityError("signed note: none of the keys that are trusted has signed it")
        for keys in signed:
            keys.verify(note)
        return signed[-1]

    def endorsed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether a key of the chain has signed bytes with `Signer.endorse`."""
        for keys in self.sets:
            with suppress(InvalidSignature):
                Ed25519PublicKey.from_public_bytes(keys.ed25519.public).verify(signature, _NO_NOTE + message)
                return True
        return False


def _introduction(sets: Sequence[KeySet]) -> Checkpoint:
    """Return the checkpoint that brings in the last of `sets`."""
    root = merkle.root([merkle.leaf_hash(str(keys).encode()) for keys in sets])
    lines = tuple(str(key) for key in sets[-1].keys)
    return Checkpoint(f"{sets[0].ed25519.name}/keys", len(sets), root, lines)


@dataclass(frozen=True, slots=True)
class Signer:
    """The private keys of the current set and the chain that leads to it. Never shown by `repr`."""

    name: str
    history: KeyHistory = field(repr=False)
    _ed25519: Ed25519PrivateKey = field(repr=False)
    _ml_dsa_44: MLDSA44PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, name: str, now: int) -> Signer:
        """Make the first keys of a warehouse.

        `name` is best a URL without scheme that the operator owns, such as `lethe.example.com/cdr`; `now` is
        in seconds since 1970. Raises `ConfigurationError` for a name that keys cannot have.
        """
        # Origins are <name>/<stream>/<partition> and must fit in 255 bytes.
        if not is_name(name) or len(name.encode()) > 100:
            raise ConfigurationError("a signer's name has 1 to 100 bytes, no white space and no plus")
        return _introduce(name, (), (), now, None)

    def rotate(self, now: int) -> Signer:
        """Make the next set of keys, vouched for by this one. The old private keys are to be destroyed."""
        return _introduce(self.name, self.history.sets, self.history.notes, now, self)

    def sign(self, checkpoint: Checkpoint, now: int) -> Note:
        """Sign a checkpoint with both keys; `now` is in seconds since 1970.

        Raises `ConfigurationError` when the log's origin is too long to be signed.
        """
        return sign_lines(str(checkpoint), self._signatures(checkpoint, now))

    def endorse(self, message: bytes) -> bytes:
        """Sign bytes that are no note with the Ed25519 key: 64 bytes, the same for the same message."""
        return self._ed25519.sign(_NO_NOTE + message)

    def _signatures(self, checkpoint: Checkpoint, now: int) -> tuple[Signature, Signature]:
        ed25519, ml_dsa_44 = _public(self.name, self._ed25519, self._ml_dsa_44).keys
        try:
            message = cosigned_message(self.name, now, checkpoint)
        except ValueError:
            raise ConfigurationError(
                f"the log name {checkpoint.origin!r} is too long: 255 bytes at most"
            ) from None
        cosignature = now.to_bytes(8, "big") + self._ml_dsa_44.sign(message)
        return (
            Signature(self.name, ed25519.key_id, self._ed25519.sign(str(checkpoint).encode())),
            Signature(self.name, ml_dsa_44.key_id, cosignature),
        )

    def to_bytes(self) -> bytes:
        """Return the key file. It holds the private keys: it must be stored like one."""
        content = {
            "format": FILE_FORMAT,
            "name": self.name,
            "ed25519": base64.b64encode(self._ed25519.private_bytes_raw()).decode(),
            "ml_dsa_44": base64.b64encode(self._ml_dsa_44.private_bytes_raw()).decode(),
            "history": [bytes(note).decode() for note in self.history.notes],
        }
        return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Signer:
        """Read a key file; raises `ConfigurationError` when it is damaged or not the end of its chain."""
        try:
            content = json.loads(data)
            if content["format"] != FILE_FORMAT:
                raise ValueError
            history = KeyHistory.parse([note.encode() for note in content["history"]])
            private = (
                Ed25519PrivateKey.from_private_bytes(base64.b64decode(content["ed25519"], validate=True)),
                MLDSA44PrivateKey.from_seed_bytes(base64.b64decode(content["ml_dsa_44"], validate=True)),
            )
            if content["name"] != history.name or _public(history.name, *private) != history.sets[-1]:
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, IntegrityError):
            # Not chained: the cause could show key material.
            raise ConfigurationError("the signer's key file is damaged; restore it from its backup") from None
        return cls(history.name, history, *private)


def _public(name: str, ed25519: Ed25519PrivateKey, ml_dsa_44: MLDSA44PrivateKey) -> KeySet:
    return KeySet(
        VerifierKey(name, ED25519, ed25519.public_key().public_bytes_raw()),
        VerifierKey(name, ML_DSA_44, ml_dsa_44.public_key().public_bytes_raw()),
    )


def _introduce(
    name: str, sets: tuple[KeySet, ...], notes: tuple[Note, ...], now: int, old: Signer | None
) -> Signer:
    private = Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()
    sets = (*sets, _public(name, *private))
    unfinished = Signer(name, KeyHistory(sets, notes), *private)
    checkpoint = _introduction(sets)
    signatures: tuple[Signature, ...] = unfinished._signatures(checkpoint, now)
    if old:
        signatures += old._signatures(checkpoint, now)
    note = sign_lines(str(checkpoint), signatures)
    return Signer(name, KeyHistory(sets, (*notes, note)), *private)
