"""Verify a Lethe evidence file: `python verify_evidence.py FILE --key VERIFIER_KEY`.

This file stands alone. It needs Python 3.11 or later and the package `cryptography` (47 or later), nothing
else of Lethe and no network. It is written to be read: what is proven, and how, is in this order.

    meaning of its fields ──► declaration in the log entry  (SHA-256)
    original ──► integrity_hash in the archive row          (salted SHA-256)
    archive row ──► tree of its commit                      (Merkle inclusion proof)
    commit ──► log of its topic-partition                   (Merkle inclusion proof)
    log ──► checkpoint signed with Ed25519 and ML-DSA-44    (C2SP signed note)
    signing keys ──► the key you trust                      (chain of hand-overs)
    checkpoint ──► time stamp, if there is one              (RFC 3161)

Every field of the file is checked by one of these steps, or computed again and compared. Whatever does not
hold stops the verification with one sentence that says what it is. The formats are specified in
docs/integrity.md.
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import new as new_hash
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

FORMATS = {"lethe/evidence/v1": 1, "lethe/evidence/v2": 2}
"""Version 1 is of log entries that say nothing of what the fields of an original mean."""
MAX_FILE = 64 << 20

Object = dict[str, Any]
T = TypeVar("T")


class EvidenceError(Exception):
    """The evidence does not hold; the text says which part of it."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What the evidence proves: plain sentences, and what they rest on; `limits` say what it does not prove."""

    record: str
    summary: list[str]
    limits: list[str]
    original: bytes | None
    stamped: datetime | None
    authority_known: bool


def verify(data: bytes, trusted: list[str], stamp_roots: list[x509.Certificate] | None = None) -> Proven:
    """Verify an evidence file against verifier keys, and its time stamp against root certificates.

    `data` is the file, `trusted` holds verifier keys (`name+hash+key`), all of which must be in the file's
    chain of keys. Raises `EvidenceError` for anything that does not hold.
    """
    file = _parse(data)
    version = FORMATS[file["format"]]
    row, entry = _object(file, "row", None), _object(file, "entry", ENTRY_FIELDS[version])
    record = _record(row, entry)

    original = _original(file, row) if "original" in file else None
    leaf = _leaf_hash(encode_row(row))
    index, proof = _proof(file, "row_proof")
    _included(leaf, index, entry["count"], proof, _hex(entry, "root", 32), "row_proof")

    checkpoint = _text(file, "checkpoint")
    origin, size, root, extension = _checkpoint(_note(checkpoint)[0])
    _demand(not extension, "the checkpoint has lines that are not proven")
    index, proof = _proof(file, "entry_proof")
    _included(_leaf_hash(encode_entry(entry)), index, size, proof, root, "entry_proof")

    sets = _key_history(_texts(file, "key_history"))
    _trust(sets, trusted)
    _signed_by_one(checkpoint, sets)
    name = sets[0][0].name
    logs = (f"{name}/{entry['stream']}/{entry['partition']}", f"{name}/=replays/0")
    _demand(origin in logs, "the checkpoint is of another log")

    stamped = None
    if "time_stamp" in file:
        stamped = verify_stamp(_bytes(file, "time_stamp"), checkpoint.encode(), stamp_roots or [])
    declaration = _declaration(file, row, entry) if "declaration" in file else None
    parties = _parties(file, original, declaration)
    said = summary(row, parties, original is not None, origin, index, stamped)
    unproven = limits(
        original is not None, bool(parties), declaration is not None, stamped is not None, version
    )
    if declaration is not None and not taken_apart(declaration, str(file["original"]["form"])):
        unproven.insert(
            0,
            "The original is of a shape in which origin and destination are not looked for: read them in it.",
        )
    if declaration is not None:
        said.append(
            f"What the fields of the original mean is what the declaration {row['format']}, version "
            f"{row['format_version']}, says, which was logged with the record."
        )
    expected = said if version == 1 else said + unproven
    _demand(_texts(file, "summary") == expected, "the summary is not what the record says")
    return Proven(record, expected, unproven, original, stamped, bool(stamp_roots))


# The file: one JSON object, every field known, nothing twice, every value in its one spelling.

FIELDS = {
    "format", "summary", "original", "parties", "row", "row_proof", "entry", "entry_proof",
    "checkpoint", "time_stamp", "key_history",
}  # fmt: skip
OPTIONAL_FIELDS = {"original", "declaration", "parties", "time_stamp"}
ENTRY_FIELDS_1 = {
    "stream", "partition", "first_offset", "last_offset", "count", "root", "sha3_512", "leaves", "months",
    "version",
}  # fmt: skip
ENTRY_FIELDS = {1: ENTRY_FIELDS_1, 2: ENTRY_FIELDS_1 | {"outside", "declarations"}}


def _demand(holds: object, otherwise: str) -> None:
    if not holds:
        raise EvidenceError(otherwise)


def _need(value: T | None, otherwise: str) -> T:
    if value is None:
        raise EvidenceError(otherwise)
    return value


def _parse(data: bytes) -> Object:
    _demand(len(data) <= MAX_FILE, "the file is too large to be evidence")

    def once(pairs: list[tuple[str, Any]]) -> Object:
        _demand(len(dict(pairs)) == len(pairs), "the file has a field twice")
        return dict(pairs)

    try:
        file = json.loads(data.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise EvidenceError("the file is not JSON, or is cut short") from None
    known = isinstance(file, dict) and isinstance(file.get("format"), str) and file["format"] in FORMATS
    _demand(known, f"the file is no evidence of the format {' or '.join(FORMATS)}")
    fields = FIELDS if FORMATS[file["format"]] == 1 else FIELDS | {"declaration"}
    _same_fields(file, fields, fields - OPTIONAL_FIELDS, "the file")
    for name in ("parties", "declaration"):
        told = f"the file has {name} but not the original it is about: ask for it again"
        _demand(name not in file or "original" in file, told)
    return file  # type: ignore[no-any-return]


def _same_fields(value: Object, allowed: set[str], required: set[str], where: str) -> None:
    for name in sorted(value.keys() - allowed):
        raise EvidenceError(f"{where} has a field that is not known: {name[:40]!r}")
    for name in sorted(required - value.keys()):
        raise EvidenceError(f"{where} lacks the field {name}")


def _object(file: Object, name: str, fields: set[str] | None) -> Object:
    value = file[name]
    _demand(isinstance(value, dict), f"{name} is not an object")
    if fields is not None:
        _same_fields(value, fields, fields, name)
    return value  # type: ignore[no-any-return]


def _text(value: Object, name: str) -> str:
    _demand(isinstance(value[name], str), f"{name} is not a text")
    try:
        value[name].encode()
    except UnicodeEncodeError:
        raise EvidenceError(f"{name} is not a text") from None
    return str(value[name])


def _texts(value: Object, name: str) -> list[str]:
    _demand(isinstance(value[name], list), f"{name} is not a list")
    return [_text({name: item}, name) for item in value[name]]


def _natural(value: Object, name: str, bits: int = 63) -> int:
    number = value[name]
    _demand(type(number) is int and 0 <= number < 1 << bits, f"{name} is not a number in its range")
    return int(number)


def _hex(value: Object, name: str, size: int) -> bytes:
    text = _text(value, name)
    _demand(re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text), f"{name} is not {size} bytes in hexadecimal")
    return bytes.fromhex(text)


def _bytes(value: Object, name: str) -> bytes:
    return _base64(_text(value, name), name)


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = None
    _demand(data is not None and base64.b64encode(data).decode() == text, f"{what} is not proper base64")
    return data or b""


def _proof(file: Object, name: str) -> tuple[int, list[bytes]]:
    proof = _object(file, name, {"index", "hashes"})
    texts = _texts(proof, "hashes")
    _demand(len(texts) <= 64, f"{name} is too long")
    return _natural(proof, "index"), [_hex({name: text}, name, 32) for text in texts]


# The original and the archive row.

DOMAIN = b"lethe/integrity-hash/v1\x00"


def _record(row: Object, entry: Object) -> str:
    """Return the record's name, stream/partition/offset[/index], after checking that it is of that commit."""
    for name in ("stream", "partition", "offset", "event_time", "integrity_hash"):
        _demand(name in row, f"the row lacks {name}")
    _text(entry, "stream")
    for name in ("first_offset", "last_offset", "count", "version"):
        _natural(entry, name)
    _natural(entry, "partition", 32)
    for name in ("stream", "partition"):
        _demand(
            type(row[name]) is type(entry[name]) and row[name] == entry[name],
            f"row and entry differ in {name}",
        )
    covered = entry["first_offset"] <= _natural(row, "offset") <= entry["last_offset"]
    _demand(covered, "the record's offset is not one that the log entry covers")
    index = f"/{_natural(row, 'index')}" if "index" in row else ""
    return f"{row['stream']}/{row['partition']}/{row['offset']}{index}"


def _original(file: Object, row: Object) -> bytes:
    fields = {"form", "bytes", "salt"}
    value = _object(file, "original", fields)
    original, salt = _bytes(value, "bytes"), _bytes(value, "salt")
    _demand(len(salt) == 16, "the salt is not 16 bytes long")
    _demand(
        value["form"] == row.get("original_form"), "the form of the original is not the one the row names"
    )
    digest = sha256(DOMAIN + salt + original).digest()
    _demand(
        digest == _hex(row, "integrity_hash", 32), "the original (or its salt) is not the one that was hashed"
    )
    return original


COLUMNS = {
    "stream": (1, "string"), "partition": (2, "int32"), "offset": (3, "int64"), "index": (4, "int32"),
    "event_time": (5, "timestamp"), "done_time": (6, "timestamp"), "channel": (7, "string"),
    "direction": (8, "string"), "account": (9, "string"), "application": (10, "string"),
    "sender": (11, "string"), "recipient": (12, "string"), "source_kind": (13, "string"),
    "destination_kind": (14, "string"), "country": (15, "string"), "mcc": (16, "string"),
    "mnc": (17, "string"), "network": (18, "string"), "route": (19, "string"), "parts": (20, "int32"),
    "duration_ms": (21, "int64"), "status_group": (22, "string"), "status": (23, "string"),
    "error": (24, "string"), "permanent_error": (25, "boolean"), "price": (26, "decimal"),
    "currency": (27, "string"), "price_unit": (28, "string"), "redacted": (29, "string"),
    "integrity_hash": (30, "hash"), "original_form": (31, "string"), "format": (32, "string"),
    "format_version": (33, "int32"), "charge": (34, "decimal"), "charge_basis": (35, "string"),
    "charged_duration_ms": (36, "int64"), "late": (37, "boolean"), "ingested_at": (38, "timestamp"),
    "countries": (39, "string"), "retention_rule": (40, "string"),
}  # fmt: skip
"""Id and type of every column: docs/integrity.md, section 2."""


def encode_row(row: Object) -> bytes:
    """Return the canonical form of an archive row in JSON; `EvidenceError` for what is no value of its column."""
    parts = [b"\x01"]
    _same_fields(row, set(COLUMNS), set(), "the row")
    for name, (number, kind) in COLUMNS.items():
        if name in row:
            parts += [bytes([number]), _encode_value(row, name, kind)]
    return b"".join(parts) + b"\x00"


def _encode_value(row: Object, name: str, kind: str) -> bytes:
    if kind in ("int32", "int64"):
        size = 4 if kind == "int32" else 8
        fits = type(row[name]) is int and -(1 << 8 * size - 1) <= row[name] < 1 << 8 * size - 1
        _demand(fits, f"the row's {name} is not a number of {8 * size} bits")
        return int(row[name]).to_bytes(size, "little", signed=True)
    if kind == "boolean":
        _demand(type(row[name]) is bool, f"the row's {name} is neither true nor false")
        return bytes([row[name]])
    text = _text(row, name)
    if kind == "string":
        data = text.encode()
        return (bytes([len(data)]) if len(data) < 255 else b"\xff" + len(data).to_bytes(4, "little")) + data
    if kind == "hash":
        return _hex(row, name, 32)
    if kind == "timestamp":
        return _microseconds(text, name).to_bytes(8, "little", signed=True)
    match = re.fullmatch(r"-?(?:0|[1-9][0-9]{0,11})\.[0-9]{6}", text)
    _demand(match and text != "-0.000000", f"the row's {name} is not a decimal number with six places")
    return int(text.replace(".", "")).to_bytes(8, "little", signed=True)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _microseconds(text: str, name: str) -> int:
    try:
        instant = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        raise EvidenceError(f"the row's {name} is not a date and time") from None
    _demand(
        instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27) == text,
        f"the row's {name} is not a date and time",
    )
    return (instant - EPOCH) // timedelta(microseconds=1)


def encode_entry(entry: Object) -> bytes:
    """Return the bytes of a log entry: docs/integrity.md, section 3."""
    stream = _text(entry, "stream").encode()
    _demand(0 < len(stream) < 250, "the entry's stream is not the name of one")
    numbers = [
        _natural(entry, name).to_bytes(8, "little") for name in ("first_offset", "last_offset", "count")
    ]
    parts = [
        b"\x02" if "outside" in entry else b"\x01",
        bytes([len(stream)]),
        stream,
        _natural(entry, "partition", 32).to_bytes(4, "little"),
        *numbers,
    ]
    parts += [_hex(entry, "root", 32), _hex(entry, "sha3_512", 64), _hex(entry, "leaves", 32)]
    parts += [*_months(entry), _natural(entry, "version").to_bytes(8, "little")]
    if "outside" in entry:
        outside = _object(entry, "outside", {"count", "root", "file", "months"})
        digests = _declarations(entry)
        parts += [
            _natural(outside, "count").to_bytes(8, "little"),
            _hex(outside, "root", 32),
            _hex(outside, "file", 32),
            *(_months(outside) if outside["months"] != [] else [bytes(8)]),
            bytes([len(digests)]),
            *digests,
        ]
    return b"".join(parts)


def _months(entry: Object) -> list[bytes]:
    months = _texts(entry, "months")
    _demand(len(months) == 2, "the entry's months are not a first and a last one")
    for month in months:
        _demand(re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", month), "the entry's months are not months")
    return [(int(month[:4]) * 12 + int(month[5:]) - 1).to_bytes(4, "little") for month in months]


def _declarations(entry: Object) -> list[bytes]:
    texts = _texts(entry, "declarations")
    _demand(len(texts) < 256, "the entry names too many declarations")
    return [_hex({"declarations": text}, "declarations", 32) for text in texts]


# Merkle trees: RFC 9162, section 2.1.


def _leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << ((len(leaves) - 1).bit_length() - 1)
    return _node(_root(leaves[:left]), _root(leaves[left:]))


def _included(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes, what: str) -> None:
    """Follow an inclusion proof from the leaf to the root (section 2.1.3.2)."""
    _demand(0 <= index < size, f"{what}: there is no leaf {index} in a tree of {size}")
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        _demand(sn > 0, f"{what} is too long")
        if fn & 1 or fn == sn:
            node = _node(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = _node(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    _demand(
        sn == 0 and node == root,
        f"{what} does not lead to the root: what it is to prove was altered, or the proof",
    )


# Signed notes, checkpoints and keys: C2SP signed-note, tlog-checkpoint, tlog-cosignature.


@dataclass(frozen=True, slots=True)
class Key:
    """A verifier key: name, type (1 Ed25519, 6 ML-DSA-44), public key."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read `name+hash+key`; raises `EvidenceError` unless the hash is that of the key."""
        match = _need(
            re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", text),
            "a verifier key is written name+hash+key: copy the whole line",
        )
        material = _base64(match[3], "a verifier key")
        key = cls(match[1], material[0] if material else 0, material[1:])
        sizes = {1: 32, 6: 1312}
        _demand(
            len(key.public) == sizes.get(key.kind), "a verifier key is of an unknown type or the wrong length"
        )
        _demand(
            key.id.hex() == match[2], "the hash in a verifier key is not that of the key: copy the whole line"
        )
        return key

    @property
    def id(self) -> bytes:
        """The first four bytes of its hash."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def verify(self, text: str, signature: bytes) -> None:
        """Check a signature of a checkpoint; raises `EvidenceError` when it does not hold."""
        try:
            if self.kind == 1:
                ed25519.Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
                return
            origin, size, root, _ = _checkpoint(text)
            message = b"subtree/v1\n\x00" + _short(self.name) + signature[:8] + _short(origin)
            message += bytes(8) + size.to_bytes(8, "big") + root
            mldsa.MLDSA44PublicKey.from_public_bytes(self.public).verify(signature[8:], message)
        except (InvalidSignature, ValueError):
            raise EvidenceError(f"a signature by {self.name} ({self.id.hex()}) does not hold") from None


KeySet = tuple[Key, Key]


def _short(text: str) -> bytes:
    return bytes([len(text.encode())]) + text.encode()


def _note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Return the text of a signed note, and name, key id and signature of every line below it."""
    body, gap, lines = note.rpartition("\n\n")
    _demand(gap and body and lines.endswith("\n"), "a signed note is malformed")
    signatures = []
    for line in lines[:-1].split("\n"):
        match = _need(re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)", line), "a signature line is malformed")
        data = _base64(match[2], "a signature")
        signatures.append((match[1], data[:4], data[4:]))
    return body + "\n", signatures


def _checkpoint(text: str) -> tuple[str, int, bytes, list[str]]:
    """Read origin, size, root and extension lines of a checkpoint's text."""
    lines = text.removesuffix("\n").split("\n")
    _demand(
        len(lines) >= 3 and all(lines) and re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]),
        "a checkpoint is malformed",
    )
    root = _base64(lines[2], "the root of a checkpoint")
    _demand(len(root) == 32 and 0 < len(lines[0].encode()) < 256, "a checkpoint is malformed")
    return lines[0], int(lines[1]), root, lines[3:]


def _signed(note: str, signers: list[KeySet]) -> None:
    """Demand that just these key sets have signed, each with both its keys."""
    text, signatures = _note(note)
    keys = [key for pair in signers for key in pair]
    _demand(len(signatures) == len(keys), "a signed note has more or fewer signatures than its keys")
    for key in keys:
        found = [value for name, key_id, value in signatures if (name, key_id) == (key.name, key.id)]
        _demand(len(found) == 1, f"the signature by {key.name} ({key.id.hex()}) is missing")
        key.verify(text, found[0])


def _key_history(notes: list[str]) -> list[KeySet]:
    """Follow the chain of key sets: each is brought in by a note that it and its predecessor have signed."""
    _demand(0 < len(notes) <= 1000, "key_history has no note, or too many")
    sets: list[KeySet] = []
    leaves: list[bytes] = []
    for note in notes:
        origin, size, root, lines = _checkpoint(_note(note)[0])
        _demand(len(lines) == 2, "a note of key_history does not name two keys")
        pair = (Key.parse(lines[0]), Key.parse(lines[1]))
        sets.append(pair)
        leaves.append(_leaf_hash(f"{lines[0]}\n{lines[1]}\n".encode()))
        name = sets[0][0].name
        proper = (pair[0].kind, pair[1].kind) == (1, 6) and {key.name for key in pair} == {name}
        continues = (origin, size, root) == (f"{name}/keys", len(sets), _root(leaves))
        _demand(proper and continues, "a note of key_history does not continue the chain of keys")
        _signed(note, sets[-2:])
    return sets


def _trust(sets: list[KeySet], trusted: list[str]) -> None:
    _demand(trusted, "a verifier key that you trust is needed: --key")
    known = [key for pair in sets for key in pair]
    for text in trusted:
        _demand(Key.parse(text) in known, "the evidence is not signed with the key that you trust")


def _signed_by_one(checkpoint: str, sets: list[KeySet]) -> None:
    ids = {key_id for _, key_id, _ in _note(checkpoint)[1]}
    signers = [pair for pair in sets if pair[0].id in ids]
    _demand(signers, "the checkpoint is not signed by the keys of the evidence")
    _signed(checkpoint, signers[-1:])


# Time stamps: RFC 3161 tokens, which are CMS signed data (RFC 5652) in DER.

OID_SIGNED_DATA = "1.2.840.113549.1.7.2"
OID_TST_INFO = "1.2.840.113549.1.9.16.1.4"
OID_CONTENT_TYPE = "1.2.840.113549.1.9.3"
OID_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
OID_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
OID_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}
RSA = {
    "1.2.840.113549.1.1.1": None,
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
ECDSA = {"1.2.840.10045.4.3.2": "sha256", "1.2.840.10045.4.3.3": "sha384", "1.2.840.10045.4.3.4": "sha512"}
SEQUENCE, SET, INTEGER, OCTETS, OID = 0x30, 0x31, 0x02, 0x04, 0x06
CONTEXT_0 = 0xA0


@dataclass(frozen=True, slots=True)
class Der:
    """One DER element: its tag, its content, and all its bytes. What is malformed raises `ValueError`."""

    tag: int
    content: bytes
    whole: bytes

    @classmethod
    def all(cls, data: bytes) -> list[Der]:
        """Return the elements that fill `data`, one after the other."""
        found, at = [], 0
        while at < len(data):
            head, size = at + 2, data[at + 1]
            if size & 0x80:
                head += size & 0x7F
                size = int.from_bytes(data[at + 2 : head], "big")
                if size < 0x80 or not data[at + 2]:
                    raise ValueError("a length in more bytes than it needs")
            if head + size > len(data):
                raise ValueError("an element is cut short")
            found.append(cls(data[at], data[head : head + size], data[at : head + size]))
            at = head + size
        return found

    def parts(self, tag: int = SEQUENCE) -> list[Der]:
        """Say what is inside an element, which must have this tag."""
        if self.tag != tag:
            raise ValueError("an element of another kind is expected")
        return Der.all(self.content)

    def oid(self) -> str:
        """Return an object identifier in dotted form."""
        arcs, value = [], 0
        for byte in self.content if self.tag == OID else b"":
            value = value << 7 | byte & 127
            if byte < 128:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))

    def algorithm(self) -> str:
        """Return the identifier of an algorithm without parameters."""
        oid, *parameters = self.parts()
        if [part.whole for part in parameters] not in ([], [b"\x05\x00"]):
            raise ValueError("an algorithm has parameters")
        return oid.oid()


def verify_stamp(token: bytes, stamped: bytes, roots: list[x509.Certificate]) -> datetime:
    """Verify an RFC 3161 time-stamp token over `stamped` and return the time it attests, in UTC.

    Every part that is not signed must be one that is checked, every certificate one of the signer's chain.
    With `roots`, the chain must lead to one of them; without, nothing is said of who the authority is. Raises
    `EvidenceError` when anything does not hold.
    """
    try:
        (outer,) = Der.all(token)
        content_type, wrapped = outer.parts()
        (signed_data,) = wrapped.parts(CONTEXT_0)
        version, digests, inner, certificates, signers = signed_data.parts()
        inner_type, wrapped = inner.parts()
        (info,) = wrapped.parts(CONTEXT_0)
        (signer,) = signers.parts(SET)
        known = (content_type.oid(), inner_type.oid()) == (OID_SIGNED_DATA, OID_TST_INFO)
        _demand(
            known and version.whole == b"\x02\x01\x03" and info.tag == OCTETS, "the time stamp is malformed"
        )
        chain = [x509.load_der_x509_certificate(part.whole) for part in certificates.parts(CONTEXT_0)]

        time, digest, imprint = _stamp_info(info.content)
        _demand(_digest(digest, stamped) == imprint, "the time stamp is of another checkpoint")
        certificate, digest = _stamp_signature(signer, info.content, chain)
        _demand([part.algorithm() for part in digests.parts(SET)] == [digest], "the time stamp is malformed")
        _stamp_chain(certificate, chain, roots, time)
    except (ValueError, IndexError, KeyError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise EvidenceError("the time stamp is malformed, or of a kind not known here") from None
    return time


def _digest(algorithm: str, data: bytes) -> bytes:
    return new_hash(DIGESTS[algorithm].name, data).digest()


def _stamp_info(content: bytes) -> tuple[datetime, str, bytes]:
    """Time, digest algorithm and imprint of a TSTInfo (RFC 3161, section 2.4.2)."""
    (info,) = Der.all(content)
    _, _, message_imprint, _, made, *_ = info.parts()
    algorithm, imprint = message_imprint.parts()
    seconds, _, fraction = made.content.decode().removesuffix("Z").partition(".")
    time = datetime.strptime(seconds, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return (
        time + timedelta(microseconds=int(fraction[:6].ljust(6, "0"))),
        algorithm.algorithm(),
        imprint.content,
    )


def _stamp_signature(
    signer: Der, content: bytes, certificates: list[x509.Certificate]
) -> tuple[x509.Certificate, str]:
    """Check the signature over the content (RFC 5652, section 5.4); returns who made it and the digest."""
    version, who, digest_algorithm, signed, signature_algorithm, signature = signer.parts()
    issuer, serial = who.parts()
    if version.whole != b"\x02\x01\x01" or signature.tag != OCTETS:
        raise ValueError("the signer is not named by issuer and serial number")
    digest = digest_algorithm.algorithm()
    pairs = [attribute.parts() for attribute in signed.parts(CONTEXT_0)]
    attributes = {name.oid(): values.parts(SET)[0] for name, values in pairs}
    altered = "the time stamp was altered"
    _demand(attributes[OID_CONTENT_TYPE].oid() == OID_TST_INFO, altered)
    _demand(attributes[OID_MESSAGE_DIGEST].content == _digest(digest, content), altered)

    found = [
        certificate
        for certificate in certificates
        if certificate.issuer.public_bytes() == issuer.whole
        and serial.whole == bytes([INTEGER, len(serial.content)]) + serial.content
        and certificate.serial_number == int.from_bytes(serial.content, "big", signed=True)
    ]
    _demand(len(found) == 1 and _named(attributes, found[0]), "the time stamp does not name its signer")

    # The attributes are sent with a context tag, but signed as the set they are.
    message = bytes([SET]) + signed.whole[1:]
    how, key = signature_algorithm.algorithm(), found[0].public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and RSA[how] in (None, DIGESTS[digest].name):
            key.verify(signature.content, message, padding.PKCS1v15(), DIGESTS[digest])
        elif isinstance(key, ec.EllipticCurvePublicKey) and ECDSA[how] == DIGESTS[digest].name:
            key.verify(signature.content, message, ec.ECDSA(DIGESTS[digest]))
        else:
            raise ValueError("an unknown way to sign")
    except InvalidSignature:
        raise EvidenceError("the signature of the time stamp does not hold") from None
    return found[0], digest


def _named(attributes: dict[str, Der], certificate: x509.Certificate) -> bool:
    """Tell whether the signed attributes name the certificate by its hash (RFC 5035, RFC 5816)."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    if OID_SIGNING_CERTIFICATE_V2 in attributes:
        algorithm, *name = attributes[OID_SIGNING_CERTIFICATE_V2].parts()[0].parts()[0].parts()
        if algorithm.tag == OCTETS:  # no algorithm: SHA-256
            return algorithm.content == sha256(der).digest()
        return name[0].content == _digest(algorithm.algorithm(), der)
    name = attributes[OID_SIGNING_CERTIFICATE].parts()[0].parts()[0].parts()
    return name[0].content == new_hash("sha1", der).digest()  # noqa: S324 - the hash RFC 3161 has here


def _stamp_chain(
    signer: x509.Certificate,
    certificates: list[x509.Certificate],
    roots: list[x509.Certificate],
    time: datetime,
) -> None:
    """Demand a chain from the signer up, of all the certificates there are, to one of the roots given."""
    try:
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        proper = usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    except (x509.ExtensionNotFound, ValueError):
        proper = False
    _demand(proper, "the certificate of the time stamp's signer is not one for time stamps")
    chain, unused = [signer], [certificate for certificate in certificates if certificate != signer]
    while above := next((other for other in unused if _issued(chain[-1], other)), None):
        chain.append(above)
        unused.remove(above)
    _demand(not unused, "the time stamp holds a certificate that is not one of its signer's chain")
    if roots and chain[-1] not in roots:
        # A self-signed certificate stands for itself alone: it is one of the roots, or of another authority.
        self_signed = chain[-1].issuer == chain[-1].subject
        anchors = [root for root in roots if not self_signed and _issued(chain[-1], root)]
        _demand(anchors, "the time stamp is not by the authority that you trust")
        chain += anchors[:1]
    for certificate in chain:
        valid = certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc
        _demand(valid, "the time stamp was made when a certificate of its authority was not valid")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False


# What the record says, in plain words.

ROLES = {"origin": ("sender", "caller", "source"), "destination": ("recipient", "callee", "destination")}
"""Which declared roles make an origin and a destination."""


def _declaration(file: Object, row: Object, entry: Object) -> Object:
    """Return the declaration of the record's format, after checking that it was logged with the record."""
    text = _text(file, "declaration").encode()
    _demand(
        sha256(text).digest() in _declarations(entry),
        "the declaration is not one that was logged with the record",
    )
    try:
        declared = json.loads(text)
        named = declared["name"] == row.get("format") and declared["version"] == row.get("format_version")
        subjects = [
            (f["path"], f["role"], f.get("instead_of")) for f in declared["field"] if f["class"] == "subject"
        ]
        text_only = all(isinstance(p, str) and isinstance(r, str) for p, r, _ in subjects)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EvidenceError("the declaration is none") from None
    _demand(named and text_only, "the declaration is not that of the record's format")
    return declared  # type: ignore[no-any-return]


def _parties(file: Object, original: bytes | None, declaration: Object | None) -> dict[str, str]:
    """Say who the original names, by role: the value, and where in the original it stands."""
    if declaration is not None:
        given = file.get("parties", [])
        for party in given if isinstance(given, list) else []:
            if isinstance(party, dict):
                _same_fields(party, {"role", "pointer", "value"}, set(), "a party")
        form = str(file["original"]["form"])
        derived = declared_parties(declaration, original or b"", form)
        _demand(
            given == derived,
            "the parties are not those that the declaration finds in the original",
        )
        return {party["role"]: party_text(party["value"], party["pointer"]) for party in derived}
    if "parties" not in file:
        return {}
    _demand(FORMATS[file["format"]] == 1, "there are parties without the declaration that says who they are")
    _demand(isinstance(file["parties"], list) and file["parties"], "parties is not a list")
    parties: dict[str, str] = {}
    for party in file["parties"]:
        _demand(isinstance(party, dict), "a party is not an object")
        _same_fields(party, {"role", "pointer", "value"}, {"role", "pointer", "value"}, "a party")
        role, pointer, value = (_text(party, name) for name in ("role", "pointer", "value"))
        _demand(role in ROLES and role not in parties, "a party has a role that is not known, or one twice")
        _demand(
            resolve(original or b"", pointer) == value, f"the original does not say that the {role} is that"
        )
        parties[role] = party_text(value, pointer)
    _demand(list(parties) == [role for role in ROLES if role in parties], "the parties are out of order")
    return parties


def declared_parties(declaration: Object, original: bytes, form: str) -> list[dict[str, str]]:
    """Read origin and destination from the original as its declaration says: docs/integrity.md, section 8."""
    record = _parsed(declaration, original, form)
    subjects = [field for field in declaration["field"] if field["class"] == "subject"]
    other = _changed_places(declaration, record)
    parties = []
    for role, names in ROLES.items():
        for field in subjects:
            value = _at(record, field["path"])
            stands_in = field.get("instead_of")
            here = other.get(field["role"], field["role"])
            if here not in names or not value or (stands_in and _at(record, stands_in)):
                continue
            parties.append({"role": role, "pointer": _pointer(field["path"]), "value": value})
            break
    return parties


def _changed_places(declaration: Object, record: Any) -> dict[str, str]:
    """Return the roles that have changed places in this record, by the declared one."""
    found: dict[str, str] = {}
    try:
        for swap in declaration.get("swap", []):
            if _true_of(record, swap["when"], declaration.get("percent_encoded") is True):
                one, two = swap["roles"]
                found |= {one: two, two: one}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, re.error):
        raise EvidenceError("a swap of roles in the declaration is none") from None
    return found


def _true_of(record: Any, asked: Object, percent: bool) -> bool | None:
    """Answer a condition of a declaration: yes, no, or None where the field it asks is empty."""
    if "any" in asked:
        answers = {_true_of(record, one, percent) for one in asked["any"]}
        return True if True in answers else None if None in answers else False
    if "all" in asked:
        answers = {_true_of(record, one, percent) for one in asked["all"]}
        return False if False in answers else None if None in answers else True
    found = _reach(record, asked["field"])
    text = json.dumps(found) if isinstance(found, bool) else found if isinstance(found, str) else ""
    text = (unquote(text) if percent else text).strip()
    if "present" in asked:
        return (text != "") is (asked["present"] is True)
    if text == "":
        return None
    if "matches" in asked:
        return _matches(asked["matches"], text)
    positive = "is" in asked
    listed = {word.strip().lower() for word in asked["is" if positive else "is_not"]}
    return (text.lower() in listed) is positive


def _matches(pattern: str, text: str) -> bool:
    """Find a pattern; where case does not matter, a Turkish İ or ı is still no i (Python thinks it is)."""
    if re.search(r"\(\?[a-z]*i", pattern):
        turkish = str.maketrans("\u0130\u0131", "\u05d0\u05d1")  # letters that have no case
        pattern, text = pattern.translate(turkish), text.translate(turkish)
    return bool(re.search(pattern, text))


AMBIGUOUS = object()
"""Stands where an object has a name twice."""


def taken_apart(declaration: Object, form: str) -> bool:
    """Tell whether the record is the whole of what was received; a canonical form always is."""
    inside = any(declaration.get(name) for name in ("unwrap", "each", "json_texts", "ignore_case"))
    return form != "received" or (not inside and declaration.get("encoding", "json") in ("json", "csv"))


def _parsed(declaration: Object, original: bytes, form: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> Object:
        found: Object = {}
        for name, value in pairs:
            found[name] = AMBIGUOUS if name in found else value
        return found

    if not taken_apart(declaration, form):
        return None
    try:
        if declaration.get("encoding", "json") == "csv" and form == "received":
            cells = next(csv.reader([original.decode().rstrip("\r")], strict=True), [])
            return dict(zip(declaration["columns"], cells, strict=False))
        text = original.removeprefix(b"\xef\xbb\xbf")
        return json.loads(text, object_pairs_hook=once, parse_int=str, parse_float=str)
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error):
        return None


def _path(path: str) -> list[str]:
    """Return the steps of a declared path: names between dots, and for a list (`[]`, `[0]`) its first element."""
    return [
        step for name in path.split(".") for step in ([name.split("[")[0], "0"] if "[" in name else [name])
    ]


def _pointer(path: str) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in _path(path))


def _reach(record: Any, path: str) -> Any:
    """Return what stands at a declared path, None where nothing does."""
    for step in _path(path):
        if isinstance(record, list):
            record = record[0] if step == "0" and record else None
        else:
            record = record.get(step) if isinstance(record, dict) else None
    return record


def _at(record: Any, path: str) -> str:
    """Return the text or number at a declared path, "" where there is none, or nothing but space."""
    found = _reach(record, path)
    return found if isinstance(found, str) and found.strip() else ""


def party_text(value: str, pointer: str) -> str:
    """Say how the summary names a party that the original names."""
    return f"{value} (field {pointer} of the original)"


def resolve(original: bytes, pointer: str) -> str:
    """Return the text or number a JSON pointer (RFC 6901) leads to; raises `EvidenceError` when it leads nowhere."""
    try:
        value = json.loads(original, parse_int=str, parse_float=str)
        _demand(pointer.startswith("/"), "a party's pointer is malformed")
        for token in pointer[1:].split("/"):
            step = token.replace("~1", "/").replace("~0", "~")
            value = value[int(step)] if isinstance(value, list) else value[step]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise EvidenceError("a party's pointer leads nowhere in the original") from None
    _demand(isinstance(value, str), "a party's pointer leads to no text")
    return str(value)


def summary(
    row: Object,
    parties: dict[str, str],
    has_original: bool,
    origin: str,
    index: int,
    stamped: datetime | None,
) -> list[str]:
    """Return the plain-language summary of a record, one sentence an item, from what is proven of it alone."""
    name = f"{row['stream']}/{row['partition']}/{row['offset']}" + (
        f"/{row['index']}" if "index" in row else ""
    )
    lines = [f"Record {name}: {row.get('direction')} {row.get('channel')}."]
    done = f", completed {row['done_time']}" if "done_time" in row else ""
    lines.append(f"Date and time: {row['event_time']}{done} (UTC).")
    for role, business, kind in (
        ("origin", "sender", "source_kind"),
        ("destination", "recipient", "destination_kind"),
    ):
        if role in parties:
            who = parties[role]
        elif business in row:
            who = f"business address {row[business]}"
        elif kind in row:
            who = f"{row[kind]} of an end user, not disclosed here"
        else:
            who = "not recorded"
        lines.append(f"{role.capitalize()}: {who}.")
    status = [str(row[field]) for field in ("status_group", "status", "error") if field in row]
    lines.append(f"Status: {', '.join(status) or 'not recorded'}.")
    form = {"received": "as it was received", "canonical": "without its content, in canonical JSON"}
    how = form.get(str(row.get("original_form")), "in a form that is not known")
    lines.append(
        f"The original is in this file, {how}." if has_original else "The original is not in this file."
    )
    lines.append(f"Proven by entry {index} of the log {origin}.")
    if stamped:
        lines.append(f"A time-stamp authority saw the log with this entry at {stamped:%Y-%m-%dT%H:%M:%S}Z.")
    return lines


def limits(has_original: bool, has_parties: bool, declared: bool, stamped: bool, version: int) -> list[str]:
    """Say in plain words what the file does not prove."""
    said = []
    if version == 1 and has_parties:
        said.append(
            "Not proven is who is origin and who is destination: this file is of a log that did not say yet what the "
            "fields of an original mean, so they are what its maker says."
        )
    elif version == 2 and has_original and not declared:
        said.append("What the fields of the original mean is not proven: who is origin and destination.")
    if not has_original:
        said.append(
            "Proven is the row as it was archived. What the original said and who the end users were is not: "
            "after the window nobody can prove it any more."
        )
    if not stamped:
        said.append(
            "Nobody outside vouches for the time: that the log is as old as it says, its signer alone says."
        )
    return said


def main(arguments: list[str] | None = None) -> int:
    """Return the command line; returns 0 when the evidence holds, 1 when it does not. Wrong usage exits with 2."""
    parser = argparse.ArgumentParser(description="Verify a Lethe evidence file.")
    parser.add_argument("file", type=Path, help="the evidence file")
    parser.add_argument(
        "--key", action="append", required=True, help="verifier key you trust (may be repeated)"
    )
    parser.add_argument("--stamp-root", type=Path, help="root certificates of the time-stamp authority (PEM)")
    parser.add_argument("--original", type=Path, help="write the original record here")
    options = parser.parse_args(arguments)
    try:
        roots = x509.load_pem_x509_certificates(options.stamp_root.read_bytes()) if options.stamp_root else []
        proven = verify(options.file.read_bytes(), options.key, roots)
        if options.original:
            _demand(proven.original is not None, "the original is not in this file")
            options.original.write_bytes(proven.original or b"")
    except (EvidenceError, OSError, ValueError) as error:
        print(f"NOT PROVEN: {error}", file=sys.stderr)
        return 1
    besides = [line for line in proven.limits if line not in proven.summary]
    print("PROVEN: the record is unaltered since it was logged.", *proven.summary, *besides, sep="\n")
    if proven.stamped and not proven.authority_known:
        print("Who made the time stamp was not checked: give the authority's root with --stamp-root.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
