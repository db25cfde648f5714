"""What a hold is: who ordered it, what it covers, when it is looked at again, and when it ends by itself if it does.

A definition is sealed under the hold's own key. What is beside it in clear, dates and the hold's id, is for lists.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from lethe.keys.monthkeys import MonthKeys
from lethe.keys.sealing import open_value, seal_value
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.holds.scope import Scope


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold in force. `repr` does not show what it covers. One with an end is released by the sweep after it."""

    id: str
    placed: datetime
    review: datetime
    authority: str
    reference: str
    scope: Scope = field(repr=False)
    ends: datetime | None = None
    basis: Literal["order", "claims"] = "order"
    """Why the law lets it be kept: an order, or legal claims (GDPR art. 17(3)(b) and (e))."""
    tell: bool = False
    """Whether a person whose records it keeps may be told by whose order."""

    @property
    def key(self) -> str:
        """The id of its key."""
        return f"hold.{self.id}"

    def overdue(self, now: datetime) -> bool:
        """Tell whether its review date is past."""
        return now >= self.review

    def ended(self, now: datetime) -> bool:
        """Tell whether its end is past."""
        return self.ends is not None and now >= self.ends


@dataclass(frozen=True, slots=True)
class Known:
    """What can be said of any hold without its key."""

    id: str
    placed: datetime
    review: datetime
    released: datetime | None
    ends: datetime | None = None


def sealed_definition(hold: Hold, keys: MonthKeys) -> dict[str, Any]:
    """Return the document of a new hold: dates in clear, the rest sealed."""
    scope = hold.scope
    definition = {
        "authority": hold.authority,
        "reference": hold.reference,
        "subjects": [[s.kind, s.value] for s in scope.subjects],
        "accounts": scope.accounts,
        "messages": scope.messages,
        "since": iso(scope.since),
        "until": iso(scope.until),
        "ends": iso(hold.ends),
        "basis": hold.basis,
        "tell": hold.tell,
    }
    sealed = seal_value(keys, "holds", "definition", hold.id, orjson.dumps(definition))
    return {
        "id": hold.id,
        "placed": iso(hold.placed),
        "review": iso(hold.review),
        "ends": iso(hold.ends),
        "definition": b64encode(sealed).decode(),
    }


def opened_definition(known: Known, document: dict[str, Any], keys: MonthKeys) -> Hold:
    """Open the definition of a hold; `IntegrityError` if it was changed. Its dates are those it was placed with."""
    sealed = b64decode(document["definition"])
    d = orjson.loads(open_value(keys, "holds", "definition", known.id, sealed))
    subjects = tuple(Subject(kind, value) for kind, value in d["subjects"])
    times = read_time(d["since"]), read_time(d["until"])
    scope = Scope(subjects, tuple(d["accounts"]), tuple(d["messages"]), *times)
    ends = read_time(d.get("ends"))  # none has one that was placed before there were ends
    basis, tell = d.get("basis", "order"), d.get("tell", False)
    return Hold(
        known.id, known.placed, known.review, d["authority"], d["reference"], scope, ends, basis, tell
    )


def sealed_extension(hold: Hold, number: int, keys: MonthKeys) -> dict[str, Any]:
    """Return the document that gives a hold other dates, its `number`-th."""
    dates = {"review": iso(hold.review), "ends": iso(hold.ends)}
    sealed = seal_value(keys, "holds", "extension", f"{hold.id}/{number}", orjson.dumps(dates))
    return {**dates, "sealed": b64encode(sealed).decode()}


def opened_extension(
    hold_id: str, number: int, document: dict[str, Any], keys: MonthKeys
) -> tuple[datetime, datetime | None]:
    """Open the document of an extension: (review, end); `IntegrityError` if it was changed."""
    sealed = b64decode(document["sealed"])
    d = orjson.loads(open_value(keys, "holds", "extension", f"{hold_id}/{number}", sealed))
    return datetime.fromisoformat(d["review"]), read_time(d["ends"])


def iso(time: datetime | None) -> str | None:
    """Write a time in UTC, or nothing for none."""
    return None if time is None else time.astimezone(UTC).isoformat()


def read_time(text: str | None) -> datetime | None:
    """Read a time that `iso` wrote."""
    return None if text is None else datetime.fromisoformat(text)
