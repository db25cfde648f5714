"""Whether the service is well, for who watches over it: no sign-in, and nothing of the installation in the answer."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from sqlalchemy import text

router = APIRouter(include_in_schema=False)


@router.get("/live")
def live() -> PlainTextResponse:
    """Answer as long as requests are served."""
    return PlainTextResponse("alive\n")


@router.get("/ready")
def ready(request: Request) -> PlainTextResponse:
    """Answer 200 when the service's database does; `TransientError`, so 503, when it does not."""
    with request.app.state.service.database.begin() as session:
        session.execute(text("SELECT 1"))
    return PlainTextResponse("ready\n")
