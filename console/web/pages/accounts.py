"""Accounts, for administrators: who works here and as what. They see no data."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.security import Form, Here, Who, needs
from lethe.console.web.service import Service
from lethe.console.web.views import home_of, page
from lethe.operations.access.grants import RefusedError
from lethe.operations.access.roles import Permission, Role
from lethe.operations.access.sessions import SignedIn
from lethe.schemas.errors import InputError

router = APIRouter(include_in_schema=False)
_CHANGES: Final = {
    "roles": "{name} has the roles that were chosen, from the next page on.",
    "close": "{name} was closed, and is signed out everywhere.",
    "open": "{name} is open again.",
    "unlock": "{name} can try to sign in again.",
    "password": "{name} has a new first password, and is signed out everywhere.",
}
Admin = Annotated[SignedIn, Depends(needs(Permission.ACCOUNTS))]


@router.get("/accounts")
def accounts(request: Request, service: Here, who: Admin) -> Response:
    """List the accounts."""
    return _page(request, service, who)


def _page(
    request: Request,
    service: Service,
    who: SignedIn,
    told: str = "",
    handed: str | None = None,
) -> Response:
    """Show the accounts; `told` says what was done, `handed` is a first password."""
    return page(
        request,
        "accounts.html",
        who,
        people=service.accounts.listed(),
        roles=list(Role),
        waiting=service.recoveries.waiting(who.person),
        told=told,
        handed=handed,
    )


@router.post("/accounts")
def add(request: Request, service: Here, who: Admin, form: Form) -> Response:
    """Add an account and show its first password once."""
    chosen = _chosen(form)
    password = secrets.token_urlsafe(12) if form.get("sign_in") != "provider" else None
    person = service.accounts.add(form.get("name", ""), form.get("display", ""), chosen, password, first=True)
    service.audit(
        {"who": who.person.name, "action": "account.add", "account": person.name, "roles": sorted(chosen)}
    )
    how = "" if password is not None else " They sign in through the identity provider."
    return _page(request, service, who, f"{person.name} was added.{how}", password)


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
def change(request: Request, service: Here, who: Admin, account: str, form: Form) -> Response:
    """Change an account: its roles, closed or open, unlocked, a new first password. Nobody changes their own."""
    if account == who.person.id:
        raise RefusedError("nobody changes their own account: another administrator does")
    name = next((p.name for p in service.accounts.all() if p.id == account), None)
    if name is None:
        raise InputError("there is no such account")
    what, handed = form.get("what"), None
    if what == "recover":
        service.recoveries.ask(who.person, account, form.get("reason", ""))
        told = f"A second person can take the second factor of {name} off now, within a day."
    elif what in _CHANGES:
        told = _CHANGES[what].format(name=name)
        said = {"roles": sorted(_chosen(form))} if what == "roles" else {}
        service.audit({"who": who.person.name, "action": f"account.{what}", "account": name, **said})
        handed = _changed(service, account, what, form)
    else:
        raise InputError(f"what: one of {', '.join(_CHANGES)}, recover")
    return _page(request, service, who, told, handed)


def _changed(service: Service, account: str, what: str, form: Mapping[str, str]) -> str | None:
    """Do one change to an account; returns a first password to hand over, where it makes one."""
    if what == "roles":
        service.accounts.set_roles(account, _chosen(form))
    elif what == "unlock":
        service.accounts.unlock(account)
    elif what == "password":
        password = secrets.token_urlsafe(12)
        service.accounts.set_password(account, password)
        return password
    else:
        service.accounts.disable(account, what == "close")
    return None


def _chosen(form: Mapping[str, str]) -> list[Role]:
    return [role for role in Role if form.get(f"role:{role}")]
