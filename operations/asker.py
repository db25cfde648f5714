"""Who asks, for which case and why: what every use case is given, and what its audit entry begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lethe.operations.runtime import Runtime
from lethe.schemas.errors import InputError

_LONGEST_NAME = 200
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. `law` is the reason of law to see a restricted person; `request` the id of a message that asked;
    `source` where the question came from, such as the name of a terminal.
    """

    who: str
    case: str | None = None
    purpose: str | None = None
    law: str | None = None
    request: str | None = None
    source: str | None = None

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

    def needs_reason(self) -> None:
        """Raise `InputError` unless there are a case and a purpose: nobody looks into the window without."""
        if not self.case or not self.purpose:
            raise InputError("a case and a purpose are needed, not blanks")


def record(runtime: Runtime, asker: Asker, action: str, **facts: Any) -> None:
    """Write an audit entry and return once it is durable; raises `ConfigurationError` when it cannot be written."""
    said = {"source": asker.source, "case": asker.case, "purpose": asker.purpose, "request": asker.request}
    entry = {"who": asker.who, "action": action, **{k: v for k, v in said.items() if v is not None}, **facts}
    runtime.audit.append(entry, runtime.clock())
