"""What verification found: each finding names what it is about, in terms a person can act on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lethe.schemas.errors import IntegrityError


class Kind(StrEnum):
    """What is wrong with the thing that a finding names."""

    ALTERED = "altered"
    MISSING = "missing"
    ADDED = "added"
    DUPLICATED = "duplicated"
    MOVED = "moved"
    OUT_OF_ORDER = "out of order"
    SPLIT_VIEW = "split view"
    CUT_BACK = "cut back"
    NOT_PROVEN = "not proven"


@dataclass(frozen=True, slots=True)
class Finding:
    """`where` is a record's name, a commit, or a path of the log; `file` that of the archive, if known."""

    kind: Kind
    where: str
    detail: str
    file: str | None = None

    def __str__(self) -> str:
        place = f" in {self.file}" if self.file else ""
        return f"{self.where}{place}: {self.kind}: {self.detail}"


def require_none(findings: Iterable[Finding], most: int = 10) -> None:
    """Raise `IntegrityError` with the first findings, at most `most`, unless there are none."""
    found: list[str] = []
    more = 0
    for finding in findings:
        if len(found) < most:
            found.append(str(finding))
        else:
            more += 1
    if found:
        raise IntegrityError("; ".join(found) + (f"; and {more} more" if more else ""))
