"""One's own account: the second factor, the password, and where one is signed in."""

from __future__ import annotations

import segno
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.security import Form, Here, Who, session_cookie
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.sessions import SignedIn

router = APIRouter(include_in_schema=False)


@router.get("/account")
def account(request: Request, service: Here, who: Who) -> Response:
    """Show one's own account and, while a second factor is being set up, its code to scan."""
    secret = service.accounts.pending_totp(who.person.id)
    picture = None
    if secret is not None:
        uri = f"otpauth://totp/Lethe:{who.person.name}?secret={secret}&issuer=Lethe"
        picture = segno.make(uri).svg_data_uri(scale=5, dark="#10243f", light="#ffffff")
    return page(
        request,
        "account.html",
        who,
        secret=secret,
        picture=picture,
        local=service.accounts.has_password(who.person.id),
        sessions=service.sessions.of(who.person.id, session_cookie(request)),
    )


@router.post("/account/second-factor")
def second_factor(service: Here, who: Who, form: Form) -> Response:
    """Begin setting up a second factor, for whoever gives the password once more, or finish it with the first code."""
    code = form.get("code", "").strip()
    if code:
        finish_second_factor(service, who, code)
    elif not who.person.enrolled:
        begin_second_factor(service, who, form.get("password", ""))
    return RedirectResponse("/account", 303)


@router.post("/account/password")
def password(request: Request, service: Here, who: Who, form: Form) -> Response:
    """Change one's password by the present one; the other sessions end."""
    change_password(service, who, session_cookie(request), form.get("password", ""), form.get("new", ""))
    return RedirectResponse("/account", 303)


def begin_second_factor(service: Service, who: SignedIn, password: str) -> str:
    """Begin setting up a second factor, for whoever gives the password once more; return its secret (base32)."""
    if who.person.enrolled:
        raise RefusedError(
            "a second factor is on already: one that was lost is taken off by an administrator"
        )
    service.accounts.check_password(who.person.id, password)
    return service.accounts.new_totp(who.person.id)


def finish_second_factor(service: Service, who: SignedIn, code: str) -> None:
    """Turn the second factor on with its first code."""
    if who.person.enrolled:
        raise RefusedError("a second factor is on already")
    service.accounts.confirm_totp(who.person.id, code)
    service.audit({"who": who.person.name, "action": "second-factor.on"})


def change_password(service: Service, who: SignedIn, token: str | None, present: str, new: str) -> None:
    """Change one's password by the present one; sessions but the one of `token` end."""
    service.accounts.check_password(who.person.id, present)
    service.audit({"who": who.person.name, "action": "account.password", "account": who.person.name})
    service.accounts.change_password(who.person.id, new)
    service.sessions.end_others(who.person.id, token)


@router.post("/account/sessions")
def end_sessions(request: Request, service: Here, who: Who, form: Form) -> Response:
    """End one's other sessions, browsers and terminals, for whoever gives the password once more."""
    service.accounts.check_password(who.person.id, form.get("password", ""))
    service.audit({"who": who.person.name, "action": "sessions.end"})
    service.sessions.end_others(who.person.id, session_cookie(request))
    return RedirectResponse("/account", 303)
