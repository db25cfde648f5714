"""What the calls share: who may ask, what every question about people says, and how an answer is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response

from lethe.console.web.api import Caller
from lethe.console.web.security import needs
from lethe.operations.access.roles import Permission
from lethe.operations.access.sessions import SignedIn
from lethe.schemas.retention.calendar import instant

Instant = Annotated[datetime, AfterValidator(instant)]
"""A time in a question, in UTC unless it says otherwise; 422 for one that no record has."""
Text = Annotated[str, Field(min_length=1, max_length=1024)]
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {400: {}, 401: {}, 403: {}, 503: {}}


class Waits(BaseModel):
    """Nothing was done: the request `waiting` needs a second person first; then ask the same again."""

    waiting: str
    told: str


OF_WEIGHT: Final[dict[int | str, dict[str, Any]]] = {**REFUSALS, 202: {"model": Waits}}


class Body(BaseModel):
    """What a call says; nothing else may be in it."""

    model_config = ConfigDict(extra="forbid")


class Asked(Body):
    """A question about people: under which case of one's own (its reference or id), and why in one's own words."""

    case: str = Field(min_length=1, max_length=80)
    purpose: str = Field("", max_length=400)


def caller(permission: Permission) -> Callable[[SignedIn], SignedIn]:
    """Let only those through who have a permission."""
    check = needs(permission)

    def checked(who: Caller) -> SignedIn:
        return check(who)

    return checked


def by(permission: Permission) -> Any:
    """Depend on a caller who has a permission."""
    return Depends(caller(permission))


def told(value: Any) -> Response:
    """Write an answer as JSON: bytes in hex, decimals as text, instants in UTC."""
    return Response(orjson.dumps(value, default=plain), media_type="application/json")


def plain(value: Any) -> Any:
    """Write a value that JSON has no form of."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Sequence):  # the records of a copy, which lie in a file
        return list(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
