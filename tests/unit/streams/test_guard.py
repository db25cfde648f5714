"""The leak guard finds a row's own people in any spelling, and lets honest values be."""

from __future__ import annotations

import polars as pl
import pytest

from lethe.schemas.declaration.vocabulary import STATUS_GROUPS
from lethe.schemas.subjects.addresses import normalise
from lethe.streams.transform.split.leak_guard import leaks, misshapen
from lethe.streams.transform.split.rules import ID


def hit(value: str, *people: str, column: str = "account", long_digits: bool = False) -> bool:
    known = [s for p in people if (s := normalise(p))]
    records = pl.DataFrame({ID: [7], column: [value]}, schema_overrides={ID: pl.UInt32})
    subjects = pl.DataFrame(
        {ID: [7] * len(known), "kind": [s.kind for s in known], "value": [s.value for s in known]},
        schema={ID: pl.UInt32, "kind": pl.String, "value": pl.String},
    )
    found = leaks(records, subjects, frozenset({column} if long_digits else ()))
    return column in found and found[column].to_list() == [True]


@pytest.mark.parametrize(
    "value",
    [
        "923005550142",
        "+92 300 555 0142",
        "0300-5550142",
        "(0300) 555.01.42",
        "%2B923005550142",
        "tel:+923005550142",
        "x3005550142y",
        "９２３００５５５０１４２",
        "٠٣٠٠٥٥٥٠١٤٢",
        "acct-0300-5550-142",
        "00923005550142",
        "AC923005550142",
    ],
)
@pytest.mark.parametrize("column", ["account", "sender", "status"])
def test_a_number_in_any_spelling(value: str, column: str) -> None:
    assert hit(value, "+923005550142", column=column)


@pytest.mark.parametrize(
    ("value", "who"),
    [
        ("jane.doe@example.org", "jane.doe@example.org"),
        ("JANE.DOE", "jane.doe@example.org"),
        ("jane.doe%40example.org", "jane.doe@example.org"),
        ("x-jane.doe-1", "jane.doe@example.org"),
        ("kevin-trunk", "sip:kevin@example.com"),
        ("BR.1502576394655843", "whatsapp:BR.1502576394655843"),
        ("203.0.113.50", "203.0.113.50"),
        ("3405803826", "203.0.113.50"),
        ("2001:db8:0:0:0:0:0:7", "2001:db8::7"),
    ],
)
def test_other_addresses(value: str, who: str) -> None:
    assert hit(value, who)


@pytest.mark.parametrize(
    "value", ["356938035643809", "410011234567890", "jane@example.org", "sip:1001", "10.0.0.1", "a::1"]
)
def test_a_column_without_room_for_addresses_holds_none_whoever_it_is(value: str) -> None:
    assert hit(value)
    assert misshapen(value, "route")


HONEST = """acme-1 DELIVERED_TO_HANDSET EC_SM_DF_MEMORYCAPACITYEXCEEDED PK-DIRECT-1 41001 410 01 2001 login-codes
newsletter""".split()


@pytest.mark.parametrize("value", [*sorted(STATUS_GROUPS), *HONEST])
def test_honest_values_stay(value: str) -> None:
    assert not hit(
        value, "923005550142", "news@example.org", "203.0.113.50", "sip:log@example.com", "whatsapp:BR.15"
    )


def test_ids_of_the_vendors_own_stay_where_they_are_declared() -> None:
    assert not hit("AC" + "0123456789" * 3 + "01", "923005550142", long_digits=True)
    assert hit("AC" + "0123456789" * 3 + "01", "923005550142")
    assert hit("AC000923005550142" + "a" * 17, "923005550142", long_digits=True)


def test_a_companys_own_address_stays_unless_it_is_the_persons() -> None:
    assert not hit("info@acme.example", "info@example.org", column="sender")
    assert hit("jane.doe@acme.example", "jane.doe@example.org", column="sender")
    assert hit("info@example.org", "info@example.org", column="sender")
    assert not hit("385958110027", "385915550148", column="sender")


def test_only_the_rows_own_people_count() -> None:
    records = pl.DataFrame(
        {ID: [1, 2], "sender": ["923005550142", "923005550142"]}, schema_overrides={ID: pl.UInt32}
    )
    people = pl.DataFrame(
        {ID: [2], "kind": ["msisdn"], "value": ["923005550142"]}, schema_overrides={ID: pl.UInt32}
    )
    assert leaks(records, people)["sender"].to_list() == [False, True]
