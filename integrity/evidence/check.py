"""The second opinion: an evidence file is handed out only if the stand-alone verifier, its reader's own, accepts it.

The one module of the product that imports `verify_evidence.py`: nothing is computed with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.x509 import Certificate

from lethe.integrity.evidence import verify_evidence
from lethe.integrity.evidence.verify_evidence import Proven
from lethe.schemas.errors import IntegrityError

__all__ = ["Proven", "check"]


def check(data: bytes, trusted: Sequence[str], stamp_roots: Sequence[Certificate] = ()) -> Proven:
    """Verify an evidence file, see `verify_evidence.verify`; raises `IntegrityError` if it does not hold."""
    try:
        return verify_evidence.verify(data, list(trusted), list(stamp_roots))
    except verify_evidence.EvidenceError as error:
        raise IntegrityError(f"evidence: {error}") from None
