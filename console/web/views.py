"""Pages are rendered here: templates that escape everything, and the few ways values are written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, JSONResponse, Response

from lethe import __version__
from lethe.console.web.filled import written
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import IDLE, SignedIn
from lethe.schemas.words import counted

_MENU: Final = (
    ("/", "Search", Permission.LOOKUP),
    ("/cases", "Cases", Permission.CASES),
    ("/office", "Requests", Permission.EXPORT),
    ("/detection", "Detection", Permission.REVEAL),
    ("/approvals", "Approvals", Permission.APPROVE),
    ("/billing", "Billing", Permission.ARCHIVE),
    ("/retention", "Retention", Permission.CERTIFICATES),
    ("/ledger", "Ledger", Permission.LEDGER),
    ("/integrity", "Integrity", Permission.INTEGRITY),
    ("/health", "Health", Permission.HEALTH),
    ("/audit", "Audit", Permission.AUDIT),
    ("/disclosures", "Disclosures", Permission.EXPORT),
    ("/disclosures", "Disclosures", Permission.AUDIT),
    ("/accounts", "Accounts", Permission.ACCOUNTS),
)


def _time(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _clock(value: datetime | None) -> str:
    return _time(value)[11:]


def _ago(value: timedelta | None) -> str:
    """Say how long ago something was, in the largest unit of which there are two."""
    if value is None:
        return ""
    seconds = max(0, int(value.total_seconds()))
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:,} {unit}"
    return counted(seconds, "second")


def _number(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else ("yes" if value else "no")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return f"{value.normalize():,f}"
    return str(value)


def _money(value: Decimal | None) -> str:
    """Write an amount with all its six places, so that points stand below each other."""
    return "–" if value is None else f"{value:,.6f}"


def _sentence(value: object) -> str:
    """Write what an error says as a sentence of a page."""
    text = str(value).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


_environment: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["time"] = _time
_environment.filters["clock"] = _clock
_environment.filters["number"] = _number
_environment.filters["ago"] = _ago
_environment.filters["counted"] = counted
_environment.filters["money"] = _money
_environment.filters["sentence"] = _sentence


def page(
    request: Request, template: str, who: SignedIn | None, status: int = 200, **values: Any
) -> HTMLResponse:
    """Render a page for somebody; the menu shows what their roles allow."""
    may = who.person.may() if who is not None else frozenset()
    menu = dict.fromkeys((path, title) for path, title, permission in _MENU if permission in may)
    text = _environment.get_template(template).render(
        who=who, menu=menu, path=request.url.path, version=__version__, may={p.value for p in may},
        idle=int(IDLE.total_seconds()), **values,
    )  # fmt: skip
    return HTMLResponse(text, status)


def is_api(request: Request) -> bool:
    """Tell whether a program asks, and not a browser."""
    return request.url.path.startswith("/api/")


def refusal(
    request: Request,
    status: int,
    what: str,
    reader: SignedIn | None = None,
    typed: Mapping[str, str] | None = None,
) -> Response:
    """Say what went wrong, to a program or on a page, which shows `typed` again."""
    if is_api(request):
        return JSONResponse({"error": what}, status)
    return page(request, "error.html", reader, status=status, told=what, typed=written(typed or {}))


def part(template: str, **values: Any) -> str:
    """Render a part of a page."""
    return _environment.get_template(template).render(**values)


_EVERYBODYS: Final = {"/account", "/terminal"}
PLACES: Final = frozenset(path for path, _, _ in _MENU) - {"/"} | _EVERYBODYS
"""Where somebody can be led back to after they signed in."""


def opens(who: SignedIn, path: str) -> bool:
    """Tell whether a place opens for somebody."""
    may = who.person.may()
    return path in _EVERYBODYS or any(path == p and needed in may for p, _, needed in _MENU)


def home_of(who: SignedIn) -> str:
    """Say which page somebody begins with: the first their roles allow."""
    may = who.person.may()
    return next((path for path, _, permission in _MENU if permission in may), "/account")
