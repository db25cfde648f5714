"""Explain which retention period applies to a communication, until when what is kept, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lethe.operations.runtime import Runtime
from lethe.operations.window.identify import identify
from lethe.schemas.retention.calendar import Month, archive_end, window_end
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.subjects.geography import country_of_prefix


@dataclass(frozen=True, slots=True)
class Explained:
    """The period of a communication in words and instants; whom it is of is not in it."""

    country: str | None
    country_found: str
    rule: str
    reason: str
    month: str
    window_months: int
    identifiers_kept_until: datetime
    identifiers_readable: bool
    archive_years: int
    metadata_kept_until: datetime
    metadata_kept: bool


def explain(runtime: Runtime, text: str, when: datetime) -> Explained:
    """Explain the period of a communication at a time, of whom a text names or of a country (two letters)."""
    settings = runtime.settings
    return explained(settings.retention, text, when, runtime.clock(), settings.line_countries)


def explained(
    policy: RetentionPolicy, text: str, when: datetime, now: datetime, countries: Iterable[str] = ()
) -> Explained:
    """Explain by a policy. `countries`: those under which a number may be written nationally."""
    country, found = _country(text.strip(), countries)
    period = policy.for_country(country)
    month = Month.of(when)
    window, years = policy.window_of(country), policy.archive_of(country)
    ends = window_end(month, window)
    kept_until = archive_end(when.astimezone(UTC).year, years)
    default = "identifiers: 12 months after the end of the month; archive: 10 years following the year"
    return Explained(
        country=country,
        country_found=found,
        rule=f"of {period.country}" if period else "default",
        reason=period.reason if period else default,
        month=str(month),
        window_months=window,
        identifiers_kept_until=ends,
        identifiers_readable=now < ends,
        archive_years=years,
        metadata_kept_until=kept_until,
        metadata_kept=now < kept_until,
    )


def _country(text: str, countries: Iterable[str]) -> tuple[str | None, str]:
    if len(text) == 2 and text.isalpha():
        return text.upper(), "given"
    number = identify(text, countries).number
    country = country_of_prefix(number[:4]) if number else None
    return country, "by the number's country code" if country else "none can be told from this address"
