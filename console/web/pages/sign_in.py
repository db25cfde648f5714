"""Signing in and out, and the second factor."""

from __future__ import annotations

import segno
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.security import COOKIE, Form, Here, Who, service_of, set_cookie
from lethe.console.web.views import home_of, page
from lethe.operations.access.grants import RefusedError

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
def ask(request: Request) -> Response:
    """Show the form."""
    return page(request, "sign_in.html", None, told=None)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Start a session; what was wrong is not said, and how often somebody may try is bounded by address."""
    address = request.client.host if request.client else ""
    if not service_of(request).tries.allowed(address):
        raise HTTPException(429, "too many tries from this address: wait a minute")
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
        return page(request, "sign_in.html", None, status=403, told=str(error))
    service.audit({"who": person.name, "action": "sign-in"})
    service.sessions.end(request.cookies.get(COOKIE))  # a token from before the sign-in is never carried on
    token = service.sessions.start(person.id)
    found = service.sessions.who(token)
    response = RedirectResponse("/sign-in" if found is None else home_of(found), 303)
    set_cookie(response, token, request.url.scheme == "https")
    return response


@router.post("/sign-out")
def sign_out(request: Request, service: Here, who: Who, form: Form) -> Response:  # noqa: ARG001
    """End the session."""
    service.sessions.end(request.cookies.get(COOKIE))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/account")
def account(request: Request, service: Here, who: Who) -> Response:
    """Show one's own account and, while a second factor is being set up, its code to scan."""
    secret = service.accounts.pending_totp(who.person.id)
    picture = None
    if secret is not None:
        uri = f"otpauth://totp/Lethe:{who.person.name}?secret={secret}&issuer=Lethe"
        picture = segno.make(uri).svg_data_uri(scale=5, dark="#10243f", light="#ffffff")
    return page(request, "account.html", who, secret=secret, picture=picture)


@router.post("/account/second-factor")
def second_factor(service: Here, who: Who, form: Form) -> Response:
    """Begin setting up a second factor, or finish it with the first code."""
    code = form.get("code", "").strip()
    if code:
        service.accounts.confirm_totp(who.person.id, code)
        service.audit({"who": who.person.name, "action": "second-factor.on"})
    elif not who.person.enrolled:
        service.accounts.new_totp(who.person.id)
    return RedirectResponse("/account", 303)
