"""Releasing a hold, with the certificate of what it held back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lethe.tiers.certificates.certificates import Registrar
from lethe.tiers.holds.holds import Holds
from lethe.tiers.store.failpoint import fail_point


def finish_release(
    holds: Holds, registrar: Registrar, hold_id: str, now: datetime, why: str = "it was released"
) -> dict[str, Any]:
    """Release a hold, or go on where a crash left its release, and return the certificate, which says why.

    1. Mark, destroy the key, remove what was preserved (`Holds.release`).
    2. Certify: the hold's key is destroyed, and these deletions are complete now.
    3. Remove what says that they have waited. A crash before leaves the release to be certified once, by its work.
    """
    # Step 1
    why, known, waited = holds.release(hold_id, now, why)
    # Step 2
    body = {
        "what": {"hold": hold_id, "key_ids": [f"hold.{hold_id}"], "placed": known.placed.isoformat()},
        "why": why,
        "done": now.astimezone(UTC).isoformat(timespec="microseconds"),
        "completed": sorted(waited, key=lambda w: str(w.get("deletion"))),
        "method": "NIST SP 800-88: cryptographic erase (destruction of the hold's key), then deletion of every file",
        "checks": ["the hold's key is destroyed", "nothing that was preserved is left"],
    }
    certificate = registrar.issue(f"hold-{hold_id}", "hold", body, now)
    fail_point("hold.certified")
    # Step 3
    holds.forget_waiting(hold_id)
    return certificate
