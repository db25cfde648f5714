"""Make the evidence of one record, and check an evidence file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from cryptography import x509

from lethe.integrity.evidence.check import Proven
from lethe.integrity.evidence.check import check as check_file
from lethe.operations.asker import Asker, record
from lethe.operations.proof.originals import differences
from lethe.operations.proof.publisher import publication_of, stamp_roots
from lethe.operations.proof.signer import load_signer
from lethe.operations.proof.signing import history_of
from lethe.operations.runtime import Runtime
from lethe.operations.window.visibility import RestrictedError, hides_record
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position
from lethe.tiers.evidence.proof import Evidence, evidence_of


def evidence(runtime: Runtime, asker: Asker, position: Position) -> Evidence:
    """Make the evidence of the record at a position: the original inside the window, proof of the archive row for ever.

    Raises `RestrictedError` if it names a restricted person and no reason of law is given.

    1. Publish the commit of the record if that is still to be done; only a machine with signing keys does.
    2. Build the evidence, unless the record is not shown to this asker.
    3. Write the audit entry, of a refused look too.
    4. Answer.
    """
    asker.needs_reason()
    # Step 1
    if load_signer(runtime.settings.keys_dir) is not None:  # else this machine only reads
        failures = publication_of(runtime).run().failures
        if failure := failures.get((position.stream, position.partition)):
            raise failure
    # Step 2
    hidden = hides_record(runtime, asker, position)
    found = None if hidden else _found(runtime, position)
    # Step 3
    record(
        runtime, asker, "evidence", record=str(position), law=asker.law,
        original=found is not None and found.has_original, count=int(found is not None), restricted=hidden,
    )  # fmt: skip
    # Step 4
    if found is None:
        raise RestrictedError
    return found


def _found(runtime: Runtime, position: Position) -> Evidence:
    roots = stamp_roots(runtime.settings.integrity)
    found = evidence_of(
        runtime.warehouse, runtime.ring, history_of(runtime), position, runtime.clock(), roots
    )
    said = json.loads(found.file)
    if "original" in said:
        original = position, str(said["original"]["form"]), base64.b64decode(said["original"]["bytes"])
        if wrong := differences(runtime, original, said["row"]):
            raise IntegrityError(
                f"{position} is not what its declaration makes of its original: {', '.join(wrong)}; it was changed "
                "before it was signed: lethe verify --originals names all such rows"
            )
    return found


def check(file: bytes, keys: Sequence[str], stamp_roots_pem: bytes | None = None) -> Proven:
    """Check an evidence file against verifier keys: needs nothing but these, no configuration and no network.

    Raises `IntegrityError` for what is not proven, `ValueError` when the stamp roots are no PEM file of certificates.
    """
    roots = [] if stamp_roots_pem is None else x509.load_pem_x509_certificates(stamp_roots_pem)
    return check_file(file, keys, roots)
