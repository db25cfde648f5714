"""The classes of data that periods are set for, what each period counts, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from lethe.schemas.retention.calendar import (
    ARCHIVE_YEARS,
    USAGE_MONTHS,
    WINDOW_MONTHS,
    Month,
    archive_end,
    window_end,
)


class DataClass(StrEnum):
    """What is kept for a period of its own: two parts of a communication, and usage data, which is one whole.

    Originals and rejected records go with identifiers, rejected usage data with usage data.
    """

    IDENTIFIERS = "identifiers"
    ARCHIVE = "archive"
    USAGE = "usage"


@dataclass(frozen=True, slots=True)
class ClassTerms:
    """`unit` a length counts, the default, the bounds of a length, and the first instant after a month's data."""

    unit: str
    default: int
    least: int
    most: int
    ends: Callable[[Month, int], datetime]


TERMS: Final[Mapping[DataClass, ClassTerms]] = {
    DataClass.IDENTIFIERS: ClassTerms("months", WINDOW_MONTHS, 1, 120, window_end),
    DataClass.ARCHIVE: ClassTerms(
        "years", ARCHIVE_YEARS, 0, 100, lambda month, years: archive_end(month.year, years)
    ),
    DataClass.USAGE: ClassTerms("months", USAGE_MONTHS, 1, USAGE_MONTHS, window_end),
}
"""Adding a class: a word above and its terms here; policies, ingestion and explanation read them."""
