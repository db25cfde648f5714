"""Charges: what each account owes by month and currency, and by what else one asks. The one place where it is asked.

Rows that another report of the same message replaced are left out and counted apart; rows that came late are in. What
is in several currencies is never added up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from lethe.operations import archive
from lethe.operations.archive import Answer
from lethe.operations.runtime import Runtime
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month

DIMENSIONS: Final = ("account", "month", "route", "network", "currency", "country", "channel")
"""What charges can be asked by; each can be narrowed to one of its values."""
NULL: Final = "␀"
"""Stands for what the platform did not say, where a dimension is narrowed to that."""
FORMS: Final = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
_COUNTED: Final = "count(*) AS records, sum(parts) AS parts, sum(charge) AS charge, count(*) FILTER (charge IS NULL) AS without_charge, count(*) FILTER (late) AS late"  # noqa: E501
_REPLACED: Final = (
    "SELECT count(*) FROM named m WHERE EXISTS (SELECT 1 FROM adjustments a WHERE a.month = m.month "
    'AND a.stream = m.stream AND a.partition = m.partition AND a."offset" = m."offset" '
    'AND a."index" IS NOT DISTINCT FROM m."index")'
)
_BILL: Final = (
    "SELECT account, month, currency, count(*) AS records, sum(parts) AS parts, sum(charge) AS charge "
    "FROM billable GROUP BY account, month, currency ORDER BY month DESC, records DESC, account, currency LIMIT "
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: by which dimensions, of rows where each of `only` has that value. Money is always by currency."""

    by: tuple[str, ...]
    only: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, by: Sequence[str], only: Mapping[str, str]) -> Question:
        """Read a question; raises `InputError` for a dimension that there is not."""
        for name in (*by, *only):
            if name not in DIMENSIONS:
                raise InputError(f"charges are asked by {', '.join(DIMENSIONS)}")
        if "month" in only and only["month"] != NULL:
            try:
                Month.parse(only["month"])
            except ValueError:
                raise InputError("a month is written 2026-03") from None
        wanted = dict.fromkeys((*by, "currency"))
        return cls(tuple(name for name in DIMENSIONS if name in wanted), tuple(sorted(only.items())))

    def grouped(self) -> str:
        """Write the statement that answers it, newest month and most records first."""
        names = ", ".join(self.by)
        order = ("month DESC, " if "month" in self.by else "") + f"records DESC, {names}"
        return f"SELECT {names}, {_COUNTED} FROM billable{self._where('WHERE')} GROUP BY {names} ORDER BY {order}"  # noqa: S608

    def rows(self) -> str:
        """Write the statement that gives every billable row, which names no end user."""
        return f"SELECT * FROM billable{self._where('WHERE')} ORDER BY event_time"  # noqa: S608

    def totals(self) -> str:
        """Write the statement that adds up by currency."""
        return f"SELECT currency, {_COUNTED} FROM billable{self._where('WHERE')} GROUP BY currency ORDER BY records DESC, currency"  # noqa: E501, S608

    def replaced(self) -> str:
        """Write the statement that counts the rows another report replaced."""
        return f"{_REPLACED}{self._where('AND')}"

    def _where(self, word: str) -> str:
        """Write the conditions. Names are of a fixed list; values are quoted as SQL asks."""
        said = [
            f"{name} IS NULL" if value == NULL else f"{name} = '{value.replace(chr(39), chr(39) * 2)}'"
            for name, value in self.only
        ]
        return f" {word} {' AND '.join(said)}" if said else ""


@dataclass(frozen=True, slots=True)
class Charges:
    """An answer: its first rows, whether there are more, sums by currency, and how many rows were replaced."""

    rows: Answer
    more: bool
    totals: Answer
    replaced: int


def charges(runtime: Runtime, question: Question, most: int) -> Charges:
    """Answer a question with at most so many rows."""
    rows, more = archive.first(runtime, question.grouped(), most)
    counted: Any = archive.query(runtime, question.replaced()).rows[0][0]
    return Charges(rows, more, archive.query(runtime, question.totals()), counted)


def write(runtime: Runtime, question: Question, form: str, every_row: bool, out: IO[bytes]) -> int:
    """Write an answer, or every billable row of it, as csv or parquet while it comes; returns how many rows it had."""
    if form not in FORMS:
        raise InputError(f"format: one of {', '.join(FORMS)}")
    return archive.write(
        runtime, question.rows() if every_row else question.grouped(), form, out, for_people=True
    )


def bill(runtime: Runtime, most: int) -> Answer:
    """Sum the charges of what is to be billed by account, month and currency: `most` rows, newest month first."""
    return archive.query(runtime, f"{_BILL}{most}")
