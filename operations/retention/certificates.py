"""List, read and verify the certificates of what was forgotten. No identifier is in them: a look leaves no entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lethe.integrity.log.note import VerifierKey
from lethe.operations.proof.signer import load_signer
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError
from lethe.tiers.certificates import certificates


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list of certificates: what was forgotten, when it was due and done, how much it was."""

    number: int
    kind: str
    what: str
    due: str | None
    done: str
    files: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Document:
    """One certificate, and the bytes of its file, which verify elsewhere."""

    certificate: dict[str, Any]
    file: bytes


def every(runtime: Runtime) -> list[Listed]:
    """List the certificates there are, oldest first. None is verified."""
    return [
        Listed(
            number=c["number"],
            kind=c["kind"],
            what=_what(c["what"]),
            due=c.get("due"),
            done=c["done"],
            files=len(c.get("files", ())),
            rows=c.get("counts", {}).get("rows"),
        )
        for c in certificates.every(runtime.objects)
    ]


def read(runtime: Runtime, number: int) -> Document:
    """Read a certificate by its number; raises `IntegrityError` when it is missing or damaged. It is not verified."""
    document = certificates.read(runtime.objects, number)
    return Document(document["certificate"], runtime.objects.get(certificates.path_of(number)) or b"")


def trusted(keys: Sequence[str]) -> list[VerifierKey]:
    """Read verifier keys from their texts; raises `IntegrityError` for one that is none."""
    return [VerifierKey.parse(key) for key in keys]


def own_keys(runtime: Runtime) -> list[VerifierKey]:
    """Return this installation's verifier keys; `LetheError` if it has none but has certificates."""
    signer = load_signer(runtime.settings.keys_dir)
    if signer is None and certificates.numbers(runtime.objects):
        raise LetheError("there is no signing key here to verify with; give the verifier key with --key")
    return [] if signer is None else list(signer.history.keys)


def verify(file: bytes, keys: Sequence[VerifierKey]) -> None:
    """Verify one certificate's file, and nothing but it: raises `IntegrityError` unless a trusted key signed it."""
    certificates.verify(certificates.parse(file), keys)


def verify_all(runtime: Runtime, keys: Sequence[VerifierKey]) -> int:
    """Verify every certificate and that none is missing; return how many there are, or raise `IntegrityError`."""
    return certificates.verify_all(runtime.objects, keys, runtime.certificate_anchors) if keys else 0


def _what(what: dict[str, Any]) -> str:
    if "months" in what:
        months = [m["month"] for m in what["months"]]
        return f"one person, {'month' if len(months) == 1 else 'months'} {', '.join(months)}"
    return str(what.get("month") or what.get("hold") or what.get("stream"))
