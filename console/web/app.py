"""The service as an application: pages and API over one `Service`."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import Response

from lethe import __version__
from lethe.console.web import api, calls, case_api, health
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
from lethe.console.web.security import SetupNeeded, SignInNeeded, headers
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.grants import RefusedError, WaitingError
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


def _sign_in(request: Request, _error: Exception) -> Response:
    if _is_api(request):
        return JSONResponse({"error": "sign in first"}, 401)
    response = RedirectResponse("/sign-in", 303)
    sign_in.come_back(request, response)
    return response


def _set_up(request: Request, error: Exception) -> Response:
    """Send a browser to its own account; a program is told."""
    if _is_api(request):
        return JSONResponse({"error": str(error)}, 403)
    return RedirectResponse("/account", 303)


def _waits(_request: Request, error: Exception) -> Response:
    """Say which request a second person has to approve; nothing was done, and nothing is wrong."""
    assert isinstance(error, WaitingError)  # noqa: S101  (what it is registered for)
    return JSONResponse({"waiting": error.grant, "told": str(error)}, 202)


def _told(request: Request, error: Exception) -> Response:
    """Answer with what went wrong and what to do: these texts are written for people and name nobody."""
    status = 403 if isinstance(error, RefusedError) else 503 if isinstance(error, TransientError) else 400
    return _answer(request, status, str(error))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (what it is registered for)
    fields = sorted({str(e["loc"][-1]) for e in error.errors()})
    return _answer(request, 422, f"wrong or missing: {', '.join(fields)}")


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)  # noqa: S101  (what it is registered for)
    told = error.detail if isinstance(error, HTTPException) else _TOLD.get(error.status_code, "refused")
    answer = _answer(request, error.status_code, told)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _last_resort(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
    """Answer and log a fault by its kind and place only: its text may quote what it choked on.

    A fault that got past here would be printed by the server, text and all.
    """
    try:
        return await call(request)
    except Exception as error:  # noqa: BLE001  (the last resort)
        kind, frame = type(error).__name__, traceback.extract_tb(error.__traceback__)[-1]
        logger.error(
            "unexpected %s at %s:%d in %s", kind, Path(frame.filename).name, frame.lineno, frame.name
        )
        return _answer(request, 500, f"unexpected {kind}; nothing more was done")


def _answer(request: Request, status: int, told: str) -> Response:
    if _is_api(request):
        return JSONResponse({"error": told}, status)
    return page(request, "error.html", None, status=status, told=told)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")
