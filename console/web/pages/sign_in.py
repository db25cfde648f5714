"""Signing in and out."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.security import (
    Form,
    Here,
    Who,
    bounded,
    cookie_name,
    service_of,
    session_cookie,
    set_cookie,
)
from lethe.console.web.views import home_of, page
from lethe.operations.access.accounts import Person
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.identity import PENDING

router = APIRouter(include_in_schema=False)

_PENDING: Final = "lethe_pending"
_PENDING_PATH: Final = "/sign-in"
_NEXT: Final = "lethe_next"
_COME_BACK: Final = frozenset({"/terminal", "/approvals", "/office", "/cases", "/detection", "/disclosures"})
"""Pages that somebody is led back to after they signed in; none of them says in its address what is asked."""


@router.get("/sign-in")
def ask(request: Request) -> Response:
    """Show the form."""
    return _form(request)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Start a session; what was wrong is not said, and how often somebody may try is bounded by address."""
    bounded(request)
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "sign in on this site's own page")
    fields = await request.form(max_fields=10, max_files=0)
    service = service_of(request)
    try:
        person = service.accounts.sign_in(
            str(fields.get("name", "")), str(fields.get("password", "")), str(fields.get("code", ""))
        )
    except RefusedError as error:
        service.audit({"who": "-", "action": "sign-in.refused"})
        return _form(request, str(error))
    token, home = _begin_session(request, person)
    response = RedirectResponse(home, 303)
    set_cookie(request, response, token)
    response.delete_cookie(_NEXT, path=_PENDING_PATH)
    return response


def come_back(request: Request, response: Response) -> None:
    """Let the browser remember for ten minutes which page it was kept from, where signing in leads back to it."""
    if request.method == "GET" and request.url.path in _COME_BACK:
        _remember(request, response, _NEXT, request.url.path)


def _remember(request: Request, response: Response, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(PENDING.total_seconds()),
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",  # it has to come along when the provider sends the browser back
        path=_PENDING_PATH,
    )


@router.get("/sign-in/provider")
def to_provider(request: Request, service: Here) -> Response:
    """Send the browser to the identity provider; what has to come back with it is a cookie of this site's."""
    if service.identity is None:
        raise HTTPException(404, "there is no identity provider in the settings (serve.identity)")
    url, pending = service.identity.begin()
    response = RedirectResponse(url, 303)
    _remember(request, response, _PENDING, pending)
    return response


@router.get("/sign-in/callback")
def from_provider(request: Request, service: Here) -> Response:
    """Start a session for whom the provider vouches for and who has an account here."""
    if service.identity is None:
        raise HTTPException(404, "there is no identity provider in the settings (serve.identity)")
    try:
        vouched = service.identity.finish(request.cookies.get(_PENDING), request.query_params)
        person = service.accounts.by_identity(vouched.issuer, vouched.subject, vouched.name)
    except RefusedError as error:
        service.audit({"who": "-", "action": "sign-in.refused"})
        response = _form(request, str(error))
    else:
        token, home = _begin_session(request, person)
        # A page and no redirect: a browser that another site sent here keeps the session's cookie back until then.
        response = page(request, "signed_in.html", None, home=home)
        set_cookie(request, response, token)
        response.delete_cookie(_NEXT, path=_PENDING_PATH)
    response.delete_cookie(_PENDING, path=_PENDING_PATH)
    return response


def _form(request: Request, told: str | None = None) -> Response:
    provider = service_of(request).identity
    label = None if provider is None else provider.label
    return page(request, "sign_in.html", None, status=200 if told is None else 403, told=told, provider=label)


def _begin_session(request: Request, person: Person) -> tuple[str, str]:
    """Begin a session in the audit and the database; return its token and the page to go to."""
    service = service_of(request)
    service.audit({"who": person.name, "action": "sign-in"})
    service.sessions.end(session_cookie(request))  # a token from before the sign-in is never carried on
    token = service.sessions.start(person.id)
    found = service.sessions.who(token)
    if found is None:
        return token, "/sign-in"
    wanted = request.cookies.get(_NEXT)
    return token, wanted if wanted in _COME_BACK else home_of(found)


@router.post("/sign-out")
def sign_out(request: Request, service: Here, who: Who, form: Form) -> Response:  # noqa: ARG001
    """End the session, and forget what it was answered."""
    service.answers.forget(who)
    service.sessions.end(session_cookie(request))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(cookie_name(request), path="/", secure=request.url.scheme == "https")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response
