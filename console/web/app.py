"""The service as an application: pages and API over one `Service`."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import Response

from lethe import __version__
from lethe.console.web import api, calls, case_api, health, refused
from lethe.console.web.housekeeping import housekeeping
from lethe.console.web.pages import (
    account,
    accounts,
    analysis,
    approvals,
    billing,
    boards,
    cases,
    detection,
    disclosures,
    office,
    search,
    sign_in,
    terminal,
)
from lethe.console.web.security import SetupNeeded, SignInNeeded, headers, service_of, session_cookie
from lethe.console.web.service import Service
from lethe.console.web.views import is_api, refusal
from lethe.operations.access.grants import RefusedError, WaitingError
from lethe.operations.access.sessions import SignedIn
from lethe.schemas.errors import LetheError, TransientError

logger = logging.getLogger("lethe.web")
_STATIC: Final = Path(__file__).parent / "static"
_TOLD: Final = {
    400: "the body of the request cannot be read",
    404: "there is no such page",
    405: "this address does not take that method",
}


def make_app(service: Service) -> FastAPI:
    """Put the application together: pages under `/`, the API under `/api`, files under `/static`."""
    app = FastAPI(
        title="Lethe",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=housekeeping(service),
    )
    app.state.service = service
    app.middleware("http")(_last_resort)  # first, so that it lies within the headers
    app.middleware("http")(headers)
    for module in (
        sign_in,
        search,
        cases,
        analysis,
        detection,
        office,
        approvals,
        billing,
        boards,
        disclosures,
        account,
        accounts,
        terminal,
        api,
        case_api,
        health,
    ):
        app.include_router(module.router)
    for router in calls.ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.add_exception_handler(SignInNeeded, _sign_in)
    app.add_exception_handler(SetupNeeded, _set_up)
    app.add_exception_handler(WaitingError, _waits)
    app.add_exception_handler(LetheError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AnyHTTPException, _http)
    return app


async def _sign_in(request: Request, _error: Exception) -> Response:
    if is_api(request):
        return JSONResponse({"error": "sign in first"}, 401)
    if request.method == "POST" and session_cookie(request):
        refused.genuine(request)  # the cookie comes along from this site's own pages alone
        response: Response = sign_in.lost(request, await refused.typed(request))
    else:
        response = RedirectResponse("/sign-in", 303)
    sign_in.come_back(request, response)
    return response


def _set_up(request: Request, error: Exception) -> Response:
    """Send a browser to its own account; a program is told."""
    if is_api(request):
        return JSONResponse({"error": str(error)}, 403)
    return RedirectResponse("/account", 303)


def _waits(_request: Request, error: Exception) -> Response:
    """Say which request a second person has to approve; nothing was done, and nothing is wrong."""
    assert isinstance(error, WaitingError)  # noqa: S101  (what it is registered for)
    return JSONResponse({"waiting": error.grant, "told": str(error)}, 202)


async def _told(request: Request, error: Exception) -> Response:
    """Answer with what went wrong and what to do: these texts are written for people and name nobody."""
    status = 403 if isinstance(error, RefusedError) else 503 if isinstance(error, TransientError) else 400
    return await _refused(request, status, str(error))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (what it is registered for)
    fields = sorted({str(e["loc"][-1]) for e in error.errors()})
    return await _refused(request, 422, f"wrong or missing: {', '.join(fields)}")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)  # noqa: S101  (what it is registered for)
    told = error.detail if isinstance(error, HTTPException) else _TOLD.get(error.status_code, "refused")
    answer = await _refused(request, error.status_code, told)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _refused(request: Request, status: int, what: str) -> Response:
    """Show a form that was refused again, as it was typed; anything else is answered with what was wrong alone."""
    if is_api(request):
        return refusal(request, status, what)
    found = await refused.again(request, status, what)
    if found is not None:
        return found
    reader = await run_in_threadpool(_reader, request)
    return refusal(request, status, what, reader, await refused.typed(request))


async def _last_resort(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer and log a fault by its kind and place only: its text may quote what it choked on.

    A fault that got past here would be printed by the server, text and all.
    """
    request.scope.setdefault("state", {})  # what is noted further in is seen here
    try:
        return await call(request)
    except Exception as error:  # noqa: BLE001  (the last resort)
        kind, frame = type(error).__name__, traceback.extract_tb(error.__traceback__)[-1]
        logger.error(
            "unexpected %s at %s:%d in %s", kind, Path(frame.filename).name, frame.lineno, frame.name
        )
        return refusal(request, 500, f"unexpected {kind}; nothing more was done", typed=refused.read(request))


def _reader(request: Request) -> SignedIn | None:
    """Say who is told, so that the way on is beside it; nobody, where that cannot be asked either."""
    with suppress(LetheError):
        return service_of(request).sessions.who(session_cookie(request))
    return None
