"""The detection board: one pattern over one month, under a case of fraud; blocks are shown, no numbers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from lethe.console.web.security import Form, Here, needs
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.gate import Wish
from lethe.operations.access.grants import PURPOSES, Action
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.detection.detect import KINDS, LEAST, LIMITS, Found, detect
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month

router = APIRouter(include_in_schema=False)
Detective = Annotated[SignedIn, Depends(needs(Permission.REVEAL))]


@router.get("/detection")
def board(request: Request, service: Here, who: Detective) -> Response:
    """Show the patterns there are, and the form."""
    return page(request, "detection.html", who, **_board(service, who, {}), found=None)


@router.post("/detection")
def run(request: Request, service: Here, who: Detective, form: Form) -> Response:
    """Look for a pattern in a month."""
    found = look_for(service, who, form)
    return page(request, "detection.html", who, **_board(service, who, form), found=found)


def look_for(service: Service, who: SignedIn, form: dict[str, str]) -> Found:
    """Look for a pattern in a month as a form says: a grant first, then the job, audited before it answers."""
    case = service.cases.get(who.person, form.get("case", ""))
    if form.get("kind") not in KINDS:
        raise InputError("choose one of the patterns")
    try:
        month, least = Month.parse(form.get("month", "")), int(form.get("least") or LEAST)
    except ValueError:
        raise InputError("a month is written 2026-10, and a block has 5 to 1,000 numbers") from None
    reason = form.get("reason", "")
    if not reason.strip():
        raise InputError("a reason is needed, not blanks")
    wish = Wish(Action.DETECT, [], reason, months=(str(month), str(month)))
    [found] = detect(
        service.runtime, service.enter(who.person, case.id, wish).asker, [form["kind"]], month, least
    )
    return found


def _board(service: Here, who: SignedIn, form: dict[str, str]) -> dict[str, Any]:
    now = Month.of(service.runtime.clock())
    cases = service.cases.mine(who.person)
    return {
        "cases": [c for c in cases if c.closed is None and Action.DETECT in PURPOSES[c.purpose].actions],
        "kinds": KINDS,
        "limits": LIMITS,
        "months": [str(now.plus(-n)) for n in range(13)],
        "form": {n: form.get(n, "") for n in ("kind", "month", "case", "reason")}
        | {"least": form.get("least", LEAST)},
    }
