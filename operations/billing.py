"""The bill: what each account owes by month and currency. The one place where it is asked for."""

from __future__ import annotations

from typing import Final

from lethe.operations import archive
from lethe.operations.archive import Answer
from lethe.operations.runtime import Runtime

_BILL: Final = (
    "SELECT account, month, currency, count(*) AS records, sum(parts) AS parts, sum(charge) AS charge "
    "FROM billable GROUP BY account, month, currency ORDER BY month DESC, records DESC, account, currency LIMIT "
)


def bill(runtime: Runtime, most: int) -> Answer:
    """Sum the charges of what is to be billed by account, month and currency: `most` rows, newest month first."""
    return archive.query(runtime, f"{_BILL}{most}")
