"""Who looked at a person: asked by the privacy office, which knows whom it is about; read by auditors, who do not."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from lethe.console.web.security import Form, Here, needs
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.gate import Wish
from lethe.operations.access.grants import Action
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.oversight import entries
from lethe.operations.oversight.shared import Shared
from lethe.schemas.errors import InputError

router = APIRouter(include_in_schema=False)
Officer = Annotated[SignedIn, Depends(needs(Permission.EXPORT))]
Reader = Annotated[SignedIn, Depends(needs(Permission.EXPORT, Permission.AUDIT))]


@router.get("/disclosures")
def shown(request: Request, service: Here, who: Reader) -> Response:
    """Show the form to an officer, and what was shared to an auditor."""
    shared = service.shared.every(who.person) if Permission.AUDIT in who.person.may() else None
    return page(request, "disclosures.html", who, **_form(service, who), found=None, shared=shared)


@router.post("/disclosures")
def ask(request: Request, service: Here, who: Officer, form: Form) -> Response:
    """Find who looked at a person, under a case of one's own; share it with the auditors where that is asked for."""
    text = form.get("value", "").strip()
    if not text:
        raise InputError("give the number or address of the person")
    case = service.cases.get(who.person, form.get("case", ""))
    passed = service.enter(who.person, case.id, Wish(Action.LOOKUP, [text]))
    damage: list[str] = []
    found = entries.disclosures(service.runtime, passed.asker, text, entries.Filter(), damage.append)
    service.desk.took_all(passed.grant, len(found))
    told = Shared(case.reference, who.person.name, service.runtime.clock(), found, damage)
    if form.get("share") == "yes":
        service.audit(
            {"who": who.person.name, "action": "audit.shared", "case": case.reference, "count": len(found)}
        )
        service.shared.share(who.person, case.id, found, damage)
    return page(request, "disclosures.html", who, **_form(service, who), found=told, shared=None)


def _form(service: Service, who: SignedIn) -> dict[str, Any]:
    asks = Permission.EXPORT in who.person.may()
    cases = [c for c in service.cases.mine(who.person) if c.closed is None] if asks else []
    return {"cases": cases, "asks": asks}
