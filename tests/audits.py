"""The audit of an installation, as tests look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lethe.operations.audit.log import AuditLog


def audit_entries(keys: Path, place: Path | None = None) -> list[dict[str, Any]]:
    """Every entry, oldest first, each one checked; the default place lies in the key directory."""
    return list(AuditLog(str(place or keys / "audit"), keys).entries())


def audit_bytes(keys: Path) -> bytes:
    """All that the files of the audit hold, one after the other."""
    return b"".join(path.read_bytes() for path in sorted((keys / "audit").rglob("*")) if path.is_file())
