"""Accounts, for administrators: who works here and as what. They see no data."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.security import Form, Here, Who, needs
from lethe.console.web.service import Service
from lethe.console.web.views import home_of, page
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.roles import Permission, Role
from lethe.operations.access.sessions import SignedIn

router = APIRouter(include_in_schema=False)
Admin = Annotated[SignedIn, Depends(needs(Permission.ACCOUNTS))]


@router.get("/accounts")
def accounts(request: Request, service: Here, who: Admin) -> Response:
    """List the accounts."""
    return _page(request, service, who)


def _page(request: Request, service: Service, who: SignedIn, **more: Any) -> Response:
    return page(
        request,
        "accounts.html",
        who,
        people=service.accounts.all(),
        roles=list(Role),
        waiting=service.recoveries.waiting(who.person),
        **{"made": None, "handed": None, **more},
    )


@router.post("/accounts")
def add(request: Request, service: Here, who: Admin, form: Form) -> Response:
    """Add an account and show its first password once."""
    chosen = [role for role in Role if form.get(f"role:{role}")]
    password = secrets.token_urlsafe(12) if form.get("sign_in") != "provider" else None
    person = service.accounts.add(form.get("name", ""), form.get("display", ""), chosen, password, first=True)
    service.audit(
        {"who": who.person.name, "action": "account.add", "account": person.name, "roles": sorted(chosen)}
    )
    return _page(request, service, who, made=(person, password))


@router.post("/recoveries/{account}")
def recover(request: Request, service: Here, who: Who, account: str, form: Form) -> Response:
    """Take a lost second factor off an account, or refuse to: what another administrator has asked for."""
    if form.get("answer") != "yes":
        service.recoveries.refuse(who.person, account)
        return RedirectResponse(home_of(who), 303)
    name = next((w.name for w in service.recoveries.waiting(who.person) if w.account == account), "")
    password = service.recoveries.perform(who.person, account, who.person.name)
    return page(request, "recovered.html", who, name=name, password=password)


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
    elif what == "recover":
        service.recoveries.ask(who.person, account, form.get("reason", ""))
    return RedirectResponse("/accounts", 303)
