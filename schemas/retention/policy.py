"""Who is kept for how long: the default periods and those of single countries, as a value without a clock."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lethe.schemas.retention.calendar import ARCHIVE_YEARS, WINDOW_MONTHS, Month, window_end


class CountryPeriod(BaseModel):
    """Other periods for the end users of one country, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    country: str = Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 alpha-2 code of the end user's country")
    window_months: int | None = Field(None, ge=1, le=120)
    archive_years: int | None = Field(None, ge=0, le=100)
    reason: str = Field(min_length=3, max_length=500, description="the clause that asks for it")


class RetentionPolicy(BaseModel):
    """Months in the window and years in the archive, after the month (the year) of the communication."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_months: int = Field(WINDOW_MONTHS, ge=1, le=120)
    archive_years: int = Field(ARCHIVE_YEARS, ge=0, le=100)
    countries: tuple[CountryPeriod, ...] = ()

    @field_validator("countries")
    @classmethod
    def _once_each(cls, countries: tuple[CountryPeriod, ...]) -> tuple[CountryPeriod, ...]:
        names = [c.country for c in countries]
        if len(set(names)) != len(names):
            raise ValueError("a country has one period")
        return countries

    def for_country(self, country: str | None) -> CountryPeriod | None:
        """Return the period set for that country, if there is one."""
        return next((c for c in self.countries if c.country == country), None)

    def window_of(self, country: str | None) -> int:
        """Months the identifiers of that country's end users are kept."""
        period = self.for_country(country)
        return self.window_months if period is None or period.window_months is None else period.window_months

    def archive_of(self, country: str | None) -> int:
        """Years the metadata of that country's end users is kept."""
        period = self.for_country(country)
        return self.archive_years if period is None or period.archive_years is None else period.archive_years

    def windows(self) -> tuple[int, ...]:
        """Return every window length in force, shortest first."""
        return tuple(sorted({self.window_months, *(self.window_of(c.country) for c in self.countries)}))

    def window_ended(self, month: Month, country: str | None, now: datetime) -> bool:
        """Tell whether the identifiers of that month and country may no longer be readable."""
        return window_end(month, self.window_of(country)) <= now

    def archive_ended(self, year: int, country: str | None, now: datetime) -> bool:
        """Tell whether the metadata of that year and country may no longer be kept."""
        return now.astimezone(UTC).year > year + self.archive_of(
            country
        )  # `archive_end`, without its last year
