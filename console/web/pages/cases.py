"""Cases: targets, notes, grants, and what the targets have in common."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.pages.search import find
from lethe.console.web.security import Form, Here, needs
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.cases import Case
from lethe.operations.access.grants import OF_WEIGHT, PURPOSES, Action
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.schemas.errors import InputError

router = APIRouter(include_in_schema=False)
Owner = Annotated[SignedIn, Depends(needs(Permission.CASES))]


@router.get("/cases")
def cases(request: Request, service: Here, who: Owner) -> Response:
    """List one's own cases."""
    return page(request, "cases.html", who, cases=service.cases.mine(who.person), purposes=PURPOSES)


@router.post("/cases")
def open_case(service: Here, who: Owner, form: Form) -> Response:
    """Open a case, with a grant to look up within it."""
    case = opened(service, who, form.get("reference", ""), form.get("title", ""), form.get("purpose", ""))
    return RedirectResponse(f"/cases/{case.id}", 303)


@router.get("/cases/{case_id}")
def case(request: Request, service: Here, who: Owner, case_id: str) -> Response:
    """Show a case."""
    return page(request, "case.html", who, **_case(service, who, case_id, {}), found=None)


@router.post("/cases/{case_id}/entries")
def add(service: Here, who: Owner, case_id: str, form: Form) -> Response:
    """Add targets (one a line) or a note, or take one out."""
    if form.get("remove"):
        service.cases.remove(who.person, case_id, form["remove"])
    elif form.get("note", "").strip():
        service.cases.add(who.person, case_id, "note", form["note"])
    else:
        for line in filter(None, map(str.strip, form.get("targets", "").splitlines())):
            service.cases.add(who.person, case_id, "target", line)
    return RedirectResponse(f"/cases/{case_id}", 303)


@router.post("/cases/{case_id}/search")
def search(request: Request, service: Here, who: Owner, case_id: str, form: Form) -> Response:
    """Look up all targets of a case at once."""
    entries = service.cases.entries(who.person, case_id)
    targets = [e.text for e in entries if e.kind == "target"]
    if not targets:
        raise InputError("the case has no targets yet: add some first")
    found = find(service, who, {**form, "case": case_id, "values": "\n".join(targets)})
    return page(request, "case.html", who, **_case(service, who, case_id, form), found=found)


@router.post("/cases/{case_id}/grants")
def ask(service: Here, who: Owner, case_id: str, form: Form) -> Response:
    """Ask for a grant."""
    try:
        action, rows = Action(form.get("action", "")), int(form.get("rows", "100"))
    except ValueError:
        raise InputError("choose what you ask for, and how many rows") from None
    values = form.get("values", "").splitlines()
    service.desk.ask(
        who.person, action, case_id, service.window(), rows, values, form.get("reason", ""),
        form.get("break_glass") == "yes",
    )  # fmt: skip
    return RedirectResponse(f"/cases/{case_id}", 303)


@router.post("/cases/{case_id}/grants/{grant}/revoke")
def revoke(service: Here, who: Owner, case_id: str, grant: str, form: Form) -> Response:  # noqa: ARG001
    """Take a grant of one's own back."""
    service.desk.revoke(who.person, grant)
    return RedirectResponse(f"/cases/{case_id}", 303)


@router.post("/cases/{case_id}/close")
def close(service: Here, who: Owner, case_id: str, form: Form) -> Response:
    """Close a case, when its reference was typed: what it holds is gone for good."""
    closed(service, who, case_id, form.get("typed", ""))
    return RedirectResponse("/cases", 303)


def closed(service: Service, who: SignedIn, case_id: str, typed: str) -> None:
    """Close a case; the entry in the audit first. `typed`: its reference, so that it is no slip."""
    case = service.cases.get(who.person, case_id)
    if typed.strip() != case.reference:
        raise InputError("type the reference of the case to close it: its targets and notes are gone then")
    service.audit({"who": who.person.name, "action": "case.close", "case": case.reference})
    service.cases.close(who.person, case_id)


def opened(service: Service, who: SignedIn, reference: str, title: str, purpose: str) -> Case:
    """Open a case and, for whoever may look up, ask for the grant that comes with it."""
    case = service.cases.open(who.person, reference, title, purpose)
    service.audit({"who": who.person.name, "action": "case.open", "case": case.reference})
    if Permission.LOOKUP in who.person.may():
        months = service.window()
        service.desk.ask(who.person, Action.LOOKUP, case.id, months, 10_000, [], "opened with the case")
    return case


def _case(service: Here, who: SignedIn, case_id: str, form: dict[str, str]) -> dict[str, Any]:
    case = service.cases.get(who.person, case_id)
    entries = service.cases.entries(who.person, case_id)
    actions = sorted(PURPOSES[case.purpose].actions)
    return {
        "case": case,
        "targets": [e for e in entries if e.kind == "target"],
        "notes": [e for e in entries if e.kind == "note"],
        "grants": service.desk.of(who.person, case_id),
        "actions": actions,
        "weighty": OF_WEIGHT,
        "dates": {name: form.get(name, "") for name in ("since", "until")},
    }
