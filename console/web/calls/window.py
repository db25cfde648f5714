"""Looks into the window: look-ups, reveals, evidence, and who looked at a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from lethe.console.web.calls._shared import OF_WEIGHT, REFUSALS, Asked, Instant, Text, by, told
from lethe.console.web.security import Here
from lethe.operations.access.gate import Wish
from lethe.operations.access.grants import Action
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.detection import detect
from lethe.operations.oversight import entries
from lethe.operations.proof import evidence
from lethe.operations.window import lookup, reveal
from lethe.schemas.position import Position
from lethe.schemas.retention.calendar import Month

router = APIRouter(prefix="/api")
Looker = Annotated[SignedIn, by(Permission.LOOKUP)]
Revealer = Annotated[SignedIn, by(Permission.REVEAL)]
Officer = Annotated[SignedIn, by(Permission.EXPORT)]
_MOST: Final = 1_000
_MOST_PEOPLE: Final = 50
_MORE_ROWS: Final = "ask for more rows with lethe grants ask"


class LookUp(Asked):
    """Whom or which messages to look up, within `since` <= time < `until`."""

    texts: list[Text] = Field(min_length=1, max_length=_MOST)
    since: Instant | None = None
    until: Instant | None = None


class RevealAll(Asked):
    """Whose communications are revealed, other parties in clear; of how many records it may tell."""

    texts: list[Text] = Field(min_length=1, max_length=_MOST_PEOPLE)
    since: Instant | None = None
    until: Instant | None = None
    rows: int = Field(1_000, ge=1, le=100_000)


class LookUpHeld(Asked):
    """Whom to look up in what a hold has set aside."""

    text: Text
    reference: str = Field(min_length=1, max_length=200)
    since: Instant | None = None
    until: Instant | None = None


class Record(Asked):
    """One record, by its name STREAM/PARTITION/OFFSET[/INDEX]."""

    position: str = Field(max_length=300)


class Patterns(Asked):
    """Which patterns to look for in a month; a block that is shown has `least` numbers or more."""

    kinds: list[Annotated[str, Field(max_length=20)]] = Field(min_length=1, max_length=10)
    month: str = Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")
    least: int = Field(detect.LEAST, ge=5, le=1_000)


class Looks(Asked):
    """Whose looks at whom are asked for."""

    text: Text
    who: str | None = Field(None, max_length=200)
    action: str | None = Field(None, max_length=80)
    since: Instant | None = None
    until: Instant | None = None


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """An evidence file as text, and what a person is told of it."""

    file: str
    summary: list[str]
    has_original: bool
    stamped: datetime | None


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of the audit, and what of it could not be read."""

    entries: list[dict[str, Any]]
    damage: list[str]


@router.post("/lookup", response_model=list[lookup.Communications], responses=REFUSALS)
def look_up(service: Here, who: Looker, asked: LookUp) -> Response:
    """Look values up under the grant of a case; audited before it answers."""
    wish = Wish(Action.LOOKUP, asked.texts, asked.purpose, months=service.window(asked.since, asked.until))
    passed = service.enter(who.person, asked.case, wish)
    found = lookup.lookup_each(service.runtime, passed.asker, asked.texts, asked.since, asked.until)
    service.desk.took_all(passed.grant, sum(len(one.records) for one in found), _MORE_ROWS)
    return told(found)


@router.post("/reveals", response_model=list[lookup.Communications], responses=OF_WEIGHT)
def show_all(service: Here, who: Revealer, asked: RevealAll) -> Response:
    """Look values up with the other parties in clear, once a second person has approved exactly these."""
    months = service.window(asked.since, asked.until)
    wish = Wish(Action.BULK_REVEAL, asked.texts, asked.purpose, months=months, rows=asked.rows)
    passed = service.enter(who.person, asked.case, wish)
    return told(lookup.reveal_each(service.runtime, passed.asker, asked.texts, asked.since, asked.until))


@router.post("/lookup/held", response_model=lookup.Communications, responses=REFUSALS)
def look_up_held(service: Here, who: Looker, asked: LookUpHeld) -> Response:
    """Look a value up in what a hold has set aside, under the grant of a case."""
    passed = service.enter(who.person, asked.case, Wish(Action.LOOKUP, [asked.text], asked.purpose))
    found = lookup.lookup_held(
        service.runtime, passed.asker, asked.text, asked.reference, asked.since, asked.until
    )
    service.desk.took_all(passed.grant, len(found.records), _MORE_ROWS)
    return told(found)


@router.post("/reveal", response_model=reveal.Revealed, responses=REFUSALS)
def show(service: Here, who: Revealer, asked: Record) -> Response:
    """Show who took part in one record, under a grant for this one."""
    position = Position.parse(asked.position)
    passed = service.enter(who.person, asked.case, Wish(Action.REVEAL, [asked.position], asked.purpose))
    return told(reveal.reveal(service.runtime, passed.asker, position))


@router.post("/evidence", response_model=EvidenceView, responses=REFUSALS)
def prove(service: Here, who: Revealer, asked: Record) -> Response:
    """Make the evidence of one record: it may hold the original, so it takes the grant of a reveal."""
    position = Position.parse(asked.position)
    passed = service.enter(who.person, asked.case, Wish(Action.REVEAL, [asked.position], asked.purpose))
    made = evidence.evidence(service.runtime, passed.asker, position)
    return told(EvidenceView(made.file.decode(), made.summary, made.has_original, made.stamped))


@router.post("/detections", response_model=list[detect.Found], responses=REFUSALS)
def look_for(service: Here, who: Revealer, asked: Patterns) -> Response:
    """Look for patterns in a month: blocks are shown, no numbers."""
    month = Month.parse(asked.month)
    wish = Wish(Action.DETECT, [], asked.purpose, months=(asked.month, asked.month))
    passed = service.enter(who.person, asked.case, wish)
    return told(detect.detect(service.runtime, passed.asker, asked.kinds, month, asked.least))


@router.post("/disclosures", response_model=Entries, responses=REFUSALS)
def disclosures(service: Here, who: Officer, asked: Looks) -> Response:
    """List who looked at a person: for who answers requests of persons; auditors are given no identifiers."""
    passed = service.enter(who.person, asked.case, Wish(Action.LOOKUP, [asked.text], asked.purpose))
    wanted = entries.Filter(asked.who, asked.action, None, asked.since, asked.until)
    damage: list[str] = []
    found = entries.disclosures(service.runtime, passed.asker, asked.text, wanted, damage.append)
    service.desk.took_all(passed.grant, len(found), _MORE_ROWS)
    return told(Entries(found, damage))
