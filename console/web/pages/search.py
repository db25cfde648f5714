"""Search: every communication of a person or message inside the window, under a grant, as a table and as a time line.

Values travel in the body of a form, never in an address: addresses end in logs, histories and referrers. A page, an
order or a view of an answer that was just given comes from what is kept of it (`Answers`); only where nothing is kept
that may still be shown is the window looked into again, with another entry in the audit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from lethe.console.web.charts import Bars, days
from lethe.console.web.security import Form, Here, Who, needs
from lethe.console.web.service import Service
from lethe.console.web.views import home_of, page
from lethe.operations.access.cases import Case
from lethe.operations.access.grants import PURPOSES, Action, Read
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.window.ladders import ORDERS, ladders, ordered
from lethe.operations.window.lookup import lookup_each, newest_first
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month, first_instant, first_open_month

router = APIRouter(include_in_schema=False)
Looker = Annotated[SignedIn, Depends(needs(Permission.LOOKUP))]
PAGE_LINES: Final = 100
MOST_VALUES: Final = 50
VIEWS: Final = ("table", "time line")
_NEWEST: Final = "-time"
_FACETS: Final = (
    ("Account", "account"), ("Channel", "channel"), ("Status", "status"), ("Country", "country"), ("Sender", "sender"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: values within `since` <= time < `until`, and the read of the window that it takes."""

    values: list[str]
    case: Case
    since: datetime
    until: datetime
    read: Read

    @property
    def words(self) -> dict[str, Any]:
        """Say it in a form that can be kept and compared."""
        return {"values": self.values, "since": self.since.isoformat(), "until": self.until.isoformat()}


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look gave: records newest first, as many as the grant has rows for; `beyond` are not shown."""

    records: list[dict[str, Any]]
    beyond: int
    restricted: bool
    unread: bool
    missing: list[str]
    standing: str
    grant: str


@dataclass(frozen=True, slots=True)
class Found:
    """One page of an answer: `lines` of `total` communications that `records` records tell of, in an order and a view.

    `answer` names what is kept of it, `again` says that this page came from there. `forgotten`: the first month that
    is not forgotten, where the question reaches further back; `wholly` if it asks for nothing else.
    """

    targets: int
    lines: list[dict[str, Any]]
    total: int
    records: int
    beyond: int
    page: int
    pages: int
    order: str
    view: str
    answer: str
    again: bool
    restricted: bool
    unread: bool
    missing: list[str]
    forgotten: str | None
    wholly: bool
    reveals: bool
    case: Case
    chart: Bars | None
    facets: list[tuple[str, list[tuple[str, int]]]]

    @property
    def by_day(self) -> list[tuple[date, list[dict[str, Any]]]]:
        """Put the lines of this page together by day (UTC), in their order."""
        return [(day, list(lines)) for day, lines in groupby(self.lines, lambda line: line["time"].date())]


@router.get("/")
def ask(request: Request, service: Here, who: Who) -> Response:
    """Show the search form; whoever looks nobody up begins with the first page of their own."""
    if Permission.LOOKUP not in who.person.may():
        return RedirectResponse(home_of(who), 303)
    return page(request, "search.html", who, **_form(service, who, {}), found=None)


@router.post("/search")
def search(request: Request, service: Here, who: Looker, form: Form) -> Response:
    """Look up a value, or a pasted list of them, under a grant of the case."""
    found = find(service, who, form)
    return page(request, "search.html", who, **_form(service, who, form), found=found)


def find(service: Service, who: SignedIn, form: dict[str, str]) -> Found:
    """Answer a form: from what is kept of the answer it names, or by looking, with an entry in the audit first."""
    question = asked(service, who, form)
    name = form.get("answer", "")
    kept = service.answers.again(who, question.read, question.words, name)
    if kept is not None:
        answer = kept
        for line in answer["lines"]:
            line["time"] = datetime.fromisoformat(line["time"])
    else:
        looked = look(service, who, question)
        answer = {
            "lines": ladders(looked.records), "records": len(looked.records), "beyond": looked.beyond,
            "restricted": looked.restricted, "unread": looked.unread, "missing": looked.missing,
        }  # fmt: skip
        name = service.answers.keep(who, question.read, looked.grant, question.words, looked.standing, answer)
        typed = {"values": question.values, "since": form.get("since", ""), "until": form.get("until", "")}
        service.cases.remember(who.person, question.case.id, typed, len(answer["lines"]))
    return _page(service, who, question, answer, name, form, kept is not None)


def asked(service: Service, who: SignedIn, form: dict[str, str]) -> Question:
    """Read what a form asks; raises `InputError` for too many values or dates that are none."""
    values = list(dict.fromkeys(v.strip() for v in form.get("values", "").splitlines() if v.strip()))
    if not 0 < len(values) <= MOST_VALUES:
        raise InputError(f"give 1 to {MOST_VALUES} numbers, addresses or message ids, one a line")
    case = service.cases.get(who.person, form.get("case", ""))
    since, until = period(form, service)
    read = Read(who.person.id, Action.LOOKUP, case.id, *service.window(since, until))
    return Question(values, case, since, until, read)


def look(service: Service, who: SignedIn, question: Question) -> Looked:
    """Look into the window: the grant first, then the look-up, whose audit entry is durable before it answers."""
    grant = service.desk.use(who.person, question.read, question.values)
    asker = service.asker(who.person, question.case)
    standing = service.standing()
    answers = lookup_each(service.runtime, asker, question.values, question.since, question.until)
    records = newest_first(answers)
    given = service.desk.took(grant.id, len(records))
    return Looked(
        records[:given],
        len(records) - given,
        any(answer.restricted for answer in answers),
        any(answer.unread_number for answer in answers),
        sorted({key for answer in answers for key in answer.missing}),
        standing,
        grant.id,
    )


def _page(
    service: Service, who: SignedIn, question: Question, answer: dict[str, Any], name: str, form: dict[str, str],
    again: bool,
) -> Found:  # fmt: skip
    """Cut the page that is asked for out of an answer."""
    order = form.get("order", _NEWEST)
    order = order if order.removeprefix("-") in ORDERS else _NEWEST
    view = form.get("view", VIEWS[0])
    view = view if view in VIEWS else VIEWS[0]
    lines = ordered(answer["lines"], order if view == VIEWS[0] or order == "time" else _NEWEST)
    pages = max(1, -(-len(lines) // PAGE_LINES))
    wanted = form.get("page", "1")
    at = min(max(1, int(wanted)), pages) if wanted.isdecimal() and len(wanted) < 10 else 1
    first = first_open_month(service.runtime.clock(), service.runtime.settings.retention.window_months)
    return Found(
        targets=len(question.values),
        lines=[_instants(line) for line in lines[(at - 1) * PAGE_LINES : at * PAGE_LINES]],
        total=len(lines),
        records=answer["records"],
        beyond=answer["beyond"],
        page=at,
        pages=pages,
        order=order,
        view=view,
        answer=name,
        again=again,
        restricted=answer["restricted"],
        unread=answer["unread"],
        missing=answer["missing"],
        forgotten=str(first) if form.get("since") and question.since < first.start() else None,
        wholly=question.until <= first.start(),
        reveals=Permission.REVEAL in who.person.may()
        and Action.REVEAL in PURPOSES[question.case.purpose].actions,
        case=question.case,
        chart=days([line["time"] for line in lines], question.since, question.until) if lines else None,
        facets=[(title, _counted(line[name] for line in lines)) for title, name in _FACETS],
    )


def _instants(line: dict[str, Any]) -> dict[str, Any]:
    """Give the reports of a line instants again, where they were kept as text."""
    reports = [
        r if isinstance(r["event_time"], datetime) else {**r, "event_time": datetime.fromisoformat(r["event_time"])}
        for r in line["reports"]
    ]  # fmt: skip
    return {**line, "reports": reports}


def _counted(values: Iterable[Any]) -> list[tuple[str, int]]:
    return Counter(str(value) for value in values if value is not None).most_common(5)


def period(form: dict[str, str], service: Service) -> tuple[datetime, datetime]:
    """Read the dates of a form (UTC, both included); without them all that may still open, until now."""
    now = service.runtime.clock()
    oldest = Month.parse(service.window()[0]).start()
    try:
        since = max(first_instant(form["since"]), oldest) if form.get("since") else oldest
        until = first_instant(form.get("until") or now.date().isoformat())
    except ValueError:
        raise InputError("dates are written 2026-03-14") from None
    until += timedelta(days=1)
    if until <= since:
        if form.get("since", "") <= form.get("until", ""):
            raise InputError(
                f"everything before {oldest:%Y-%m-%d} has been forgotten for good: choose a later period"
            )
        raise InputError("the period ends before it begins")
    return since, until


def _form(service: Service, who: SignedIn, form: dict[str, str]) -> dict[str, Any]:
    cases: list[Case] = [c for c in service.cases.mine(who.person) if c.closed is None]
    return {
        "cases": cases,
        "looks": service.cases.looks(who.person) if not form else [],
        "form": {name: form.get(name, "") for name in ("values", "case", "since", "until")},
    }
