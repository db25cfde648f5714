"""Settings of the lines of one source: the sections `[lines.SOURCE]`."""

from __future__ import annotations

from pathlib import Path

from lethe.schemas.countries import checked
from lethe.schemas.declaration.vocabulary import CURRENCIES, ChargeBasis, is_zone
from lethe.schemas.sections import Section, setting


def _known_zone(zone: str | None) -> None:
    if zone is not None and not is_zone(zone):
        raise ValueError("the IANA name of a time zone, such as Asia/Karachi")


def _known_currency(currency: str | None) -> None:
    if currency is not None and currency not in CURRENCIES:
        raise ValueError("an ISO 4217 code in use, such as PKR")


def _known_country(country: str | None) -> None:
    if country is not None:
        checked(country)


class LineSettings(Section):
    """What is set for one source."""

    country: str | None = setting(
        default=None,
        check=_known_country,
        description="ISO 3166 alpha-2: under which national numbers are read",
    )
    dial_prefixes: tuple[str, ...] = setting(
        default=(), max_length=50, description="dialled before a number, no part of it"
    )
    own_numbers: Path | None = setting(default=None, description="file of the site's own numbers and ranges")
    charge_basis: ChargeBasis | None = setting(
        default=None,
        description="what a price is the price of, where your contract says other than the declaration",
    )
    zone: str | None = setting(
        default=None,
        max_length=64,
        check=_known_zone,
        description="IANA name of the clock's time zone, for times that say none themselves",
    )
    currency: str | None = setting(
        default=None, check=_known_currency, description="ISO 4217: of prices that name no currency"
    )
