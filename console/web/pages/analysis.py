"""The analysis of a case: its targets side by side, from one audited read; and the reveal of one counterpart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Request
from markupsafe import Markup
from starlette.responses import Response

from lethe.console.web.charts import WEEKDAYS, days, week
from lethe.console.web.pages.search import period
from lethe.console.web.security import Form, Here, needs
from lethe.console.web.service import SOURCE, Service
from lethe.console.web.views import page
from lethe.operations.access.cases import Case, Entry
from lethe.operations.access.grants import PURPOSES, Action
from lethe.operations.access.grants import Read as Wanted
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.analysis import overview, presets
from lethe.operations.analysis.communications import Read, communications
from lethe.operations.analysis.graph import KINDS, Graph, graph, place, svg
from lethe.operations.asker import Asker
from lethe.operations.window.reveal import reveal
from lethe.schemas.errors import InputError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month

router = APIRouter(include_in_schema=False)
Looker = Annotated[SignedIn, Depends(needs(Permission.LOOKUP))]
Revealer = Annotated[SignedIn, Depends(needs(Permission.REVEAL))]
_TITLES: Final = {
    "counterpart": "Counterparts",
    "account": "Accounts",
    "sender": "Senders",
    "route": "Routes",
    "network": "Networks",
}
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Looked:
    """A case whose targets were read: under a grant, audited."""

    case: Case
    targets: list[Entry]
    since: datetime
    until: datetime
    read: Read


@router.post("/cases/{case_id}/analysis")
def analysis(request: Request, service: Here, who: Looker, case_id: str, form: Form) -> Response:
    """Show the targets of a case side by side."""
    looked = look(service, who, case_id, form)
    events, targets = looked.read.events, looked.read.targets
    matrices = [overview.matrix(events, targets, name) for name in overview.DIMENSIONS]
    return page(
        request,
        "analysis.html",
        who,
        looked=looked,
        dates={name: form.get(name, "") for name in ("since", "until")},
        seen=overview.seen(events, targets),
        matrices=[(_TITLES[m.dimension], m, _shades(m)) for m in matrices if m.rows],
        heat=week(overview.heat(events)) if events.height else None,
        weekdays=WEEKDAYS,
        chart=days(events["time"].to_list(), looked.since, looked.until) if events.height else None,
        bursts=overview.bursts(events),
        answers=presets.ask_all(events),
        graph=drawn(service, who, looked, form),
        shown=_SHOWN,
        reveals=Permission.REVEAL in who.person.may()
        and Action.REVEAL in PURPOSES[looked.case.purpose].actions,
    )


@router.post("/cases/{case_id}/reveal")
def show(request: Request, service: Here, who: Revealer, case_id: str, form: Form) -> Response:
    """Show who took part in one communication, for a reason: a grant for this one record, then the reveal."""
    case = service.cases.get(who.person, case_id)
    record, reason = form.get("record", ""), form.get("reason", "")
    position = Position.parse(record)
    now = Month.of(service.runtime.clock())
    months = str(now.plus(-13)), str(now.plus(1))
    service.desk.ask(who.person, Action.REVEAL, case_id, months, 1, [], reason)
    service.desk.use(who.person, Wanted(who.person.id, Action.REVEAL, case_id, *months, 1), [record])
    asker = Asker.of(who.person.name, case.reference, case.purpose, source=SOURCE.get())
    found = reveal(service.runtime, asker, position)
    return page(request, "reveal.html", who, case=case, found=found, reason=reason)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A link graph as it is shown: what was asked for, the drawing, and how each node is called."""

    graph: Graph
    kinds: tuple[str, ...]
    least: int
    labels: dict[str, str]
    svg: Markup


def drawn(service: Service, who: SignedIn, looked: Looked, form: dict[str, str]) -> Drawn:
    """Place the graph of a case, nodes that were placed before where they were, and keep where they are."""
    kinds = tuple(k for k in KINDS if form.get(k)) or KINDS[:2]
    given = form.get("least", "")
    least = min(max(1, int(given)), 1_000_000) if given.isdigit() and len(given) < 8 else 1
    found = graph(looked.read.events, looked.read.targets, kinds, least)
    keys = {f"T{n}": entry.id for n, entry in enumerate(looked.targets, 1)}
    kept: dict[str, tuple[float, float]] = {}
    for entry in service.cases.entries(who.person, looked.case.id):
        if entry.kind == "layout":
            kept = {name: (x, y) for name, (x, y) in orjson.loads(entry.text).items()}
    placed = place(found, kept, keys)
    if placed.keys() - kept.keys():
        service.cases.keep(who.person, looked.case.id, "layout", orjson.dumps({**kept, **placed}).decode())
    labels = {node.name: looked.read.people.get(node.name, node.name) for node in found.nodes}
    return Drawn(found, kinds, least, labels, Markup(svg(found, placed, labels, keys)))  # noqa: S704 (it escapes)


def look(service: Service, who: SignedIn, case_id: str, form: dict[str, str]) -> Looked:
    """Read the communications of a case's targets: the grant first, then the look, whose audit entry is durable."""
    case = service.cases.get(who.person, case_id)
    targets = [e for e in service.cases.entries(who.person, case_id) if e.kind == "target"]
    if not targets:
        raise InputError("the case has no targets yet: add some first")
    since, until = period(form, service.runtime.clock())
    texts = [e.text for e in targets]
    last = Month.of(until - timedelta(microseconds=1))
    wanted = Wanted(who.person.id, Action.LOOKUP, case.id, str(Month.of(since)), str(last))
    grant = service.desk.use(who.person, wanted, texts)
    asker = Asker.of(who.person.name, case.reference, case.purpose, source=SOURCE.get())
    namer = service.cases.namer(who.person, case_id)
    read = communications(service.runtime, asker, texts, namer, since, until)
    service.desk.took(grant.id, read.rows)
    return Looked(case, targets, since, until, read)


def _shades(matrix: overview.Matrix) -> list[list[Any]]:
    most = max(max(row.counts) for row in matrix.rows)
    return [overview.shades(row.counts, most) for row in matrix.rows]
