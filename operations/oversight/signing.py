"""The keys that sign the audit log, as people handle them: shown, handed over."""

from __future__ import annotations

from lethe.integrity.log.signing import KeyHistory
from lethe.operations.asker import Asker, record
from lethe.operations.proof.publisher import anchor_audit
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError

__all__ = ["KeyHistory", "audit_keys", "rotate_audit_keys"]
_NONE = "there are no keys of the audit yet; its first entry makes them"


def audit_keys(runtime: Runtime) -> KeyHistory:
    """Return the chain of keys that sign the audit; raises `LetheError` before its first entry."""
    signer = runtime.audit.signer()
    if signer is None:
        raise LetheError(_NONE)
    return signer.history


def rotate_audit_keys(runtime: Runtime, asker: Asker) -> KeyHistory:
    """Hand over to new keys of the audit; the entry that says so is the last one the old keys sign.

    The warehouse is told at once, as far as it answers; the next worker does it otherwise. Raises `LetheError` before
    the first entry of the audit.
    """
    audit_keys(runtime)
    record(runtime, asker, "audit.rotate")
    signer = runtime.audit.rotate(runtime.clock())
    if signer is None:
        raise LetheError(_NONE)
    anchor_audit(runtime)
    return signer.history
