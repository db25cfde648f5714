"""Deletion certificates: what was forgotten, when it was due, when it was done and how it was checked.

Certificate n is leaf n of a Merkle tree (RFC 9162), and its file holds the checkpoint of size n + 1, signed with the
keys of the integrity log, under the origin `<name>/certificates`. A certificate that is changed, removed or put in
between shows in all that come after it; one that is removed from the end shows by what is kept with the keys of the
newest checkpoint. The file is complete in itself: certificate, proof that it is the last leaf of its tree, signed
checkpoint, and the chain of verifier keys.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note, VerifierKey
from lethe.integrity.log.signing import KeyHistory, Signer
from lethe.integrity.log.store import Memory, remember
from lethe.integrity.rows import canonical_json
from lethe.schemas.errors import IntegrityError, TransientError
from lethe.tiers.store.failpoint import fail_point
from lethe.tiers.store.objects import Objects

_FOLDER: Final = "_certificates"
_NAME: Final = re.compile(r"_certificates/([0-9]{8})\.json")
_TRIES: Final = 50
_MOST_BYTES: Final = 64 << 20

METHOD: Final = (
    "NIST SP 800-88: cryptographic erase (destruction of the key-encryption key), then deletion of every file"
)
DELETION: Final = "NIST SP 800-88 clear: rows rewritten away, then deletion of every file that held them"


class Registrar:
    """Issues certificates. Several processes may: a number is given once, and a work is certified once.

    `memory` keeps, away from the warehouse, what was signed last: none is signed below it.
    """

    def __init__(self, objects: Objects, signer: Signer, memory: Memory | None = None) -> None:
        self._objects = objects
        self._signer = signer
        self._memory = memory

    @property
    def history(self) -> KeyHistory:
        """The keys the certificates are signed with, which are those of the integrity log."""
        return self._signer.history

    def issue(
        self, work: str, kind: str, body: Mapping[str, Any], now: datetime, since: int = 0
    ) -> dict[str, Any]:
        """Certify a work and return the certificate; the one there is, if the work has been certified before.

        1. Look for the work among the certificates from number `since` on, as many as there were when the work
           was begun. A crash after step 3 ends here the next time. Fewer or others than were signed: nothing is signed.
        2. Put the certificate behind the last one and sign the tree that ends with it.
        3. Create its file: the one step that only one of several issuers of a number gets through.
        4. Note the checkpoint in `memory`. A crash before it leaves an older one there, which these have grown from.
        """
        for _ in range(_TRIES):
            # Step 1
            noted = _noted(self._memory, self._signer.name)  # first: others may issue and note more meanwhile
            last = numbers(self._objects)
            if last and last[-1] != len(last) - 1:
                raise IntegrityError(
                    "a deletion certificate is missing; nothing is signed until it is brought back"
                )
            _continue(self._objects, len(last), noted)
            if known := of_work(self._objects, work, last[since:]):
                self._note(str(read(self._objects, last[-1])["checkpoint"]).encode())
                return known
            # Step 2
            number = len(last)
            proof = _proof_after(read(self._objects, number - 1)) if number else []
            certificate = {
                "version": 1,
                "number": number,
                "kind": kind,
                "work": work,
                **body,
                "certified": now.astimezone(UTC).isoformat(timespec="microseconds"),
            }
            leaf = merkle.leaf_hash(canonical(certificate))
            checkpoint = Checkpoint(_origin(self._signer.name), number + 1, _root(leaf, proof))
            note = self._signer.sign(checkpoint, int(now.timestamp()))
            document = {
                "certificate": certificate,
                "proof": [b64encode(h).decode() for h in proof],
                "checkpoint": bytes(note).decode(),
                "keys": [bytes(n).decode() for n in self._signer.history.notes],
            }
            # Step 3
            fail_point("certificate.signed")
            if self._objects.create(
                path_of(number), orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
            ):
                fail_point("certificate.written")
                # Step 4
                self._note(bytes(note))
                return certificate
        raise TransientError("other processes issue certificates all the time; try again")

    def _note(self, signed: bytes) -> None:
        if self._memory is not None:
            remember(self._memory, self._signer.history, _origin(self._signer.name), signed)


def canonical(certificate: Mapping[str, Any]) -> bytes:
    """Return the bytes of a certificate that are hashed: JSON, keys sorted, no white space."""
    return orjson.dumps(dict(certificate), option=orjson.OPT_SORT_KEYS)


def path_of(number: int) -> str:
    """Say where certificate `number` lies."""
    return f"{_FOLDER}/{number:08d}.json"


def numbers(objects: Objects) -> list[int]:
    """Return the numbers of the certificates there are, in order."""
    return sorted(int(m[1]) for p in objects.list(_FOLDER) if (m := _NAME.fullmatch(p)))


def read(objects: Objects, number: int) -> dict[str, Any]:
    """Return the document of certificate `number`, not verified; raises `IntegrityError` when it is missing or
    damaged.
    """
    data = objects.get(path_of(number))
    if data is None:
        raise IntegrityError("there is no deletion certificate of this number")
    return parse(data)


def parse(data: bytes) -> dict[str, Any]:
    """Return a document from its bytes; raises `IntegrityError` when it is none."""
    try:
        document = orjson.loads(data[: _MOST_BYTES + 1])
        fields = {"certificate": dict, "proof": list, "checkpoint": str, "keys": list}
        if document.keys() != fields.keys() or not all(
            isinstance(document[name], kind) for name, kind in fields.items()
        ):
            raise ValueError
        if orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n" != data:
            canonical_json.parse(
                data
            )  # which refuses a field twice: readers differ in which of the two they take
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IntegrityError("this is no deletion certificate, or it is damaged") from None
    return dict(document)


def of_work(objects: Objects, work: str, among: Sequence[int]) -> dict[str, Any] | None:
    """Return the certificate of a work, if it is one of these numbers."""
    certificates = (read(objects, number)["certificate"] for number in among)
    return next((dict(known) for known in certificates if known["work"] == work), None)


def every(objects: Objects) -> Iterator[dict[str, Any]]:
    """Return every certificate, oldest first, not verified."""
    return (read(objects, number)["certificate"] for number in numbers(objects))


def verify(document: Mapping[str, Any], trusted: Sequence[VerifierKey]) -> dict[str, Any]:
    """Return the certificate of a document; raises `IntegrityError` unless it is as it was signed under a trusted
    key.
    """
    try:
        history = KeyHistory.parse([str(note).encode() for note in document["keys"]])
        # One from before a hand-over has a shorter chain than the installation: each of its keys is known then.
        if not set(history.keys) <= set(trusted):
            history.trust(trusted)
        note = Note.parse(str(document["checkpoint"]).encode())
        proof = [b64decode(h, validate=True) for h in document["proof"]]
        certificate = dict(document["certificate"])
        number = int(certificate["number"])
    except (KeyError, TypeError, ValueError):
        raise IntegrityError("this is no deletion certificate, or it is damaged") from None
    history.verify(note)
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != _origin(history.name) or checkpoint.size != number + 1:
        raise IntegrityError(f"certificate {number}: the signature is that of another one")
    leaf = merkle.leaf_hash(canonical(certificate))
    try:
        merkle.verify_inclusion(leaf, number, checkpoint.size, proof, checkpoint.root)
    except IntegrityError:
        raise IntegrityError(f"certificate {number} was changed after it was signed") from None
    return certificate


def verify_all(objects: Objects, trusted: Sequence[VerifierKey], memory: Memory | None = None) -> int:
    """Verify every certificate and that none is missing; returns how many there are. Raises `IntegrityError`.

    Only `memory`, which keeps what was signed last, tells that the last ones are missing.
    """
    noted = _noted(memory, trusted[0].name) if trusted else None
    found = numbers(objects)
    proof: list[bytes] = []
    for number in range(found[-1] + 1 if found else 0):
        document = read(objects, number)
        if verify(document, trusted)["number"] != number:
            raise IntegrityError(f"certificate {number} was put in the place of another one")
        if [b64decode(h) for h in document["proof"]] != proof:
            raise IntegrityError(f"certificate {number} does not follow on the ones before it")
        proof = _proof_after(document)
    _continue(objects, len(found), noted)
    return len(found)


def _noted(memory: Memory | None, name: str) -> Checkpoint | None:
    """Return the checkpoint of the certificates that was noted last, None where none is."""
    signed = None if memory is None else memory.signed(_origin(name))
    return None if signed is None else Checkpoint.parse(Note.parse(signed).text)


def _continue(objects: Objects, count: int, noted: Checkpoint | None) -> None:
    """Raise `IntegrityError` unless the certificates that there are continue those that were signed."""
    if noted is None:
        return
    if count < noted.size:
        raise IntegrityError(
            f"there are {count} deletion certificates, but {noted.size} were signed: the last were removed or an older "
            "copy was put back; nothing is signed until they are brought back"
        )
    if (
        Checkpoint.parse(Note.parse(str(read(objects, noted.size - 1)["checkpoint"]).encode()).text).root
        != noted.root
    ):
        raise IntegrityError(f"deletion certificate {noted.size - 1} is not the one that was signed")


def _origin(name: str) -> str:
    return f"{name}/certificates"


def _root(leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """Return the root of the tree whose last leaf is `leaf`: every hash of its inclusion proof stands on the left."""
    node = leaf
    for left in proof:
        node = merkle.node_hash(left, node)
    return node


def _proof_after(document: Mapping[str, Any]) -> list[bytes]:
    """Return the inclusion proof of the leaf that comes next: the complete subtrees up to here, smallest first."""
    certificate = document["certificate"]
    peaks = [b64decode(h) for h in document["proof"]]
    node, number = merkle.leaf_hash(canonical(certificate)), int(certificate["number"])
    while number & 1:
        node, number = merkle.node_hash(peaks.pop(0), node), number >> 1
    return [node, *peaks]
