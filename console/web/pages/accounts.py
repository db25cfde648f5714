"""Accounts, for administrators: who works here and as what. They see no data."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.security import Form, Here, needs
from lethe.console.web.views import page
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.roles import Permission, Role
from lethe.operations.access.sessions import SignedIn

router = APIRouter(include_in_schema=False)
Admin = Annotated[SignedIn, Depends(needs(Permission.ACCOUNTS))]


@router.get("/accounts")
def accounts(request: Request, service: Here, who: Admin) -> Response:
    """List the accounts."""
    return page(request, "accounts.html", who, people=service.accounts.all(), roles=list(Role), made=None)


@router.post("/accounts")
def add(request: Request, service: Here, who: Admin, form: Form) -> Response:
    """Add an account and show its first password once."""
    chosen = [role for role in Role if form.get(f"role:{role}")]
    password = secrets.token_urlsafe(12) if form.get("sign_in") != "provider" else None
    person = service.accounts.add(form.get("name", ""), form.get("display", ""), chosen, password)
    service.audit(
        {"who": who.person.name, "action": "account.add", "account": person.name, "roles": sorted(chosen)}
    )
    return page(
        request,
        "accounts.html",
        who,
        people=service.accounts.all(),
        roles=list(Role),
        made=(person, password),
    )


@router.post("/accounts/{account}")
def change(service: Here, who: Admin, account: str, form: Form) -> Response:
    """Change an account's roles, or close or open it. Nobody changes their own."""
    if account == who.person.id:
        raise RefusedError("nobody changes their own account: another administrator does")
    what = form.get("what")
    if what == "roles":
        chosen = [role for role in Role if form.get(f"role:{role}")]
        service.audit(
            {"who": who.person.name, "action": "account.roles", "account": account, "roles": sorted(chosen)}
        )
        service.accounts.set_roles(account, chosen)
    elif what in ("close", "open"):
        service.audit({"who": who.person.name, "action": f"account.{what}", "account": account})
        service.accounts.disable(account, what == "close")
    return RedirectResponse("/accounts", 303)
