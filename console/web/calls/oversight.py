"""What auditors and the privacy office verify: the audit, certificates, the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from lethe.console.web.calls._shared import REFUSALS, Body, by, told
from lethe.console.web.calls.window import Entries
from lethe.console.web.security import Here
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.health import ledger
from lethe.operations.oversight import entries, verify
from lethe.operations.retention import certificates

router = APIRouter(prefix="/api")
Auditor = Annotated[SignedIn, by(Permission.AUDIT)]
Keeper = Annotated[SignedIn, by(Permission.CERTIFICATES)]
Bookkeeper = Annotated[SignedIn, by(Permission.LEDGER)]


class Wanted(Body):
    """Which entries are wanted: all that is given must be so."""

    who: str | None = Field(None, max_length=200)
    action: str | None = Field(None, max_length=80)
    case: str | None = Field(None, max_length=200)
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DocumentView:
    """One certificate, and its file as text, which verifies elsewhere."""

    certificate: dict[str, Any]
    file: str


@router.post("/audit/entries", response_model=Entries, responses=REFUSALS)
def listed(service: Here, who: Auditor, wanted: Wanted) -> Response:  # noqa: ARG001
    """List entries of the audit, oldest first, each one checked."""
    damage: list[str] = []
    chosen = entries.Filter(wanted.who, wanted.action, wanted.case, wanted.since, wanted.until)
    found = list(entries.listed(service.runtime, chosen, damage.append))
    return told(Entries(found, damage))


@router.post("/audit/verify", response_model=verify.Verified, responses=REFUSALS)
def verified(service: Here, who: Auditor) -> Response:  # noqa: ARG001
    """Verify the whole audit."""
    return told(verify.verify(service.runtime))


@router.get("/certificates", response_model=list[certificates.Listed], responses=REFUSALS)
def every(service: Here, who: Keeper) -> Response:  # noqa: ARG001
    """List the certificates of what was forgotten."""
    return told(certificates.every(service.runtime))


@router.post("/certificates/verify", response_model=int, responses=REFUSALS)
def verify_all(service: Here, who: Keeper) -> Response:  # noqa: ARG001
    """Verify every certificate and that none is missing; say how many there are."""
    return told(certificates.verify_all(service.runtime, certificates.own_keys(service.runtime)))


@router.get("/certificates/{number}", response_model=DocumentView, responses=REFUSALS)
def document(
    service: Here,
    who: Keeper,  # noqa: ARG001
    number: Annotated[int, Path(ge=0, le=999_999_999)],
) -> Response:
    """Give one certificate, and its file."""
    found = certificates.read(service.runtime, number)
    return told(DocumentView(found.certificate, found.file.decode()))


@router.get("/ledger", response_model=list[ledger.Summary], responses=REFUSALS)
def books(
    service: Here,
    who: Bookkeeper,  # noqa: ARG001
    stream: Annotated[str | None, Query(max_length=260)] = None,
) -> Response:
    """Say what came in by topic-partition and where it went."""
    return told(ledger.by_partition(service.runtime, stream))
