"""No column of numbers is made of a number's digits: a price, a duration, parts, alone or together."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lethe.streams.transform.split.columns import durations
from lethe.streams.transform.split.number_guard import number_leaks
from lethe.streams.transform.split.rules import ID

HERS = "923001234567"
TYPES: dict[str, Any] = {
    "price": pl.Decimal(18, 6),
    "charge": pl.Decimal(18, 6),
    "duration_ms": pl.Int64,
    "charged_duration_ms": pl.Int64,
    "parts": pl.Int32,
}


def rows(*values: dict[str, Any]) -> pl.DataFrame:
    data = {name: [value.get(name) for value in values] for name in TYPES}
    return pl.DataFrame({ID: range(len(values)), **data}, schema={ID: pl.UInt32, **TYPES})


def people(*values: str) -> pl.DataFrame:
    """One of each row."""
    return pl.DataFrame({ID: range(len(values)), "value": values}, schema={ID: pl.UInt32, "value": pl.String})


def hits(value: dict[str, Any], number: str = HERS) -> set[str]:
    found = number_leaks(rows({}, value, {}), people("15550001111", number, "4477009001"))
    assert all(mask.to_list() == [False, True, False] for mask in found.values())
    return set(found)


@pytest.mark.parametrize(
    "price",
    [
        "1234567",
        "234567",
        "3001234.567",
        "300123.4567",
        "-1234567",
        "12.34567",
        "0.234567",
        "234567.1",
        "123456",
    ],
)
def test_a_price_made_of_her_number(price: str) -> None:
    assert hits({"price": Decimal(price)}) == {"price"}


@pytest.mark.parametrize(
    "milliseconds", [1234567, 1234567000, 234567000, 12345670, 3001234567, 234567, 123456]
)
def test_a_duration_made_of_her_number(milliseconds: int) -> None:
    assert hits({"duration_ms": milliseconds}) == {"duration_ms"}


def test_what_is_worked_out_from_it_goes_too() -> None:
    """Twice a number tells the number."""
    value = {"price": Decimal("1234567"), "charge": Decimal("2469134"), "parts": 2}
    assert hits(value) == {"price", "charge"}
    value = {"duration_ms": 1234567000, "charged_duration_ms": 1234620000, "charge": Decimal("0.5")}
    assert hits(value) == {"duration_ms", "charged_duration_ms", "charge"}


def test_parts_made_of_her_number() -> None:
    assert hits({"parts": 234567}) == {"parts"}


@pytest.mark.parametrize(
    "value",
    [
        {"price": Decimal("3001"), "duration_ms": 1234567000},
        {"duration_ms": 30012000, "parts": 34567},
        {"price": Decimal("0.3001"), "duration_ms": 234567},
    ],
)
def test_two_columns_that_make_it_together(value: dict[str, Any]) -> None:
    assert hits(value) >= {"duration_ms"}


@pytest.mark.parametrize(
    "value",
    [
        {"price": Decimal("3001"), "duration_ms": 2345000, "parts": 67},
        {"parts": 1, "price": Decimal("23.40"), "duration_ms": 567},
        {"price": Decimal("0.001"), "duration_ms": 234000, "parts": 567},
        {"price": Decimal("30012"), "parts": 3, "duration_ms": 4567},
    ],
)
def test_three_columns_that_make_it_together(value: dict[str, Any]) -> None:
    assert hits(value) == {"price", "duration_ms", "parts"}


def written(piece: str, column: str, how: int) -> dict[str, Any]:
    """Put a piece of a number into a column, in one of the ways in which a vendor writes its unit."""
    if column == "price":
        return {"price": Decimal(piece).scaleb(-(0, 2, 6)[how])}
    return {column: int(piece) * (1000 if column == "duration_ms" and how else 1)}


@settings(max_examples=60, deadline=None)
@given(
    number=st.from_regex(r"[1-9][0-9]{9,11}", fullmatch=True),
    columns=st.permutations(["price", "duration_ms", "parts"]),
    cuts=st.sets(st.integers(1, 6), min_size=1, max_size=2),
    how=st.lists(st.integers(0, 2), min_size=3, max_size=3),
)
def test_however_a_number_is_spread_over_columns_it_is_found(
    number: str, columns: list[str], cuts: set[int], how: list[int]
) -> None:
    """Its last seven digits, or more, in two columns (three digits each) or in three, in any order and unit."""
    tail = number[-7:]
    ends = [0, *sorted(cuts), 7]
    pieces = [tail[low:high] for low, high in pairwise(ends)]
    digits = [len(piece.strip("0")) for piece in pieces]
    assume(all(digits) and sum(digits) >= (7 if len(pieces) == 2 else 5))
    assume(len(pieces) == 3 or min(digits) >= 3)
    value = {}
    for piece, column, unit in zip(pieces, columns, how, strict=False):
        value |= written(piece, column, unit)
    found = number_leaks(rows(value), people(number))
    assert set(value) <= set(found)


@pytest.mark.parametrize("number", ["+92 300 1234567", "sip:923001234567@gw.example.net", "001234567"])
def test_a_number_is_known_by_its_end_however_it_is_written(number: str) -> None:
    found = number_leaks(rows({"parts": 234567}), people(number))
    assert found["parts"].to_list() == [True]


ORDINARY: list[dict[str, Any]] = [
    {"price": Decimal("0.0079"), "duration_ms": 30_000, "parts": 1},
    {"price": Decimal("0.034567"), "parts": 3},
    {"price": Decimal("4567"), "charge": Decimal("34567")},
    {"price": Decimal("92300.1"), "charge": Decimal("923001")},
    {"duration_ms": 34_567, "price": Decimal("0.0300")},
    {"duration_ms": 123_000, "price": Decimal("0.0045"), "parts": 6},
    {"duration_ms": 34_567, "charged_duration_ms": 60_000},
    {"duration_ms": 567_000, "price": Decimal("0.4567"), "parts": 7},
    {"price": Decimal(0), "duration_ms": 0, "parts": 0},
    {},
]


@pytest.mark.parametrize("value", ORDINARY)
def test_ordinary_values_are_left_alone(value: dict[str, Any]) -> None:
    """Also where they happen to be the last few digits of her number."""
    assert hits(value) == set()


def test_one_in_a_thousand_ordinary_rows_at_most_is_taken_for_one() -> None:
    r = Random(17)
    values = [
        {
            "price": Decimal(r.randrange(1, 9_999_999)).scaleb(-r.choice((2, 4, 6))),
            "charge": Decimal(r.randrange(1, 9_999_999)).scaleb(-6),
            "duration_ms": r.randrange(1, 7_200_000),
            "charged_duration_ms": r.randrange(1, 7_200) * 1000,
            "parts": r.randrange(1, 9),
        }
        for _ in range(100_000)
    ]
    numbers = [f"92{r.randrange(3_000_000_000, 3_499_999_999)}" for _ in values]
    found = number_leaks(rows(*values), people(*numbers))
    withheld = pl.DataFrame(dict(found)).select(pl.any_horizontal(pl.all())).to_series().sum()
    assert withheld <= 60, "0.06 %; 0.1 % is what may be"


def test_the_number_of_another_row_is_no_hit() -> None:
    assert number_leaks(rows({"parts": 234567}, {}), people("15550001111", HERS)) == {}


def test_known_distinct_values_are_enough_to_see_that_there_is_nothing() -> None:
    given = rows(*({"price": Decimal("0.0079"), "duration_ms": 30_000} for _ in range(3)))
    known = {"price": pl.Series([Decimal("0.0079")], dtype=TYPES["price"])}
    assert number_leaks(given, people(HERS, HERS, HERS), known) == {}
    few = {"parts": pl.Series([1, 234567, None], dtype=pl.Int32)}
    found = number_leaks(rows({"parts": 1}, {"parts": 234567}), people(HERS, HERS), few)
    assert found["parts"].to_list() == [False, True]


def test_no_call_lasts_for_weeks() -> None:
    """3001234567 as milliseconds are 34 days."""
    week = timedelta(days=7) // timedelta(milliseconds=1)
    assert durations(pl.Series(["3001234567", str(week), str(week + 1)]), "0.001").to_list() == [
        None,
        week,
        None,
    ]
    assert durations(pl.Series(["1234567", "86400"]), "1").to_list() == [None, 86_400_000]
