"""The keys that sign the integrity log, as people handle them: made, shown, handed over."""

from __future__ import annotations

from collections.abc import Callable

from lethe.integrity.log.signing import KeyHistory
from lethe.operations.asker import Asker, record
from lethe.operations.proof.publisher import publication_of
from lethe.operations.proof.signer import load_signer, rotate_signer, signer_of
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import LetheError
from lethe.tiers.evidence.log_store import publish_history, published_history

__all__ = ["KeyHistory", "history_of", "make_keys", "rotate_keys"]


def history_of(runtime: Runtime) -> KeyHistory:
    """Return the chain of signing keys: that of the key directory, else that of the warehouse.

    Raises `LetheError` when there is neither.
    """
    signer = load_signer(runtime.settings.keys_dir)
    history = signer.history if signer is not None else published_history(runtime.objects)
    if history is None:
        raise LetheError(
            "there are no signing keys yet; lethe keys init makes them, as does the first record"
        )
    return history


def make_keys(runtime: Runtime) -> KeyHistory:
    """Make the signing keys unless they are there, and publish their public part."""
    signer = signer_of(runtime)
    publish_history(runtime.objects, signer.history)
    return signer.history


def rotate_keys(runtime: Runtime, asker: Asker, on_log: Callable[[int, int | None], None]) -> KeyHistory:
    """Hand over to new signing keys and sign every log again; `on_log` is told how many of how many are done.

    Who did it is in the audit before; the log itself says when.
    """
    record(runtime, asker, "keys.rotate")
    signer = rotate_signer(runtime.settings.keys_dir, runtime.clock())
    publication_of(runtime).sign_again(on_log)
    return signer.history
