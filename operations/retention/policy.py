"""Explain which retention periods apply to a communication, until when what is kept, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lethe.operations.asker import Asker, record
from lethe.operations.runtime import Runtime
from lethe.operations.window.identify import identify
from lethe.schemas.countries import checked
from lethe.schemas.errors import InputError
from lethe.schemas.retention.calendar import Month
from lethe.schemas.retention.data_class import TERMS, DataClass
from lethe.schemas.retention.policy import RetentionPolicy
from lethe.schemas.subjects.geography import country_of_prefix


@dataclass(frozen=True, slots=True)
class ExplainedPeriod:
    """How long one class of data of a communication is kept. `rule`: `default`, `PK>=24` or `DE<=6`."""

    data_class: DataClass
    length: int
    unit: str
    rule: str
    reason: str
    kept_until: datetime  # the first instant at which it may be kept no more
    kept: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """The periods of a communication in words and instants; whom it is of is not in it."""

    countries: tuple[str, ...]
    country_found: str
    month: str
    periods: tuple[ExplainedPeriod, ...]

    def of(self, data_class: DataClass) -> ExplainedPeriod:
        """Return the period of one class."""
        return next(p for p in self.periods if p.data_class == data_class)


def explain(runtime: Runtime, asker: Asker, text: str, when: datetime) -> Explained:
    """Explain the periods of a communication at a time, of whom a text names or of a country (two letters).

    Several, with commas between them, are the parties of one record and the country of its network.
    """
    settings = runtime.settings
    people = [one for one in text.split(",") if not _is_country(one.strip())]
    if people:  # an address was asked about, although nothing is read of whom it is
        subjects = [s for one in people for s in identify(one, settings.line_countries).subjects]
        record(runtime, asker, "policy.explain", about=subjects)
    return explained(settings.retention, text, when, runtime.clock(), settings.line_countries)


def explained(
    policy: RetentionPolicy, text: str, when: datetime, now: datetime, lines: Iterable[str] = ()
) -> Explained:
    """Explain by a policy. `lines`: the countries under which a number may be written nationally."""
    found = [_country(one.strip(), lines) for one in text.split(",")]
    countries = tuple(dict.fromkeys(country for country, _ in found if country is not None))
    month = Month.of(when)
    periods = []
    for data_class, terms in TERMS.items():
        period = policy.period(data_class, countries)
        whose = policy.for_country(period.country)
        ends = period.ends(month)
        periods.append(
            ExplainedPeriod(
                data_class, period.length, terms.unit, period.rule or "default",
                whose.reason if whose else "no country's rule asks for another", ends, now < ends,
            )
        )  # fmt: skip
    how = "; ".join(dict.fromkeys(said for _, said in found))
    return Explained(countries, how, str(month), tuple(periods))


def _is_country(text: str) -> bool:
    return len(text) == 2 and text.isalpha()


def _country(text: str, lines: Iterable[str]) -> tuple[str | None, str]:
    if _is_country(text):
        try:
            checked(text.upper())
        except ValueError as error:
            raise InputError(f"{text.upper()} is no country; write {error}") from None
        return text.upper(), "given"
    number = identify(text, lines).number
    country = country_of_prefix(number[:4]) if number else None
    return country, "by the number's country code" if country else "none can be told from this address"
