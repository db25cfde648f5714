"""Boards: what is forgotten when, what came in and where it went, and who looked."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from lethe.console.web.security import Here, needs
from lethe.console.web.views import page
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.health import ledger

router = APIRouter(include_in_schema=False)
Keeper = Annotated[SignedIn, Depends(needs(Permission.CERTIFICATES))]
Bookkeeper = Annotated[SignedIn, Depends(needs(Permission.LEDGER))]
Auditor = Annotated[SignedIn, Depends(needs(Permission.AUDIT))]
_SHOWN: Final = 200
_COLUMNS: Final = (
    "stream",
    "partition",
    "messages",
    "records",
    "split",
    "late",
    "rejected",
    "tombstones",
    "redacted",
    "in_scope",
)


@router.get("/retention")
def retention(request: Request, service: Here, who: Keeper) -> Response:
    """Show each month's keys: live, ended or destroyed, and when they end."""
    now = service.runtime.clock()
    return page(request, "retention.html", who, months=service.runtime.ring.list(now)[::-1], now=now)


@router.get("/ledger")
def books(request: Request, service: Here, who: Bookkeeper) -> Response:
    """Show what came in by topic-partition and where it went."""
    rows = [[getattr(s, c) for c in _COLUMNS] for s in ledger.by_partition(service.runtime)]
    return page(request, "ledger.html", who, columns=_COLUMNS, rows=rows)


@router.get("/audit")
def audit(request: Request, service: Here, who: Auditor) -> Response:
    """Show the newest audit entries, each checked, and uses of break-glass nobody has reviewed."""
    damage: list[str] = []
    entries, total = service.runtime.audit.newest(_SHOWN, damage.append)
    return page(
        request,
        "audit.html",
        who,
        entries=entries,
        total=total,
        damage=damage,
        unreviewed=service.desk.unreviewed(),
        now=service.runtime.clock(),
    )
