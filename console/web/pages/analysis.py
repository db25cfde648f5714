"""The analysis of a case: its targets side by side, from one audited read; one counterpart revealed; the case file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from lethe.console.web.charts import WEEKDAYS, days, week
from lethe.console.web.pages.search import period
from lethe.console.web.security import Form, Here, needs
from lethe.console.web.service import Service
from lethe.console.web.views import page
from lethe.operations.access.cases import Case, Entry
from lethe.operations.access.grants import PURPOSES, Action, RefusedError
from lethe.operations.access.grants import Read as Wanted
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.analysis import overview, presets
from lethe.operations.analysis.communications import Read, communications
from lethe.operations.analysis.graph import KINDS, Graph, graph, place, svg
from lethe.operations.asker import Asker
from lethe.operations.case_files.make import Facts, make
from lethe.operations.window.ladders import ladders
from lethe.operations.window.lookup import newest_first, reveal_each
from lethe.operations.window.reveal import Revealed, reveal
from lethe.schemas.errors import InputError
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month

router = APIRouter(include_in_schema=False)
Looker = Annotated[SignedIn, Depends(needs(Permission.LOOKUP))]
HandsOver = Annotated[SignedIn, Depends(needs(Permission.HANDOVER))]
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
    """A case whose targets were read: under a grant, audited. `answer` names what is kept of it for another view;
    `again` says that this one came from there.
    """

    case: Case
    targets: list[Entry]
    since: datetime
    until: datetime
    read: Read
    asker: Asker
    grant: str
    answer: str = ""
    again: bool = False


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
    """Show who took part in one communication, for a reason."""
    case = service.cases.get(who.person, case_id)
    reason = form.get("reason", "")
    found = revealed(service, who, case, form.get("record", ""), reason)
    return page(request, "reveal.html", who, case=case, found=found, reason=reason)


@router.post("/cases/{case_id}/grants/{grant}/reveal")
def show_all(
    request: Request,
    service: Here,
    who: Revealer,
    case_id: str,
    grant: str,
    form: Form,  # noqa: ARG001
) -> Response:
    """Show every communication of whom a second person approved, with the other parties in clear."""
    case = service.cases.get(who.person, case_id)
    asked = [
        a for a in service.desk.of(who.person, case_id, grant) if a.grant.scope.action is Action.BULK_REVEAL
    ]
    if not asked:
        raise RefusedError("there is no such grant of yours")
    [asked_for], now = asked, service.window()
    scope, values = asked_for.grant.scope, list(asked_for.values)
    if not values:
        raise InputError("the grant says of nobody: ask for one that does, a number or address a line")
    months = max(scope.first_month, now[0]), min(scope.last_month, now[1])
    wanted = Wanted(who.person.id, Action.BULK_REVEAL, case.id, *months)
    used, count = service.desk.use_once(who.person, wanted, values)
    asker = replace(service.asker(who.person, case), count=count)
    since, until = Month.parse(months[0]).start(), Month.parse(months[1]).plus(1).start()
    found = reveal_each(service.runtime, asker, values, since, until)
    records = newest_first(found)
    return page(
        request,
        "reveals.html",
        who,
        case=case,
        values=values,
        lines=ladders(records),
        records=len(records),
        restricted=any(one.restricted for one in found),
        missing=sorted({key for one in found for key in one.missing}),
        reason=asked_for.reason,
        break_glass=used.break_glass,
    )


def revealed(service: Service, who: SignedIn, case: Case, record: str, reason: str) -> Revealed:
    """Reveal one communication: a grant for this one record, then the look, whose audit entry is durable."""
    position = Position.parse(record)
    months = service.window()
    service.desk.ask(who.person, Action.REVEAL, case.id, months, 1, [], reason)
    service.desk.use(who.person, Wanted(who.person.id, Action.REVEAL, case.id, *months, 1), [record])
    return reveal(service.runtime, service.asker(who.person, case), position)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A link graph as it is shown: what was asked for, the drawing, and how each node is called."""

    graph: Graph
    kinds: tuple[str, ...]
    least: int
    labels: dict[str, str]
    places: dict[str, tuple[float, float]]
    svg: Markup


def drawn(service: Service, who: SignedIn, looked: Looked, form: dict[str, str]) -> Drawn:
    """Place the graph of a case, nodes that were placed before where they were, and keep where they are."""
    kinds = tuple(k for k in KINDS if form.get(k)) or KINDS[:2]
    given = form.get("least", "")
    least = min(max(1, int(given)), 1_000_000) if given.isdigit() and len(given) < 8 else 1
    found = graph(looked.read.events, looked.read.targets, kinds, least)
    keys = _keys(looked.targets)
    kept = _kept(service.cases.entries(who.person, looked.case.id))
    placed = place(found, kept, keys)
    if placed.keys() - kept.keys():
        service.cases.keep(who.person, looked.case.id, "layout", orjson.dumps({**kept, **placed}).decode())
    labels = {node.name: looked.read.people.get(node.name, node.name) for node in found.nodes}
    places = {node.name: placed[keys.get(node.name, node.name)] for node in found.nodes}
    picture = Markup(svg(found, placed, labels, keys))  # noqa: S704 (it escapes)
    return Drawn(found, kinds, least, labels, places, picture)


@router.post("/cases/{case_id}/case-file")
def case_file(service: Here, who: HandsOver, case_id: str, form: Form) -> Response:
    """Ask for the case file of a case, or hand it over."""
    if form.get("ask"):
        targets = [e.text for e in service.cases.entries(who.person, case_id) if e.kind == "target"]
        months = service.window()
        reason = form.get("reason", "")
        service.desk.ask(who.person, Action.CASE_FILE, case_id, months, 100_000, targets, reason)
        return RedirectResponse(f"/cases/{case_id}", 303)
    return made(service, who, case_id, form)


def made(service: Service, who: SignedIn, case_id: str, form: dict[str, str]) -> Response:
    """Make the case file, once a second person has approved exactly these targets."""
    looked = look(service, who, case_id, form, Action.CASE_FILE)
    entries = service.cases.entries(who.person, case_id)
    facts = Facts(
        looked.case.title or "",
        [e.text for e in looked.targets],
        [(e.author, e.added, e.text) for e in entries if e.kind == "note"],
        looked.since,
        looked.until,
        looked.grant,
        _kept(entries),
        _keys(looked.targets),
    )
    data = make(service.runtime, looked.asker, looked.read, facts)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", looked.case.reference)
    headers = {"Content-Disposition": f'attachment; filename="case-file-{name}.zip"'}
    return Response(data, media_type="application/zip", headers=headers)


def _kept(entries: list[Entry]) -> dict[str, tuple[float, float]]:
    return {
        name: (x, y) for e in entries if e.kind == "layout" for name, (x, y) in orjson.loads(e.text).items()
    }


def _keys(targets: list[Entry]) -> dict[str, str]:
    """Name targets by their entries in the case: their numbers change when one is taken out."""
    return {f"T{number}": entry.id for number, entry in enumerate(targets, 1)}


def look(
    service: Service, who: SignedIn, case_id: str, form: dict[str, str], action: Action = Action.LOOKUP
) -> Looked:
    """Read the communications of a case's targets: the grant first, then the look, whose audit entry is durable.

    Another view of what this session has just read is made of that (`answer` in the form), and no second look.
    """
    case = service.cases.get(who.person, case_id)
    targets = [e for e in service.cases.entries(who.person, case_id) if e.kind == "target"]
    if not targets:
        raise InputError("the case has no targets yet: add some first")
    since, until = period(form, service)
    texts = [e.text for e in targets]
    wanted = Wanted(who.person.id, action, case.id, *service.window(since, until))
    question = {"analysis": texts, "since": since.isoformat(), "until": until.isoformat()}
    name = form.get("answer", "")
    if (kept := service.answers.again(who, wanted, question, name)) is not None:
        asker = service.asker(who.person, case)
        return Looked(case, targets, since, until, Read.kept(kept["read"]), asker, kept["grant"], name, True)
    standing = service.standing()
    grant = service.desk.use(who.person, wanted, texts)
    asker = service.asker(who.person, case)
    namer = service.cases.namer(who.person, case_id)
    read = communications(service.runtime, asker, texts, namer, since, until)
    service.desk.took_all(grant.id, read.rows)
    if action is not Action.LOOKUP:
        return Looked(case, targets, since, until, read, asker, grant.id)
    answer = {"read": read.to_keep(), "grant": grant.id}
    name = service.answers.keep(who, wanted, grant.id, question, standing, answer)
    return Looked(case, targets, since, until, read, asker, grant.id, name)


def _shades(matrix: overview.Matrix) -> list[list[Any]]:
    most = max(max(row.counts) for row in matrix.rows)
    return [overview.shades(row.counts, most) for row in matrix.rows]
