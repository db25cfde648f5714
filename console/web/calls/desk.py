"""Cases and grants from a terminal: what one asks for, and what others wait for one to approve."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from lethe.console.web.calls._shared import REFUSALS, Body, Text, by, told
from lethe.console.web.security import Here
from lethe.operations.access.desk import Asked as Request
from lethe.operations.access.grants import Action
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn

router = APIRouter(prefix="/api")
Owner = Annotated[SignedIn, by(Permission.CASES)]
Approver = Annotated[SignedIn, by(Permission.APPROVE)]
Id = Annotated[str, Path(max_length=36, pattern="^[0-9a-f-]+$")]


@dataclass(frozen=True, slots=True)
class GrantAsked:
    """A grant as its owner or an approver sees it: `values` and `reason` are what was asked, word for word."""

    id: str
    person: str
    case: str
    purpose: str
    action: str
    state: str
    values: tuple[str, ...]
    reason: str
    rows: int
    used: int
    first_month: str
    last_month: str
    requested: datetime
    ends: datetime
    break_glass: bool
    digest: str


class NewGrant(Body):
    """A grant to ask for, in a case of one's own."""

    case: str = Field(min_length=1, max_length=80)
    action: Action
    values: list[Text] = Field(default_factory=list, max_length=1_000)
    reason: str = Field(min_length=1, max_length=1_000)
    rows: int = Field(100, ge=1, le=1_000_000)
    break_glass: bool = False


class Decision(Body):
    """An answer to a request: the digest says what was looked at."""

    approve: bool
    digest: str = Field(max_length=64)


@router.get("/grants", response_model=list[GrantAsked], responses={401: {}, 403: {}, 503: {}})
def grants(service: Here, who: Owner) -> Response:
    """List one's own grants, newest first."""
    return told([_view(asked) for asked in service.desk.of(who.person)])


@router.post("/grants", response_model=GrantAsked, responses=REFUSALS)
def ask(service: Here, who: Owner, wanted: NewGrant) -> Response:
    """Ask for a grant; one of weight waits for a second person."""
    case = service.cases.named(who.person, wanted.case)
    made = service.desk.ask(
        who.person, wanted.action, case.id, service.window(), wanted.rows, wanted.values, wanted.reason,
        wanted.break_glass,
    )  # fmt: skip
    (mine,) = service.desk.of(who.person, grant=made.id)
    return told(_view(mine))


@router.delete("/grants/{grant}", status_code=204, responses=REFUSALS)
def revoke(service: Here, who: Owner, grant: Id) -> Response:
    """Take a grant of one's own back."""
    service.desk.revoke(who.person, grant)
    return Response(status_code=204)


@router.get("/approvals", response_model=list[GrantAsked], responses={401: {}, 403: {}, 503: {}})
def approvals(service: Here, who: Approver) -> Response:
    """List what waits for a second person, oldest first."""
    return told([_view(asked) for asked in service.desk.waiting(who.person)])


@router.post("/approvals/{grant}", status_code=204, responses=REFUSALS)
def decide(service: Here, who: Approver, grant: Id, answer: Decision) -> Response:
    """Approve or refuse exactly what was looked at."""
    (service.desk.approve if answer.approve else service.desk.refuse)(who.person, grant, answer.digest)
    return Response(status_code=204)


def _view(asked: Request) -> GrantAsked:
    grant, scope = asked.grant, asked.grant.scope
    return GrantAsked(
        grant.id, asked.person, asked.case, scope.purpose, scope.action.value, grant.state.value, asked.values,
        asked.reason, scope.rows, grant.used, scope.first_month, scope.last_month, asked.requested, grant.ends,
        grant.break_glass, asked.digest,
    )  # fmt: skip
