"""The JSON API: what the pages do, for the command line and other programs. Described at `/api/openapi.json`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from lethe.console.web.pages.cases import opened
from lethe.console.web.pages.search import asked, look
from lethe.console.web.security import Here, bounded, needs
from lethe.operations.access.grants import PURPOSES, RefusedError
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn

router = APIRouter(prefix="/api")


class Credentials(BaseModel):
    """Name, password and, where a second factor is on, the code."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=120)
    password: str = Field(min_length=1, max_length=200)
    code: str = Field("", max_length=10)


class Token(BaseModel):
    """A session: send it as `Authorization: Bearer TOKEN`."""

    token: str


class Search(BaseModel):
    """What to look up, in which case of one's own; dates in UTC, both included."""

    model_config = ConfigDict(extra="forbid")
    case: str = Field(max_length=36)
    values: list[Annotated[str, Field(min_length=1, max_length=1024)]] = Field(min_length=1, max_length=50)
    since: str = Field("", max_length=10)
    until: str = Field("", max_length=10)


class Answer(BaseModel):
    """What was found, newest first: `records` are as many of `total` as the grant has rows for.

    `missing`: months that could not be looked through.
    """

    total: int
    restricted: bool
    missing: list[str]
    records: list[dict[str, Any]]


class NewCase(BaseModel):
    """A case to open: a reference that names nobody, and what is looked for."""

    model_config = ConfigDict(extra="forbid")
    reference: str = Field(min_length=1, max_length=80)
    purpose: str = Field(max_length=80, json_schema_extra={"enum": [*PURPOSES]})
    title: str = Field("", max_length=300)


class CaseView(BaseModel):
    """A case of one's own."""

    id: str
    reference: str
    purpose: str
    opened: datetime
    closed: datetime | None


_bearer: Final = HTTPBearer(auto_error=False, description="the token of POST /api/sessions")


def bearer(service: Here, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> SignedIn:
    """Say who calls; 401 without a session."""
    found = None if sent is None else service.sessions.who(sent.credentials)
    if found is None:
        raise HTTPException(401, "sign in first: POST /api/sessions", {"WWW-Authenticate": "Bearer"})
    return found


Caller = Annotated[SignedIn, Depends(bearer)]


@router.post("/sessions", responses={400: {}, 403: {}, 429: {}})
def sign_in(request: Request, service: Here, credentials: Credentials) -> Token:
    """Start a session."""
    bounded(request)
    try:
        person = service.accounts.sign_in(credentials.name, credentials.password, credentials.code)
    except RefusedError:
        service.audit({"who": "-", "action": "sign-in.refused"})
        raise
    service.audit({"who": person.name, "action": "sign-in"})
    return Token(token=service.sessions.start(person.id))


@router.get("/cases", responses={401: {}, 403: {}})
def cases(service: Here, who: Caller) -> list[CaseView]:
    """List one's own cases."""
    needs(Permission.CASES)(who)
    return [
        CaseView(id=c.id, reference=c.reference, purpose=c.purpose, opened=c.opened, closed=c.closed)
        for c in service.cases.mine(who.person)
    ]


@router.post("/cases", responses={400: {}, 401: {}, 403: {}})
def open_case(service: Here, who: Caller, wanted: NewCase) -> CaseView:
    """Open a case, with the grant to look up that comes with it."""
    needs(Permission.CASES)(who)
    c = opened(service, who, wanted.reference, wanted.title, wanted.purpose)
    return CaseView(id=c.id, reference=c.reference, purpose=c.purpose, opened=c.opened, closed=c.closed)


@router.post("/search", responses={400: {}, 401: {}, 403: {}, 503: {}})
def search(service: Here, who: Caller, wanted: Search) -> Answer:
    """Look values up under a grant of the case; audited before it answers."""
    needs(Permission.LOOKUP)(who)
    question = asked(
        service,
        who,
        {
            "case": wanted.case,
            "values": "\n".join(wanted.values),
            "since": wanted.since,
            "until": wanted.until,
        },
    )
    found = look(service, who, question)
    records = [{k: v.hex() if isinstance(v, bytes) else v for k, v in row.items()} for row in found.records]
    return Answer(
        total=len(records) + found.beyond,
        restricted=found.restricted,
        missing=found.missing,
        records=records,
    )
