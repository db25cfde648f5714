"""Check a case file: needs nothing but the file and a verifier key, no configuration and no network."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from lethe.integrity.evidence.check import check as check_evidence
from lethe.integrity.log import merkle
from lethe.integrity.log.checkpoint import Checkpoint
from lethe.integrity.log.note import Note, VerifierKey
from lethe.integrity.log.signing import KeyHistory
from lethe.schemas.errors import IntegrityError

VERSION: Final = 1
_MOST_FILES: Final = 10_000
_MOST_BYTES: Final = 1 << 30
_PACKED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SIGNED: Final = frozenset({"manifest.json", "signature.json"})


@dataclass(frozen=True, slots=True)
class Checked:
    """What a case file proves: it was made so, then, by them, and nothing in it was changed since."""

    case: str
    by: str
    made: str
    files: int
    evidence: int


def check(data: bytes, keys: Sequence[str]) -> Checked:
    """Check a case file against verifier keys; raises `IntegrityError` saying what is not as it was signed.

    1. The manifest is the one leaf of a checkpoint that the keys have signed.
    2. Every file is there with the digest the manifest gives, and no other.
    3. Every evidence file is proven by the same keys.
    """
    files = _unpacked(data)
    manifest = files.get("manifest.json", b"")
    # Step 1
    try:
        signature = orjson.loads(files["signature.json"])
        history = KeyHistory.parse([note.encode() for note in signature["keys"]])
        note = Note.parse(signature["checkpoint"].encode())
        said: dict[str, Any] = orjson.loads(manifest)
        listed = dict(said["files"])
        facts = [str(said[name]) for name in ("case", "by", "made")]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IntegrityError("this is no case file, or its manifest or signature is damaged") from None
    history.trust([VerifierKey.parse(key) for key in keys])
    history.verify(note)
    expected = Checkpoint(
        origin(history.name, sha256(manifest).hexdigest()), 1, merkle.root([merkle.leaf_hash(manifest)])
    )
    if Checkpoint.parse(note.text) != expected:
        raise IntegrityError("manifest.json is not what was signed")
    if said.get("version") != VERSION:
        raise IntegrityError("the case file is of a later version: use a later release to check it")
    # Step 2
    if odd := sorted(files.keys() - _SIGNED - listed.keys()):
        raise IntegrityError(f"{odd[0]}: was put in after it was signed")
    for name, digest in listed.items():
        if name not in files:
            raise IntegrityError(f"{name}: is missing")
        if sha256(files[name]).hexdigest() != digest:
            raise IntegrityError(f"{name}: was changed after it was signed")
    # Step 3
    evidence = [name for name in listed if name.startswith("evidence/")]
    for name in evidence:
        try:
            check_evidence(files[name], keys, [])
        except IntegrityError as error:
            raise IntegrityError(f"{name}: not proven: {error}") from None
    return Checked(facts[0], facts[1], facts[2], len(listed), len(evidence))


def origin(name: str, digest: str) -> str:
    """Return what a manifest's checkpoint is called: a log of its own, of one leaf."""
    return f"{name}/case-file/{digest[:32]}"


def _unpacked(data: bytes) -> dict[str, bytes]:
    """Read every file of a ZIP, each once, within bounds: what it says of its sizes may be false."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            names = packed.namelist()
            if len(names) > _MOST_FILES or len(set(names)) != len(names):
                raise IntegrityError("the ZIP holds too many files, or one name twice")
            if any(info.compress_type not in _PACKED for info in packed.infolist()):
                raise IntegrityError("the ZIP is packed in a way that no case file is")
            files, room = {}, _MOST_BYTES
            for name in names:
                with packed.open(name) as file:
                    files[name] = file.read(room + 1)
                room -= len(files[name])
                if room < 0:
                    raise IntegrityError("the ZIP unpacks to more than 1 GiB")
            return files
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise IntegrityError(f"this is no whole ZIP file ({type(error).__name__})") from None
