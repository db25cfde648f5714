"""Who asks, for which case and why: what every use case is given, and what its audit entry begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lethe.operations.audit.naming import IN_A_ROW, may_name_somebody
from lethe.schemas.errors import InputError

if TYPE_CHECKING:  # a client of a service says who asks, and has nothing to run
    from lethe.operations.runtime import Runtime
    from lethe.schemas.subjects.addresses import Subject

_LONGEST_NAME = 200
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. `law` is the reason of law to see a restricted person; `request` the id of a message that asked;
    `source` where the question came from, such as the name of a terminal. `count` is told of how many records an
    answer tells, and refuses more than there is a grant for; None where no grant is needed, or others count.
    """

    who: str
    case: str | None = None
    purpose: str | None = None
    law: str | None = None
    request: str | None = None
    source: str | None = None
    count: Callable[[int], None] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        who: str,
        case: str | None = None,
        purpose: str | None = None,
        law: str | None = None,
        request: str | None = None,
        source: str | None = None,
    ) -> Asker:
        """Trim what was given to the lengths an audit entry holds; a blank reason of law is none."""
        return cls(
            who[:_LONGEST_NAME],
            None if case is None else case.strip()[:_LONGEST_NAME],
            None if purpose is None else purpose.strip()[:_LONGEST_REASON],
            (law or "").strip()[:_LONGEST_REASON] or None,
            request,
            source,
        )

    def names_nobody(self) -> Asker:
        """Return it; raises `InputError` for a case, a purpose or a reason of law that holds a number or an address.

        The audit keeps them for good. References of cases have digits of their own: ten in a row are taken for a
        number, and eight behind a plus.
        """
        said = filter(None, (self.case, self.purpose, self.law))
        if any(may_name_somebody(text, in_a_row=IN_A_ROW) for text in said):
            raise InputError(
                "the audit keeps case, purpose and reason of law for good: write them without anybody's number or "
                "address (no @, no ten digits in a row)"
            )
        return self

    def needs_reason(self) -> None:
        """Raise `InputError` unless there are a case and a purpose: nobody looks into the window without."""
        if not self.case or not self.purpose:
            raise InputError("a case and a purpose are needed, not blanks")

    def takes(self, rows: int) -> None:
        """Count the records that an answer tells of; raises `LetheError` for more than the grant has rows for."""
        if self.count is not None:
            self.count(rows)


def record(
    runtime: Runtime,
    asker: Asker,
    action: str,
    *,
    about: Iterable[Subject] = (),
    messages: Iterable[str] = (),
    **facts: Any,
) -> None:
    """Write an audit entry and return once it is durable; raises `ConfigurationError` when it cannot be written.

    `about`: the people it is about, and `messages`: the ids of messages; the entry says tokens of the audit's own in
    their place. It holds no token of the window, and never both a record's position and whom the record is of: either
    would outlive the month's key.
    """
    record_each(runtime, asker, action, [{"about": about, "messages": messages, **facts}])


def record_each(runtime: Runtime, asker: Asker, action: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write an audit entry for each of several people, in one go, as `record` does for one."""
    now = runtime.clock()
    runtime.audit.append_all([_entry(runtime, asker, action, now, **one) for one in entries], now)


def _entry(
    runtime: Runtime,
    asker: Asker,
    action: str,
    now: datetime,
    *,
    about: Iterable[Subject] = (),
    messages: Iterable[str] = (),
    **facts: Any,
) -> dict[str, Any]:
    said = {"source": asker.source, "case": asker.case, "purpose": asker.purpose, "request": asker.request}
    entry = {"who": asker.who, "action": action, **{k: v for k, v in said.items() if v is not None}, **facts}
    if subjects := runtime.audit_tokens.of(now, about, messages):
        entry["subjects"] = subjects
    return entry
