"""The privacy office: requests of people, from receipt to answer."""

from __future__ import annotations

import os
import re
from datetime import date
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from lethe.console.web.security import Form, Here, needs
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.grants import MOST_ROWS, Action
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.audit.naming import IN_ALL, may_name_somebody
from lethe.operations.documents.languages import LANGUAGES
from lethe.operations.office.answer import KINDS
from lethe.operations.office.requests import OUTCOMES, months_after
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import first_instant

router = APIRouter(include_in_schema=False)
_PIECE: Final = 1 << 18
"""Bytes of an answer that are read at one time."""
Officer = Annotated[SignedIn, Depends(needs(Permission.EXPORT))]


@router.get("/office")
def requests(request: Request, service: Here, who: Officer) -> Response:
    """List the requests of the office, those to be answered first; what is over ends here."""
    service.tidy()
    today = service.runtime.clock().date()
    found = service.requests.every(who.person)
    return page(
        request,
        "office.html",
        who,
        requests=found,
        today=today,
        due=months_after(today, 1),
        kinds=KINDS,
        languages=LANGUAGES,
    )


@router.post("/office")
def receive(service: Here, who: Officer, form: Form) -> Response:
    """Write down a request that was received, with the grant to look that comes with it."""
    case = service.requests.open(
        who.person,
        form.get("reference", ""),
        form.get("kind", ""),
        form.get("about", "").splitlines(),
        _date(form.get("received", "")) or service.runtime.clock().date(),
        form.get("language", ""),
        _date(form.get("due", "")),
    )
    service.audit(
        {
            "who": who.person.name,
            "action": "request.open",
            "case": case.reference,
            "what": form.get("kind", ""),
        }
    )
    service.desk.ask(
        who.person, Action.LOOKUP, case.id, service.office.reach(), MOST_ROWS, [], "opened with the request"
    )
    return RedirectResponse(f"/office/{case.id}", 303)


@router.get("/office/{case_id}")
def one(request: Request, service: Here, who: Officer, case_id: str) -> Response:
    """Show a request, and what comes next."""
    return page(request, "request.html", who, **_dossier(service, who, case_id))


@router.post("/office/{case_id}/find")
def find(service: Here, who: Officer, case_id: str, form: Form) -> Response:  # noqa: ARG001
    """Count what is held of the person, and what an erasure would take."""
    service.office.find(who.person, case_id)
    return RedirectResponse(f"/office/{case_id}#found", 303)


@router.post("/office/{case_id}/restrict")
def restrict(service: Here, who: Officer, case_id: str, form: Form) -> Response:
    """Restrict the person's records, or show them again."""
    service.office.restrict(who.person, case_id, form.get("reason", ""), form.get("lift") == "yes")
    return RedirectResponse(f"/office/{case_id}#restriction", 303)


@router.post("/office/{case_id}/ask")
def ask(service: Here, who: Officer, case_id: str, form: Form) -> Response:
    """Ask a second person for an erasure or for the copy."""
    action = Action.ERASE if form.get("what") == "erase" else Action.EXPORT
    service.office.ask(who.person, case_id, action, form.get("reason", ""))
    return RedirectResponse(f"/office/{case_id}", 303)


@router.post("/office/{case_id}/erase")
def erase(service: Here, who: Officer, case_id: str, form: Form) -> Response:
    """Erase the person, when the reference was typed and a second person has approved it."""
    if form.get("typed", "").strip() != service.requests.request(who.person, case_id).reference:
        raise InputError("type the reference of the request: what is erased cannot be brought back")
    service.office.erase(who.person, case_id)
    return RedirectResponse(f"/office/{case_id}#erasure", 303)


@router.post("/office/{case_id}/answer")
def answer(service: Here, who: Officer, case_id: str, form: Form) -> Response:
    """Hand out the answer: the letter in a language and, of an access request, the data beside it."""
    language = form.get("language", "")
    data = service.office.answer(
        who.person,
        case_id,
        language,
        form.get("words", ""),
        form.get("refused") == "yes",
        form.get("names") == "yes",
    )
    reference = service.requests.request(who.person, case_id).reference
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"answer-{reference}-{language}")
    length = data.seek(0, os.SEEK_END)
    data.seek(0)
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"', "Content-Length": str(length)}
    return StreamingResponse(
        iter(partial(data.read, _PIECE), b""),
        media_type="application/zip",
        headers=headers,
        background=BackgroundTask(data.close),
    )


@router.post("/office/{case_id}/extend")
def extend(service: Here, who: Officer, case_id: str, form: Form) -> Response:
    """Extend the time for the answer, once, for a reason the audit keeps."""
    reason = form.get("reason", "").strip()
    if not reason:
        raise InputError("say why it takes longer: the person has to be told")
    if may_name_somebody(reason, in_all=IN_ALL):
        raise InputError("the audit keeps this reason for good: write it without anybody's number or address")
    reference = service.requests.request(who.person, case_id).reference
    service.audit(
        {"who": who.person.name, "action": "request.extend", "case": reference, "reason": reason[:500]}
    )
    service.requests.extend(who.person, case_id)
    return RedirectResponse(f"/office/{case_id}", 303)


@router.post("/office/{case_id}/answered")
def answered(service: Here, who: Officer, case_id: str, form: Form) -> Response:
    """Note that the person has the answer."""
    reference = service.requests.request(who.person, case_id).reference
    outcome = form.get("outcome", "")
    if outcome not in OUTCOMES:
        raise InputError(f"outcome: one of {', '.join(OUTCOMES)}")
    service.audit({"who": who.person.name, "action": "request.answered", "case": reference, "what": outcome})
    service.requests.answered(who.person, case_id, outcome)
    return RedirectResponse(f"/office/{case_id}", 303)


@router.post("/office/{case_id}/end")
def end(service: Here, who: Officer, case_id: str, form: Form) -> Response:
    """End a request that was answered, before its thirty days: what lies sealed of it is gone."""
    found = service.requests.request(who.person, case_id)
    if found.answered is None or form.get("typed", "").strip() != found.reference:
        raise InputError("type the reference of an answered request to end it: what it holds is gone then")
    service.audit({"who": who.person.name, "action": "request.end", "case": found.reference})
    service.cases.close(who.person, case_id)
    return RedirectResponse("/office", 303)


def _dossier(service: Service, who: SignedIn, case_id: str) -> dict[str, Any]:
    dossier = service.requests.get(who.person, case_id)
    office, now = service.office, service.runtime.clock()
    return {
        "dossier": dossier,
        "state_now": dossier.request.state(now.date()),
        "erasing": office.may(who.person, dossier, Action.ERASE),
        "copying": office.may(who.person, dossier, Action.EXPORT),
        "languages": LANGUAGES,
        "outcomes": OUTCOMES,
        "longer": months_after(dossier.request.due, 2),
    }


def _date(text: str) -> date | None:
    try:
        return first_instant(text).date() if text else None
    except ValueError:
        raise InputError("dates are written 2026-03-14") from None
