"""Signing a terminal in and out, and who is signed in."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from lethe.console.web.api import Caller
from lethe.console.web.calls._shared import Body
from lethe.console.web.security import Here, bounded, token_of
from lethe.console.web.service import SOURCE
from lethe.operations.access.devices import Answer
from lethe.operations.access.sessions import LONGEST

router = APIRouter(prefix="/api")


class Terminal(BaseModel):
    """A terminal that waits: it keeps `code`, shows `shown`, and asks again every `interval` seconds."""

    code: str
    shown: str
    page: str
    interval: int
    ends: datetime


class Code(Body):
    """The code a terminal keeps."""

    code: str = Field(min_length=1, max_length=100)


class Became(BaseModel):
    """What became of a terminal that waits: pending, denied, or allowed, with the token of a session."""

    state: Answer
    token: str | None = None


class Me(BaseModel):
    """Who is signed in, as what, and until when at the latest."""

    name: str
    display: str
    roles: list[str]
    permissions: list[str]
    second_factor: bool
    ends: datetime


@router.post("/terminals", responses={429: {}, 503: {}})
def begin(request: Request, service: Here) -> Terminal:
    """Let a terminal wait until somebody who is signed in at a browser allows it."""
    bounded(request, "terminal ")
    waiting = service.devices.begin(SOURCE.get())
    public = service.runtime.settings.serve.public_url or str(request.base_url).rstrip("/")
    return Terminal(
        code=waiting.code, shown=waiting.shown, page=f"{public}/terminal", interval=2, ends=waiting.ends
    )


@router.post("/terminals/answer", responses={400: {}, 403: {}, 503: {}})
def answer(service: Here, sent: Code) -> Became:
    """Say what became of a terminal; the session it was allowed begins here, once."""
    state, person = service.devices.take(sent.code)
    if person is None:
        return Became(state=state)
    service.audit({"who": person.name, "action": "sign-in", "how": "terminal"})
    return Became(state=state, token=service.sessions.start(person.id))


@router.get("/me", responses={401: {}})
def me(service: Here, request: Request, who: Caller) -> Me:
    """Say who is signed in."""
    began = service.sessions.began(token_of(request))
    person = who.person
    return Me(
        name=person.name,
        display=person.display,
        roles=sorted(person.roles),
        permissions=sorted(person.may()),
        second_factor=person.enrolled,
        ends=began + LONGEST,
    )


@router.delete("/sessions/current", status_code=204, responses={401: {}})
def sign_out(service: Here, request: Request, who: Caller) -> Response:
    """End the session whose token is sent."""
    service.audit({"who": who.person.name, "action": "sign-out"})
    service.sessions.end(token_of(request))
    return Response(status_code=204)
