"""What auditors and the privacy office verify: the audit, certificates, the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from lethe.console.web.calls._shared import REFUSALS, Body, Instant, by, told
from lethe.console.web.calls.window import Entries
from lethe.console.web.security import Here
from lethe.console.web.service import SOURCE
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.asker import Asker
from lethe.operations.health import ledger
from lethe.operations.oversight import entries, verify
from lethe.operations.proof import verify as archive
from lethe.operations.retention import certificates, policy

router = APIRouter(prefix="/api")
Auditor = Annotated[SignedIn, by(Permission.AUDIT)]
Keeper = Annotated[SignedIn, by(Permission.CERTIFICATES)]
Prover = Annotated[SignedIn, by(Permission.INTEGRITY)]
Owner = Annotated[SignedIn, by(Permission.CASES)]
Bookkeeper = Annotated[SignedIn, by(Permission.LEDGER)]


class Wanted(Body):
    """Which entries are wanted: all that is given must be so."""

    who: str | None = Field(None, max_length=200)
    action: str | None = Field(None, max_length=80)
    case: str | None = Field(None, max_length=200)
    since: Instant | None = None
    until: Instant | None = None


class Wanting(Body):
    """Rows of one stream, of the months of two times, and what they have to agree with: keys, checkpoints, as text."""

    stream: str | None = Field(None, max_length=260)
    since: Instant | None = None
    until: Instant | None = None
    keys: list[Annotated[str, Field(max_length=8_000)]] = Field(default_factory=list, max_length=20)
    checkpoints: list[Annotated[str, Field(max_length=100_000)]] = Field(default_factory=list, max_length=20)
    originals: Literal[False] = False
    every_row: bool = False


class WhatToVerify(Body):
    """What of the archive to verify. Originals are compared where the keys are: that reads the window."""

    wanted: Wanting


class Periods(Body):
    """A number, an address or a country (several of one record with commas), and the time of the communication."""

    text: str = Field(min_length=1, max_length=1_024)
    when: Instant


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


@router.post("/verify", response_model=archive.Verified, responses=REFUSALS)
def verify_archive(service: Here, who: Prover, asked: WhatToVerify) -> Response:
    """Verify the archive against its signed log: every row, the ledger, the log. The audit says who asked."""
    wanted = asked.wanted
    service.audit({"who": who.person.name, "action": "verify", "what": "archive"})
    found = archive.verify(
        service.runtime,
        archive.Wanted(
            wanted.stream,
            wanted.since,
            wanted.until,
            wanted.keys,
            [c.encode() for c in wanted.checkpoints],
            every_row=wanted.every_row,
        ),
        lambda _done, _all: None,
    )
    return told(found)


@router.post("/policy", response_model=policy.Explained, responses=REFUSALS)
def explain(service: Here, who: Owner, asked: Periods) -> Response:
    """Say which periods apply to a communication, and why; whom it is about is in the audit, as a token."""
    asker = Asker.of(who.person.name, source=SOURCE.get())
    return told(policy.explain(service.runtime, asker, asked.text, asked.when))


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
