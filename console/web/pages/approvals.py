"""Approvals: what others ask for, word for word; and uses of break-glass that wait for a review."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from lethe.console.web.security import Form, Here, needs
from lethe.console.web.views import page
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn

router = APIRouter(include_in_schema=False)
Approver = Annotated[SignedIn, Depends(needs(Permission.APPROVE))]
_SHOWN: Final = 100
Reviewer = Annotated[SignedIn, Depends(needs(Permission.REVIEW))]


@router.get("/approvals")
def approvals(request: Request, service: Here, who: Approver) -> Response:
    """List what waits for a second person, and what this one has decided."""
    decided = service.desk.decided(who.person)[:_SHOWN]
    return page(
        request,
        "approvals.html",
        who,
        waiting=service.desk.waiting(who.person),
        decided=decided,
        lost=service.recoveries.waiting(who.person),
    )


@router.post("/approvals/{grant}")
def decide(service: Here, who: Approver, grant: str, form: Form) -> Response:
    """Approve or refuse exactly what was shown: the digest in the form says what that was."""
    answer = service.desk.approve if form.get("answer") == "approve" else service.desk.refuse
    answer(who.person, grant, form.get("digest", ""))
    return RedirectResponse("/approvals", 303)


@router.post("/reviews/{grant}")
def review(service: Here, who: Reviewer, grant: str, form: Form) -> Response:  # noqa: ARG001
    """Note that a use of break-glass was reviewed."""
    service.desk.review(who.person, grant)
    return RedirectResponse("/audit", 303)
