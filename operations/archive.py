"""Ask the archive with SQL. It holds no identifier of an end user, so a question leaves no audit entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lethe.operations.runtime import Runtime
from lethe.tiers.archive import sql


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of the columns, and the rows; both empty for a statement that answers nothing."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows by name of column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def query(runtime: Runtime, statement: str) -> Answer:
    """Run one statement over the archive's views (`lethe.tiers.archive.sql`); `LetheError` says what is wrong."""
    return Answer(*sql.query(runtime.warehouse, statement))
