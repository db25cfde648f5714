"""Legal holds. To place, extend, release or produce one needs a second person, who sees the whole order."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from lethe.console.web.calls._shared import OF_WEIGHT, REFUSALS, Asked, Body, Instant, Text, by, told
from lethe.console.web.security import Here
from lethe.console.web.service import SOURCE
from lethe.operations.access.gate import Wish
from lethe.operations.access.grants import Action
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.operations.asker import Asker
from lethe.operations.retention import hold, hold_export

router = APIRouter(prefix="/api")
Keeper = Annotated[SignedIn, by(Permission.HOLD)]
Reference = Annotated[str, Field(min_length=1, max_length=200)]
Handing = Annotated[SignedIn, by(Permission.HANDOVER)]
_MOST: Final = 1_000
_ZIP: Final = "application/zip"


class OrderBody(Body):
    """What an authority orders to keep."""

    authority: Reference
    reference: Reference
    review: Instant
    people: list[Text] = Field(default_factory=list, max_length=_MOST)
    accounts: list[Text] = Field(default_factory=list, max_length=_MOST)
    messages: list[Text] = Field(default_factory=list, max_length=_MOST)
    since: Instant | None = None
    until: Instant | None = None
    days: int | None = Field(None, ge=1, le=3_660)
    claims: bool = False
    tell: bool = False

    def words(self) -> list[str]:
        """Say all of the order, a line each: what a second person approves."""
        said: dict[str, Any] = self.model_dump(exclude={"people"}, exclude_none=True)
        lines = [*self.people]
        for name, value in said.items():
            lines += [f"{name}: {v}" for v in (value if isinstance(value, list) else [value])]
        return lines


class Place(Asked):
    """A hold to place."""

    order: OrderBody


class Named(Body):
    """A hold, by its reference or id."""

    reference: Reference


class Extend(Asked):
    """A hold to extend, by its reference or id, and why."""

    reference: Reference
    reason: str = Field(min_length=1, max_length=500)
    days: int | None = Field(None, ge=1, le=3_660)
    review: Instant | None = None


class Release(Asked):
    """A hold to release, by its reference or id."""

    reference: Reference


@router.get("/holds", response_model=list[hold.Listed], responses={401: {}, 403: {}, 503: {}})
def every(service: Here, who: Keeper) -> Response:  # noqa: ARG001
    """List every hold there ever was."""
    return told(hold.every(service.runtime))


@router.post("/holds", response_model=hold.Placed, responses=OF_WEIGHT)
def place(service: Here, who: Keeper, asked: Place) -> Response:
    """Place a hold, once a second person has approved the whole order."""
    order = asked.order
    wish = Wish(Action.HOLD, order.words(), asked.purpose, order.people)
    passed = service.enter(who.person, asked.case, wish)
    return told(hold.place(service.runtime, passed.asker, hold.Order(**order.model_dump())))


@router.post("/holds/show", response_model=hold.Shown, responses=REFUSALS)
def show(service: Here, who: Keeper, asked: Named) -> Response:
    """Say what one hold in force covers, in numbers; audited."""
    return told(hold.show(service.runtime, Asker.of(who.person.name, source=SOURCE.get()), asked.reference))


@router.post("/holds/extend", response_model=hold.Extended, responses=OF_WEIGHT)
def extend(service: Here, who: Keeper, asked: Extend) -> Response:
    """Give a hold more days or another review date, once a second person has approved it."""
    words = [f"extend {asked.reference}", f"days: {asked.days}", f"review: {asked.review}", asked.reason]
    passed = service.enter(who.person, asked.case, Wish(Action.HOLD, words, asked.purpose, ()))
    return told(
        hold.extend(service.runtime, passed.asker, asked.reference, asked.reason, asked.days, asked.review)
    )


@router.post(
    "/holds/export", response_class=FileResponse, responses={**OF_WEIGHT, 200: {"content": {_ZIP: {}}}}
)
def produce(service: Here, who: Handing, asked: Release) -> Response:
    """Produce what a hold keeps as a ZIP, once a second person has approved the hand-over.

    It lies on the disk of the installation while it is sent, for its user alone, and is removed then.
    """
    wish = Wish(Action.HANDOVER, [f"hand over {asked.reference}"], asked.purpose, ())
    passed = service.enter(who.person, asked.case, wish)
    packed = hold_export.export_packed(service.runtime, passed.asker, asked.reference)
    headers = {"Lethe-Produced": json.dumps(asdict(packed.produced))}  # nothing but ASCII
    return FileResponse(
        packed.file,
        media_type=_ZIP,
        filename="hold.zip",
        headers=headers,
        background=BackgroundTask(packed.remove),
    )


@router.post("/holds/release/preview", response_model=hold.Releasing, responses=REFUSALS)
def before_release(service: Here, who: Keeper, asked: Named) -> Response:  # noqa: ARG001
    """Say what a release would destroy. Changes nothing."""
    return told(hold.before_release(service.runtime, asked.reference))


@router.post("/holds/release", response_model=hold.Released, responses=OF_WEIGHT)
def release(service: Here, who: Keeper, asked: Release) -> Response:
    """Release a hold, once a second person has approved it."""
    wish = Wish(Action.HOLD, [f"release {asked.reference}"], asked.purpose, ())
    passed = service.enter(who.person, asked.case, wish)
    return told(hold.release(service.runtime, passed.asker, asked.reference))
