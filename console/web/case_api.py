"""The JSON API of cases and detection: what their pages do, under the same grants, with the same audit entries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from lethe.console.web.api import Caller, CaseView
from lethe.console.web.calls._shared import REFUSALS, Body
from lethe.console.web.pages.analysis import drawn, look, made, revealed
from lethe.console.web.pages.cases import closed
from lethe.console.web.pages.detection import look_for
from lethe.console.web.security import Here, needs
from lethe.console.web.service import Service
from lethe.operations.access.cases import Case
from lethe.operations.access.grants import OF_WEIGHT, Action, State
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.analysis import overview, presets
from lethe.operations.analysis.graph import MOST_NODES, Graph
from lethe.operations.detection.detect import KINDS, LEAST, LIMITS

router = APIRouter(prefix="/api")

Id = Annotated[str, Path(min_length=1, max_length=36, pattern=r"^[0-9a-f-]+$")]
_Kind = Literal["ait", "otp", "grey", "burst", "recycled"]
_Text = Annotated[str, Field(min_length=1, max_length=4000)]


class EntryView(BaseModel):
    """A target or a note of a case."""

    id: str
    kind: str
    text: str
    author: str
    added: datetime


class GrantView(BaseModel):
    """A grant of a case: `weighty` ones need a second person before they are `approved`."""

    id: str
    action: Action
    state: State
    reason: str
    first_month: str
    last_month: str
    rows: int
    used: int
    ends: datetime
    weighty: bool
    break_glass: bool


class CaseDetail(CaseView):
    """A case of one's own with all that it holds; `title` is null once it is closed."""

    title: str | None
    entries: list[EntryView]
    grants: list[GrantView]


class NewEntries(Body):
    """Targets and notes to add; a target that is there already changes nothing."""

    targets: list[_Text] = Field([], max_length=50)
    notes: list[_Text] = Field([], max_length=50)


class Request(Body):
    """A grant to ask for: of whom (`values`, which the approver sees), how many rows, and why."""

    action: Action
    values: list[_Text] = Field([], max_length=50)
    rows: int = Field(100, ge=1, le=1_000_000)
    reason: str = Field(min_length=1, max_length=1000)
    break_glass: bool = False


class Period(Body):
    """Dates in UTC, both included; without them the whole window until now."""

    since: str = Field("", max_length=10)
    until: str = Field("", max_length=10)


class Sought(Period):
    """What to analyse; `kinds` and `least` (communications) say which nodes the graph has.

    `answer`: that of an analysis this session has just asked for, of which another view is made without a second look.
    """

    kinds: list[Literal["person", "business", "account"]] = Field(["person", "business"], max_length=3)
    least: int = Field(1, ge=1, le=1_000_000)
    answer: str = Field("", max_length=40)


class Analysis(BaseModel):
    """The targets of a case side by side, in the order of the case; other people are masked.

    `heat`: communications by weekday (Monday first) and hour, UTC. `people`: how each `P-…` is shown. `places`: where
    the nodes of the graph lie, in a square of 1 by 1. `restricted`: something is left out that a person has restricted.
    `again`: made of the reading that `answer` names, and nothing more was read.
    """

    since: datetime
    until: datetime
    communications: int
    restricted: bool
    people: dict[str, str]
    seen: list[overview.Seen]
    matrices: list[overview.Matrix]
    heat: list[list[int]]
    bursts: list[overview.Burst]
    presets: list[presets.Answer]
    graph: Graph
    places: dict[str, tuple[float, float]]
    most_nodes: int = MOST_NODES
    answer: str
    again: bool


class Wanted(Body):
    """One communication by its position, and why it is revealed."""

    record: str = Field(min_length=1, max_length=400)
    reason: str = Field(min_length=1, max_length=1000)


class PartyView(BaseModel):
    """One party of a communication, in clear."""

    role: str
    kind: str
    value: str


class RevealView(BaseModel):
    """Who took part in a communication, and what the archive says of it."""

    record: str
    parties: list[PartyView]
    metadata: dict[str, Any]


class Closing(Body):
    """The reference of the case, typed: its targets and notes are gone for good."""

    reference: str = Field(min_length=1, max_length=80)


class Pattern(BaseModel):
    """A pattern of fraud, and what it cannot see."""

    kind: str
    title: str
    limits: str


class Detection(Body):
    """A pattern to look for in a month, for a reason; a block that is shown has `least` numbers or more."""

    case: str = Field(max_length=36)
    kind: _Kind
    month: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")
    least: int = Field(LEAST, ge=5, le=1000)
    reason: str = Field(min_length=1, max_length=1000)


class Detected(BaseModel):
    """What was found: `rows` of blocks, accounts or routes, no number; `hidden` numbers lie in no block of `least`.

    `missing`: keys that did not open, so that not all was read.
    """

    kind: str
    month: str
    rows: list[dict[str, Any]]
    limits: str
    read: int
    hidden: int
    missing: list[str]


@router.get("/cases/{case_id}", responses=REFUSALS)
def case(service: Here, who: Caller, case_id: Id) -> CaseDetail:
    """Show one of one's own cases: targets, notes, grants."""
    needs(Permission.CASES)(who)
    return _detail(service, who, service.cases.get(who.person, case_id))


@router.post("/cases/{case_id}/entries", responses=REFUSALS)
def add(service: Here, who: Caller, case_id: Id, wanted: NewEntries) -> CaseDetail:
    """Add targets and notes."""
    needs(Permission.CASES)(who)
    for kind, texts in (("target", wanted.targets), ("note", wanted.notes)):
        for text in texts:
            service.cases.add(who.person, case_id, kind, text)
    return _detail(service, who, service.cases.get(who.person, case_id))


@router.delete("/cases/{case_id}/entries/{entry}", responses=REFUSALS)
def remove(service: Here, who: Caller, case_id: Id, entry: Id) -> CaseDetail:
    """Take a target or a note out."""
    needs(Permission.CASES)(who)
    service.cases.remove(who.person, case_id, entry)
    return _detail(service, who, service.cases.get(who.person, case_id))


@router.post("/cases/{case_id}/grants", responses=REFUSALS)
def ask(service: Here, who: Caller, case_id: Id, wanted: Request) -> CaseDetail:
    """Ask for a grant. One of weight waits for a second person, unless the glass is broken, which is reviewed."""
    needs(Permission.CASES)(who)
    service.desk.ask(
        who.person, wanted.action, case_id, service.window(), wanted.rows, wanted.values, wanted.reason,
        wanted.break_glass,
    )  # fmt: skip
    return _detail(service, who, service.cases.get(who.person, case_id))


@router.post("/cases/{case_id}/grants/{grant}/revoke", responses=REFUSALS)
def revoke(service: Here, who: Caller, case_id: Id, grant: Id) -> CaseDetail:
    """Take a grant of one's own back."""
    needs(Permission.CASES)(who)
    service.desk.revoke(who.person, grant)
    return _detail(service, who, service.cases.get(who.person, case_id))


@router.post("/cases/{case_id}/analysis", responses=REFUSALS)
def analysis(service: Here, who: Caller, case_id: Id, wanted: Sought) -> Analysis:
    """Read the communications of all targets of a case, in one audited look, and say what they have in common."""
    needs(Permission.LOOKUP)(who)
    form = {"since": wanted.since, "until": wanted.until, "least": str(wanted.least), "answer": wanted.answer}
    looked = look(service, who, case_id, form)
    picture = drawn(service, who, looked, {**form, **dict.fromkeys(wanted.kinds, "yes")})
    events, targets = looked.read.events, looked.read.targets
    return Analysis(
        since=looked.since,
        until=looked.until,
        communications=events.height,
        restricted=looked.read.restricted,
        people=dict(looked.read.people),
        seen=overview.seen(events, targets),
        matrices=[overview.matrix(events, targets, name) for name in overview.DIMENSIONS],
        heat=overview.heat(events),
        bursts=overview.bursts(events),
        presets=presets.ask_all(events),
        graph=picture.graph,
        places=picture.places,
        answer=looked.answer,
        again=looked.again,
    )


@router.post("/cases/{case_id}/reveal", responses=REFUSALS)
def show(service: Here, who: Caller, case_id: Id, wanted: Wanted) -> RevealView:
    """Show who took part in one communication, for a reason."""
    needs(Permission.REVEAL)(who)
    found = revealed(service, who, service.cases.get(who.person, case_id), wanted.record, wanted.reason)
    parties = [PartyView(role=p.role, kind=p.kind, value=p.value) for p in found.parties]
    metadata = {k: v.hex() if isinstance(v, bytes) else v for k, v in found.metadata.items()}
    return RevealView(record=found.record, parties=parties, metadata=metadata)


@router.post(
    "/cases/{case_id}/case-file",
    responses={**REFUSALS, 200: {"content": {"application/zip": {}}}},
    response_class=Response,
)
def case_file(service: Here, who: Caller, case_id: Id, wanted: Period) -> Response:
    """Make the case file, a ZIP, once a second person has approved a grant `case file` for exactly these targets."""
    needs(Permission.HANDOVER)(who)
    return made(service, who, case_id, {"since": wanted.since, "until": wanted.until})


@router.post("/cases/{case_id}/close", responses=REFUSALS)
def close(service: Here, who: Caller, case_id: Id, wanted: Closing) -> CaseDetail:
    """Close a case: what it holds is gone for good."""
    needs(Permission.CASES)(who)
    closed(service, who, case_id, wanted.reference)
    return _detail(service, who, service.cases.get(who.person, case_id))


@router.get("/detection", responses={401: {}, 403: {}})
def patterns(who: Caller) -> list[Pattern]:
    """List the patterns there are."""
    needs(Permission.REVEAL)(who)
    return [Pattern(kind=kind, title=title, limits=LIMITS[kind]) for kind, title in KINDS.items()]


@router.post("/detection", responses=REFUSALS)
def detection(service: Here, who: Caller, wanted: Detection) -> Detected:
    """Look for a pattern in a month, under a case of fraud, for a reason; audited before it answers."""
    needs(Permission.REVEAL)(who)
    found = look_for(service, who, {name: str(value) for name, value in wanted.model_dump().items()})
    return Detected(
        kind=found.kind, month=found.month, rows=found.rows, limits=found.limits, read=found.read,
        hidden=found.hidden, missing=list(found.missing),
    )  # fmt: skip


def _detail(service: Service, who: SignedIn, case: Case) -> CaseDetail:
    entries = [] if case.closed else service.cases.entries(who.person, case.id)
    grants = [] if case.closed else service.desk.of(who.person, case.id)
    return CaseDetail(
        id=case.id,
        reference=case.reference,
        purpose=case.purpose,
        opened=case.opened,
        closed=case.closed,
        title=case.title,
        entries=[
            EntryView(id=e.id, kind=e.kind, text=e.text, author=e.author, added=e.added)
            for e in entries
            if e.kind in ("target", "note")
        ],
        grants=[
            GrantView(
                id=a.grant.id, action=a.grant.scope.action, state=a.grant.state, reason=a.reason,
                first_month=a.grant.scope.first_month, last_month=a.grant.scope.last_month,
                rows=a.grant.scope.rows, used=a.grant.used, ends=a.grant.ends,
                weighty=a.grant.scope.action in OF_WEIGHT, break_glass=a.grant.break_glass,
            )
            for a in grants
        ],
    )  # fmt: skip
