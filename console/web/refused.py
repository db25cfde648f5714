"""What somebody is answered whose form was refused: its page again, with what they had typed and what was wrong.

The page is the nearest one above the form's address that opens for them (`/cases/7/entries` stands on `/cases/7`),
asked for like any other, so that it shows nothing their roles do not open. What was typed goes into this one answer,
and is kept nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final

from fastapi import HTTPException, Request
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import HTMLResponse, Response

from lethe.console.web import filled
from lethe.console.web.views import part

_OURS: Final = (
    "app", "type", "scheme", "server", "client", "http_version", "starlette.exception_handlers",
    "fastapi_middleware_astack",
)  # fmt: skip
"""What the request for the page has in common with the one that was refused."""
_OF_THE_BODY: Final = (b"content-length", b"content-type")


async def sent(request: Request) -> dict[str, str]:
    """Read the form of a request; what was read once stays with the request alone."""
    if not hasattr(request.state, "sent"):
        fields = await request.form(max_fields=60, max_files=0)
        request.state.sent = {name: str(value) for name, value in fields.items()}
    found: dict[str, str] = request.state.sent
    return found


def genuine(request: Request) -> None:
    """Note that a form is one of this site's own: only such a one is ever shown again."""
    request.state.genuine = True


async def typed(request: Request) -> dict[str, str]:
    """Give what was sent in a form of this site's own, without passwords and codes; empty for any other request."""
    own = request.headers.get("sec-fetch-site") == "same-origin" or hasattr(request.state, "genuine")
    if request.method != "POST" or not own:
        return {}
    try:
        return filled.shown(await sent(request))
    except HTTPException:  # no form at all
        return {}


def read(request: Request) -> dict[str, str]:
    """Give what was sent in a form that was found to be this site's own; empty where it was not read so far."""
    return filled.shown(request.state.sent) if hasattr(request.state, "genuine") else {}


async def again(request: Request, status: int, told: str) -> Response | None:
    """Show the page of a form that was refused; None where there is none, or none that opens for whoever sent it."""
    given = await typed(request)
    if request.method != "POST" or not (given or hasattr(request.state, "genuine")):
        return None
    address = request.url.path
    for path in _above(address):
        html = await _page(request, path)
        if html is not None:
            text = filled.filled(html, address, given, note(told))
            # A form that is not there any more cannot hold what was typed: the page says it above all else.
            return HTMLResponse(text or filled.above(html, note(told, filled.written(given))), status)
    return None


def note(told: str, typed: Mapping[str, str] | None = None) -> str:
    """Say what was wrong and, where no form is left to hold it, what was typed."""
    return part("refused.html", told=told, typed=typed or {})


def _above(path: str) -> Iterator[str]:
    parts = path.strip("/").split("/")
    for most in range(len(parts), 0, -1):
        yield "/" + "/".join(parts[:most])
    if len(parts) == 1:  # the search, whose page is the start
        yield "/"


async def _page(request: Request, path: str) -> str | None:
    """Ask for a page as whoever sent the request; None unless it opens."""
    headers = [(n, v) for n, v in request.scope["headers"] if n not in _OF_THE_BODY]
    scope = {
        **{name: request.scope[name] for name in _OURS if name in request.scope},
        "method": "GET", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
        "headers": headers, "state": {},
    }  # fmt: skip
    begun: list[int] = []
    body: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            begun.append(message["status"])
        else:
            body.append(message.get("body", b""))

    with suppress(AnyHTTPException):  # there is no page there
        await request.app.router(scope, receive, send)
    return b"".join(body).decode() if begun == [200] else None
