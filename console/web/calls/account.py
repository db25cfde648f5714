"""One's own account from a program: choose a password, set a second factor up. What a first sign-in has to do."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from lethe.console.web.api import Caller
from lethe.console.web.calls._shared import REFUSALS, Body
from lethe.console.web.pages.account import begin_second_factor, change_password, finish_second_factor
from lethe.console.web.security import Here, bounded, token_of

router = APIRouter(prefix="/api/account")


class NewPassword(Body):
    """The present password and the one that is chosen."""

    password: str = Field(min_length=1, max_length=200)
    new: str = Field(min_length=1, max_length=200)


class Password(Body):
    """The present password."""

    password: str = Field(min_length=1, max_length=200)


class Code(Body):
    """A code of the app."""

    code: str = Field(min_length=6, max_length=6)


class Secret(BaseModel):
    """What an authenticator app is given (base32): codes of six digits, every 30 seconds, SHA-1."""

    secret: str


@router.put("/password", status_code=204, responses={**REFUSALS, 429: {}})
def choose(request: Request, service: Here, who: Caller, sent: NewPassword) -> Response:
    """Change one's password by the present one; the other sessions end."""
    bounded(request)
    change_password(service, who, token_of(request), sent.password, sent.new)
    return Response(status_code=204)


@router.post("/second-factor", responses={**REFUSALS, 429: {}})
def begin(request: Request, service: Here, who: Caller, sent: Password) -> Secret:
    """Begin to set a second factor up; it counts once a code of it was sent."""
    bounded(request)
    return Secret(secret=begin_second_factor(service, who, sent.password))


@router.put("/second-factor", status_code=204, responses={**REFUSALS, 429: {}})
def finish(request: Request, service: Here, who: Caller, sent: Code) -> Response:
    """Turn the second factor on with its first code."""
    bounded(request)
    finish_second_factor(service, who, sent.code)
    return Response(status_code=204)
