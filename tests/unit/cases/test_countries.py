"""A country that is none would apply to nobody: it is refused wherever one is named."""

from __future__ import annotations

from datetime import UTC, datetime

import phonenumbers
import pytest

from lethe.operations.retention.policy import explained
from lethe.operations.sections.lines import LineSettings
from lethe.operations.settings import Integrity
from lethe.schemas.countries import COUNTRIES
from lethe.schemas.errors import ConfigurationError, InputError
from lethe.schemas.retention.policy import CountryPeriod, RetentionPolicy
from lethe.schemas.sections import SectionError
from lethe.schemas.site.residence import parse_residence
from lethe.schemas.subjects.addresses import Subject
from lethe.schemas.subjects.geography import MCC_COUNTRY

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NONE = ["UK", "EU", "XX", "ZZ", "pk", "PAK", "P", "", "П1"]


def test_every_country_of_a_number_or_network_is_one() -> None:
    own = phonenumbers.SUPPORTED_REGIONS | set(MCC_COUNTRY.values())
    assert own - COUNTRIES <= {"AC", "TA"}, "Ascension and Tristan da Cunha are of SH"
    assert len(COUNTRIES) == 250


@pytest.mark.parametrize("code", NONE)
def test_what_is_no_country_is_refused_by_name(code: str) -> None:
    for make in (
        lambda: LineSettings(country=code), lambda: CountryPeriod(country=code, window_months=6, reason="a clause"),
        lambda: Integrity(scope=("PK", code)),
    ):  # fmt: skip
        with pytest.raises(SectionError, match="ISO 3166"):
            make()
    with pytest.raises(ConfigurationError, match=r"res.csv, line 2: the country is an ISO 3166"):
        parse_residence(f"# table\naccount, acme, {code}", "res.csv") if code else parse_residence(
            "#\naccount, acme, -", "res.csv"
        )
    if len(code) == 2 and code.isascii() and code.isupper():
        with pytest.raises(InputError, match="ISO 3166"):
            explained(RetentionPolicy(), f"PK,{code}", NOW, NOW)


def test_the_common_slip_is_told_what_to_write() -> None:
    with pytest.raises(SectionError, match="the United Kingdom is GB"):
        LineSettings(country="UK")


def test_a_residence_table_is_read_as_csv_and_as_addresses_are_stored() -> None:
    found = parse_residence(
        'account, "Acme, Inc.", PK\nrange, ::ffff:203.0.113.0/120, PK\nrange, 2001:db8::/32, IN\n'
        'subject, "Amal ""A"" <amal@example.org>", PK\n', "res.csv",
    )  # fmt: skip
    assert found.accounts == {"Acme, Inc.": "PK"}
    assert [found.of_address(a) for a in ("203.0.113.9", "2001:db8::1", "203.0.114.1")] == ["PK", "IN", None]
    assert found.subjects == {Subject("email", "amal@example.org"): "PK"}
    with pytest.raises(ConfigurationError, match="overlaps line 1"):
        parse_residence("range, 203.0.113.0/24, PK\nrange, ::ffff:203.0.113.9/128, IN", "res.csv")
