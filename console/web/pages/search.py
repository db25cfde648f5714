"""Search: every communication of a person or message inside the window, under a grant, with its time line.

Values travel in the body of a form, never in an address: addresses end in logs, histories and referrers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from lethe.console.web.charts import Bars, days
from lethe.console.web.security import Form, Here, needs
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.cases import Case
from lethe.operations.access.grants import Action, Read
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.window.lookup import lookup_each
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month

router = APIRouter(include_in_schema=False)
Looker = Annotated[SignedIn, Depends(needs(Permission.LOOKUP))]
PAGE_ROWS: Final = 100
MOST_VALUES: Final = 50


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: rows newest first, `total` of them, those of one page shown."""

    targets: int
    rows: list[dict[str, Any]]
    total: int
    page: int
    pages: int
    restricted: bool
    unread: bool
    missing: list[str]
    chart: Bars | None
    facets: list[tuple[str, list[tuple[str, int]]]]


@router.get("/")
def ask(request: Request, service: Here, who: Looker) -> Response:
    """Show the search form."""
    return page(request, "search.html", who, **_form(service, who, {}), found=None)


@router.post("/search")
def search(request: Request, service: Here, who: Looker, form: Form) -> Response:
    """Look up a value, or a pasted list of them, under a grant of the case."""
    found = find(service, who, form)
    return page(request, "search.html", who, **_form(service, who, form), found=found)


def find(service: Service, who: SignedIn, form: dict[str, str]) -> Found:
    """Search as a form says: the grant first, then the look-up, whose audit entry is durable before it answers."""
    values = [v.strip() for v in form.get("values", "").splitlines() if v.strip()]
    if not 0 < len(values) <= MOST_VALUES:
        raise InputError(f"give 1 to {MOST_VALUES} numbers, addresses or message ids, one a line")
    case = service.cases.get(who.person, form.get("case", ""))
    since, until = period(form, service.runtime.clock())
    read = Read(who.person.id, Action.LOOKUP, case.id, *service.window(since, until))
    grant = service.desk.use(who.person, read, values)
    asker = service.asker(who.person, case)
    rows: list[dict[str, Any]] = []
    restricted = unread = False
    missing: set[str] = set()
    for number, answer in enumerate(lookup_each(service.runtime, asker, values, since, until), 1):
        restricted |= answer.restricted
        unread |= answer.unread_number
        missing |= set(answer.missing)
        rows += [{**row, "value": number} for row in answer.records]
    service.desk.took(grant.id, len(rows))
    rows.sort(key=lambda r: r["event_time"], reverse=True)
    pages = max(1, -(-len(rows) // PAGE_ROWS))
    at = min(max(1, int(form.get("page", "1") or 1)) if form.get("page", "1").isdigit() else 1, pages)
    return Found(
        len(values),
        rows[(at - 1) * PAGE_ROWS : at * PAGE_ROWS],
        len(rows),
        at,
        pages,
        restricted,
        unread,
        sorted(missing),
        days([r["event_time"] for r in rows], since, until) if rows else None,
        [
            (title, Counter(str(r[name]) for r in rows if r[name] is not None).most_common(5))
            for title, name in (("Account", "account"), ("Channel", "channel"), ("Status", "status_group"),
                                ("Country", "country"), ("Sender", "sender"))
        ],
    )  # fmt: skip


def period(form: dict[str, str], now: datetime) -> tuple[datetime, datetime]:
    """Read the dates of a form (UTC, both included); without them the whole window until now."""
    try:
        first = (
            date.fromisoformat(form["since"]) if form.get("since") else Month.of(now).plus(-13).start().date()
        )
        last = date.fromisoformat(form["until"]) if form.get("until") else now.date()
    except ValueError:
        raise InputError("dates are written 2026-03-14") from None
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    until = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    if until <= since:
        raise InputError("the period ends before it begins")
    return since, until


def _form(service: Service, who: SignedIn, form: dict[str, str]) -> dict[str, Any]:
    cases: list[Case] = [c for c in service.cases.mine(who.person) if c.closed is None]
    return {
        "cases": cases,
        "form": {name: form.get(name, "") for name in ("values", "case", "since", "until")},
    }
