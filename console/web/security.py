"""What every request goes through: headers, size, session, the token of forms, and how often somebody may try.

Pages come with a content security policy that allows nothing from anywhere else and no script of a page's own, are
never stored by a browser, and are never framed. The session's cookie is out of reach of scripts and of other sites.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from lethe.console.web.refused import genuine, sent
from lethe.console.web.service import SOURCE, Service
from lethe.console.web.views import refusal
from lethe.operations.access.accounts import Due
from lethe.operations.access.roles import Permission, roles_with
from lethe.operations.access.sessions import LONGEST, SignedIn, session_name
from lethe.operations.audit.naming import IN_ALL, may_name_somebody
from lethe.schemas.errors import LetheError

logger = logging.getLogger("lethe.web")

COOKIE: Final = "lethe_session"
_MOST_BYTES: Final = 262_144
_LONGEST_PATH: Final = 200
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def cookie_name(request: Request) -> str:
    """Name the cookie of a session: over TLS by the prefix that keeps other hosts from setting one."""
    return f"__Host-{COOKIE}" if request.url.scheme == "https" else COOKIE


def session_cookie(request: Request) -> str | None:
    """Give the token of a browser's session."""
    return request.cookies.get(cookie_name(request))


def token_of(request: Request) -> str | None:
    """Give the token a request carries: a program's before a browser's."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" and token else session_cookie(request)


def _source(request: Request) -> str | None:
    """Say where a request comes from; a session is named by what nobody can sign in with."""
    token = token_of(request)
    address = request.client.host if request.client else None
    session = None if token is None else f"session {session_name(token)}"
    return ", ".join(filter(None, (address, session))) or None


def _refused(request: Request) -> None:
    """Note in the audit that somebody who is signed in was refused something. What was asked stays refused anyway."""
    service = service_of(request)
    try:
        found = service.sessions.who(token_of(request))
        if found is not None:
            what = f"{request.method} {_place(request)}"
            service.audit({"who": found.person.name, "action": "refused", "what": what})
    except LetheError as error:
        logger.error("a refusal is not in the audit: %s", error)


def _place(request: Request) -> str:
    """Give the path that was asked for, without what somebody may have put in it in the place of an id."""
    path = request.url.path
    parts = (
        "…" if may_name_somebody(part, in_all=IN_ALL) and not _UUID.fullmatch(part) else part
        for part in path.split("/")
    )
    return "/".join(parts)[:_LONGEST_PATH]


def bounded(request: Request, what: str = "") -> None:
    """Refuse somebody who tries too often from one address; what is counted apart has a name of its own."""
    address = request.client.host if request.client else ""
    if not service_of(request).tries.allowed(what + address):
        raise HTTPException(429, "too many tries from this address: wait a minute")


class SignInNeeded(Exception):  # noqa: N818  (no error: the way to the sign-in page)
    """Nobody is signed in."""


class SetupNeeded(Exception):  # noqa: N818  (no error: the way to one's own account)
    """Somebody is signed in and has to choose a password, or set a second factor up, before anything else."""

    def __init__(self, due: Due) -> None:
        super().__init__(f"first set up your {due}, signed in with a browser, under your own name")


async def headers(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse what is too large and set the headers of every answer; only files that never change are stored."""
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers:  # in pieces without end, of which nobody says the size
        response = refusal(request, 411, "say how long the request is: Content-Length")
    elif not (length.isascii() and length.isdigit()) or int(length) > _MOST_BYTES:
        response = refusal(request, 413, "that is too much at once: go back, and send less of it")
    else:
        SOURCE.set(_source(request))
        response = await call(request)
    if response.status_code == 403:
        await run_in_threadpool(_refused, request)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    static = request.url.path.startswith("/static/")
    response.headers["Cache-Control"] = "public, max-age=3600" if static else "no-store"
    if request.url.scheme == "https":
        response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return response


def service_of(request: Request) -> Service:
    """Give the service of the application."""
    service: Service = request.app.state.service
    return service


def signed_in(request: Request) -> SignedIn:
    """Say who asks; raises `SignInNeeded` when nobody is signed in."""
    found = service_of(request).sessions.who(session_cookie(request))
    if found is None:
        raise SignInNeeded
    return found


Here = Annotated[Service, Depends(service_of)]
Who = Annotated[SignedIn, Depends(signed_in)]


def needs(*permissions: Permission) -> Callable[[SignedIn], SignedIn]:
    """Let only those through whose roles have one of the permissions: 403 for others, whatever the page."""

    def check(who: Who) -> SignedIn:
        if who.person.due is not None:
            raise SetupNeeded(who.person.due)
        if not who.person.may() & set(permissions):
            named = ", ".join(sorted(roles_with(permissions)))
            raise HTTPException(
                403, f"your roles do not open this: it is for {named}; an administrator gives roles"
            )
        return who

    return check


async def form(request: Request, who: Who) -> dict[str, str]:
    """Read a form whose token is the session's; 403 otherwise, so that no other site can send it."""
    values = dict(await sent(request))
    if not hmac.compare_digest(values.pop("csrf", "").encode(), who.csrf.encode()):
        raise HTTPException(403, "this form is too old: look at it on its page, and send it once more")
    genuine(request)
    return values


Form = Annotated[dict[str, str], Depends(form)]


def set_cookie(request: Request, response: Response, token: str) -> None:
    """Hand the session's token to the browser."""
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=int(LONGEST.total_seconds()),
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="strict",
        path="/",
    )
