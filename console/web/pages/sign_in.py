"""Signing in and out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse
from starlette.responses import HTMLResponse, Response

from lethe.console.web.filled import filled, shown, written
from lethe.console.web.refused import note, sent
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
from lethe.console.web.views import PLACES, home_of, opens, page
from lethe.operations.access.accounts import Person
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.identity import PENDING

router = APIRouter(include_in_schema=False)

_PENDING: Final = "lethe_pending"
_PENDING_PATH: Final = "/sign-in"
_NEXT: Final = "lethe_next"
_ENDED: Final = "your session has ended: sign in again"
_LOST: Final = (
    "your session had ended, and what you have just sent was not done: sign in, and it can be sent once more"
)
_CARRIED: Final = "sent."
"""What the names of fields begin with that carry what somebody had sent over the sign-in, their session being over."""
_CARRIED_TO: Final = "sent-to"
_ADDRESS: Final = re.compile(r"(/[a-z0-9-]{1,60}){1,6}")


@router.get("/sign-in")
def ask(request: Request) -> Response:
    """Show the form, and say so where a session has ended."""
    token = session_cookie(request)
    ended = token is not None and service_of(request).sessions.who(token) is None
    return _form(request, _ENDED if ended else None, 200)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Start a session; what was wrong is not said, and how often somebody may try is bounded by address."""
    bounded(request)
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "sign in on this site's own page")
    fields = await sent(request)
    service = service_of(request)
    try:
        person = service.accounts.sign_in(
            fields.get("name", ""), fields.get("password", ""), fields.get("code", "")
        )
    except RefusedError as error:
        service.audit({"who": "-", "action": "sign-in.refused"})
        return _refused(request, str(error), fields)
    token, home = _begin_session(request, person)
    response = _once_more(request, token, fields, home) or RedirectResponse(home, 303)
    set_cookie(request, response, token)
    response.delete_cookie(_NEXT, path=_PENDING_PATH)
    return response


def come_back(request: Request, response: Response) -> None:
    """Let the browser remember for ten minutes which place it was kept from: signing in leads back to that.

    The place alone, as it is in the menu: no address says what was asked.
    """
    place = "/" + request.url.path.split("/")[1]
    if place in PLACES:
        _remember(request, response, _NEXT, place)


def lost(request: Request, typed: Mapping[str, str]) -> Response:
    """Show the form to somebody whose session had ended before they sent another one, which comes along with it."""
    carried = {_CARRIED + name: value for name, value in typed.items()}
    return _refused(request, _LOST, {**carried, _CARRIED_TO: request.url.path})


def _once_more(request: Request, token: str, fields: Mapping[str, str], home: str) -> Response | None:
    """Show what had been sent when a session was over, to be sent again; None where nobody had typed anything."""
    address, given = fields.get(_CARRIED_TO, ""), _carried(fields)
    found = service_of(request).sessions.who(token)
    typed = written(given)
    if not _ADDRESS.fullmatch(address) or not typed or found is None or found.person.due is not None:
        return None
    return page(request, "once_more.html", found, address=address, given=given, typed=typed, home=home)


def _carried(fields: Mapping[str, str]) -> dict[str, str]:
    return shown({n.removeprefix(_CARRIED): v for n, v in fields.items() if n.startswith(_CARRIED)})


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


def _form(
    request: Request, told: str | None = None, status: int = 403, fields: Mapping[str, str] | None = None
) -> HTMLResponse:
    provider = service_of(request).identity
    label = None if provider is None else provider.label
    kept = {n: v for n, v in (fields or {}).items() if n.startswith(_CARRIED) or n == _CARRIED_TO}
    return page(request, "sign_in.html", None, status=status, told=told, provider=label, carried=kept)


def _refused(request: Request, told: str, fields: Mapping[str, str]) -> Response:
    """Show the form again with the name that was typed, and with what is carried along."""
    form = _form(request, fields=fields)
    said = note(told, written(_carried(fields)))
    html = filled(bytes(form.body).decode(), "/sign-in", {"name": fields.get("name", "")}, said)
    return HTMLResponse(html or form.body, form.status_code)


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
    return token, wanted if wanted is not None and opens(found, wanted) else home_of(found)


@router.post("/sign-out")
def sign_out(request: Request, service: Here, who: Who, form: Form) -> Response:  # noqa: ARG001
    """End the session, and forget what it was answered."""
    service.answers.forget(who)
    service.sessions.end(session_cookie(request))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(cookie_name(request), path="/", secure=request.url.scheme == "https")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response
