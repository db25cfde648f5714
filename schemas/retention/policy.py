"""Who is kept for how long: the default periods, and the floors and ceilings of single countries.

`RetentionPolicy.period` is the one place where a period is decided: ingestion, expiry and explanation ask it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lethe.schemas.countries import checked
from lethe.schemas.retention.calendar import ARCHIVE_YEARS, USAGE_MONTHS, WINDOW_MONTHS, Month
from lethe.schemas.retention.data_class import TERMS, DataClass
from lethe.schemas.sections import Section, setting


@dataclass(frozen=True, slots=True)
class Period:
    """How long one class of data is kept: `length` in the class's unit, and the rule that decided.

    `rule`: `PK>=24` (a floor of PK), `DE<=6` (a ceiling of DE); None where the default stands.
    """

    data_class: DataClass
    length: int
    rule: str | None
    country: str | None  # whose rule it is

    def ends(self, month: Month) -> datetime:
        """Return the first instant at which a month's data may no longer be kept."""
        return TERMS[self.data_class].ends(month, self.length)


class CountryPeriod(Section):
    """Other periods for the end users of one country, and why.

    `at_least` and `at_most` are floors and ceilings by class of data. `window_months` and `archive_years` are the short
    way: a floor where they are longer than the default, a ceiling where they are shorter.
    """

    country: str = setting(check=checked, description="ISO 3166 alpha-2 code of the end user's country")
    window_months: int | None = setting(default=None, ge=1, le=120)
    archive_years: int | None = setting(default=None, ge=0, le=100)
    at_least: dict[DataClass, int] = setting(default_factory=dict, description="what the law says: a floor")
    at_most: dict[DataClass, int] = setting(default_factory=dict, description="what was promised: a ceiling")
    reason: str = setting(min_length=3, max_length=500, description="the clause that asks for it")

    def check(self) -> None:
        """Check floors and ceilings against each other and against what is possible."""
        for name in ("at_least", "at_most"):
            for of, length in getattr(self, name).items():
                terms = TERMS[of]
                if not terms.least <= length <= terms.most:
                    raise ValueError(
                        f"{name}.{of} of {self.country}: {terms.least} to {terms.most} {terms.unit}"
                    )
                if self._short(of) is not None:
                    raise ValueError(f"{name}.{of} of {self.country}: the short form says another period")
        for of in self.at_least.keys() & self.at_most.keys():
            if self.at_least[of] > self.at_most[of]:
                raise ValueError(f"at_least.{of} of {self.country} is more than its at_most")

    def _short(self, data_class: DataClass) -> int | None:
        return {
            DataClass.IDENTIFIERS: self.window_months,
            DataClass.ARCHIVE: self.archive_years,
        }.get(data_class)

    def floor(self, data_class: DataClass, default: int) -> int | None:
        """Return how long data of that class is kept at least."""
        short = self._short(data_class)
        return short if short is not None and short > default else self.at_least.get(data_class)

    def ceiling(self, data_class: DataClass, default: int) -> int | None:
        """Return how long data of that class is kept at most."""
        short = self._short(data_class)
        return short if short is not None and short < default else self.at_most.get(data_class)


def _once_each(countries: tuple[CountryPeriod, ...]) -> None:
    names = [c.country for c in countries]
    if len(set(names)) != len(names):
        raise ValueError("a country has one period")


class RetentionPolicy(Section):
    """Months in the window and years in the archive, after the month (the year) of the communication.

    As keys are made for a month and a period, a period of usage data is none of communications: so its keys are its
    own, and no token of it is one of a communication.
    """

    window_months: int = setting(default=WINDOW_MONTHS, ge=1, le=120)
    archive_years: int = setting(default=ARCHIVE_YEARS, ge=0, le=100)
    usage_months: int = setting(default=USAGE_MONTHS, ge=1, le=USAGE_MONTHS)
    countries: tuple[CountryPeriod, ...] = setting(default=(), check=_once_each)

    def check(self) -> None:
        """Check that usage data has keys of its own."""
        if both := set(self.lengths(DataClass.USAGE)) & set(self.lengths(DataClass.IDENTIFIERS)):
            raise ValueError(
                f"{min(both)} months are a period of usage data and of identifiers: usage data has keys of its own, "
                "so choose another number for one of them"
            )

    def default(self, data_class: DataClass) -> int:
        """Return how long data of a class is kept where no country says otherwise."""
        return {
            DataClass.IDENTIFIERS: self.window_months,
            DataClass.ARCHIVE: self.archive_years,
            DataClass.USAGE: self.usage_months,
        }[data_class]

    def period(self, data_class: DataClass, countries: Iterable[str | None]) -> Period:
        """Decide how long data of a class is kept, of a record whose end users are of these countries (if known).

        The default, cut to the shortest ceiling of the countries, then lengthened to their longest floor: where two
        countries disagree, the law of one outranks the promise made for the other.
        """
        default = self.default(data_class)
        among = frozenset(countries)
        mine = [c for c in self.countries if c.country in among]
        found = Period(data_class, default, None, None)
        ceilings = [(n, c.country) for c in mine if (n := c.ceiling(data_class, default)) is not None]
        if ceilings and (shortest := min(ceilings))[0] < found.length:
            found = Period(data_class, shortest[0], f"{shortest[1]}<={shortest[0]}", shortest[1])
        floors = [(-n, c.country) for c in mine if (n := c.floor(data_class, default)) is not None]
        if floors and -(longest := min(floors))[0] > found.length:
            found = Period(data_class, -longest[0], f"{longest[1]}>={-longest[0]}", longest[1])
        return found

    def lengths(self, data_class: DataClass) -> tuple[int, ...]:
        """Return every length that a period of the class can have, shortest first."""
        default = self.default(data_class)
        bounds = [bound(data_class, default) for c in self.countries for bound in (c.floor, c.ceiling)]
        return tuple(sorted({default, *(b for b in bounds if b is not None)}))

    def for_country(self, country: str | None) -> CountryPeriod | None:
        """Return what is set for that country, if anything is."""
        return next((c for c in self.countries if c.country == country), None)

    def ended(
        self, data_class: DataClass, month: Month, countries: Iterable[str | None], now: datetime
    ) -> bool:
        """Tell whether data of that class, of a month's communication between these countries, may be kept no more."""
        return self.period(data_class, countries).ends(month) <= now
