"""Letting a terminal sign in as oneself, by the code that it shows."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from lethe.console.web.security import Form, Here, Who
from lethe.console.web.views import page

router = APIRouter(include_in_schema=False)


@router.get("/terminal")
def ask(request: Request, who: Who) -> Response:
    """Ask for the code. It never comes with the address: somebody else's link must not bring theirs."""
    return page(request, "terminal.html", who, shown=None, source=None, done=None)


@router.post("/terminal")
def answer(request: Request, service: Here, who: Who, form: Form) -> Response:
    """Show where the terminal with a code asked from; then allow or refuse it, as its holder answers."""
    if not service.tries.allowed(f"code {who.person.id}"):
        raise HTTPException(429, "too many tries: wait a minute")
    shown = form.get("code", "")
    source = service.devices.source(shown)
    if form.get("answer") not in ("allow", "refuse"):
        return page(request, "terminal.html", who, shown=shown, source=source, done=None)
    allowed = form["answer"] == "allow"
    service.audit({"who": who.person.name, "action": f"terminal.{form['answer']}", "terminal": source})
    service.devices.answer(who.person, shown, allowed)
    return page(request, "terminal.html", who, shown=None, source=None, done=allowed)
