"""Every spelling of a time and of a sum that vendors use, each read as what it says, alone and among others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import polars as pl
import pytest
from transform_kit import Kit, rows

from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import ConfigurationError
from lethe.streams.transform.split.columns import times

NINE = datetime(2019, 11, 9, 16, 0, 0, tzinfo=UTC)

ISO = {
    "2019-11-09T16:00:00.000+0000": NINE,
    "2019-11-09T17:00:00.000+0100": NINE,
    "2019-11-09T13:00:00.000-0300": NINE,
    "2019-11-09T16:00:00.000Z": NINE,
    "2019-11-09T16:00:00Z": NINE,
    "2019-11-09T16:00:00+0000": NINE,
    "2019-11-09T21:30:00+05:30": NINE,
    "2019-11-09T16:00:00.123456Z": NINE + timedelta(microseconds=123456),
    "2019-11-09 21:30:00+05:30": NINE,
    "2019-11-09 21:00:00 +0500": NINE,
    "2019-11-09 16:00:00": NINE,
    "2019-11-09T16:00:00": NINE,
    "2019-11-09T23:59:59.999-0000": NINE.replace(hour=23, minute=59, second=59, microsecond=999000),
    "2020-02-29T00:30:00.000+0500": datetime(2020, 2, 28, 19, 30, tzinfo=UTC),
    "2017-05-22 21:36:14+05:30": datetime(2017, 5, 22, 16, 6, 14, tzinfo=UTC),
}
OTHERS: dict[str, dict[str, datetime]] = {
    "rfc2822": {
        "Sat, 09 Nov 2019 16:00:00 +0000": NINE,
        "Sat, 09 Nov 2019 21:00:00 +0500": NINE,
        "9 Nov 2019 16:00:00 GMT": NINE,
    },
    "yymmddhhmm": {"1911091600": NINE},
    "epoch_s": {"1573315200": NINE, "1573315200.25": NINE + timedelta(milliseconds=250)},
    "epoch_ms": {"1573315200000": NINE, "1573315200123": NINE + timedelta(milliseconds=123)},
    "epoch_us": {"1573315200000001": NINE + timedelta(microseconds=1)},
    "iso_or_epoch_s": {"1573315200": NINE, "2019-11-09 16:00:00": NINE},
}
NO_TIMES = {
    "iso": [
        "2019-02-29T00:00:00.000+0000",
        "2019-11-09T24:00:00.001+0000",
        "1573315200",
        "yesterday",
        "2019",
        "+92300",
    ],
    "rfc2822": ["Sat, 09 Nov", "2019-11-09T16:00:00Z", ""],
    "yymmddhhmm": ["1913091600", "191109160", "19110916000", "९१९११०९१६०"],
    "epoch_s": ["0", "-1", "1e40", "NaN", "0x5DC6"],
    "epoch_ms": ["", "now"],
}


@pytest.mark.parametrize(
    ("form", "spellings"), [("iso", ISO), *OTHERS.items()], ids=lambda p: p if isinstance(p, str) else ""
)
def test_every_spelling_of_a_time(form: str, spellings: dict[str, datetime]) -> None:
    texts = [*spellings, None, *NO_TIMES.get(form, [])]
    together = times(pl.Series("t", texts, dtype=pl.String), form).to_list()
    assert together == [*spellings.values(), None, *(None for _ in NO_TIMES.get(form, []))]
    assert [times(pl.Series("t", [t], dtype=pl.String), form).item() for t in texts] == together


MONEY = """
name = "acme/money"
version = 1
title = "t"
channel = "sms"
direction = "outbound"
status_group = "DELIVERED"

[[field]]
path = "to"
class = "subject"
role = "recipient"
end_user = "always"
required = true

[[field]]
path = "at"
class = "archive"
type = "timestamp"
column = "event_time"
required = true

[[field]]
path = "cost"
class = "archive"
type = "decimal"
column = "price"
scale = "SCALE"
unit = "UNIT"

[[field]]
path = "currency"
class = "archive"
type = "enum"
column = "currency"
"""


@pytest.mark.parametrize(
    ("scale", "unit", "written", "price"),
    [
        ("1", "message", 0.02, "0.02"),
        ("1", "message", "0.0050", "0.005"),
        ("1", "message", 1e-05, "0.00001"),
        ("1", "message", 0.1, "0.1"),
        ("-1", "message", "-0.00750", "0.0075"),
        ("0.01", "second", 5, "0.05"),
        ("0.01", "second", 0.35, "0.0035"),
        ("0.00001", "message", 645, "0.00645"),
        ("0.00001", "message", "645.0", "0.00645"),
        ("1", "message", "123456.7891", "123456.7891"),
        ("1", "message", 0, "0"),
    ],
)
def test_money_is_read_as_decimals_with_its_currency_and_unit(
    scale: str, unit: str, written: Any, price: str
) -> None:
    fmt = formats.parse_any(MONEY.replace("SCALE", scale).replace("UNIT", unit), "money.toml")
    record = {"to": "923005550142", "at": "2026-10-01T10:00:00Z", "cost": written, "currency": "USD"}
    (row,) = rows(Kit().process([orjson.dumps(record)], fmt).metadata)
    assert (row["price"], row["currency"], row["price_unit"]) == (Decimal(price), "USD", unit)


@pytest.mark.parametrize("written", ["free", "NaN", "Infinity", "0x10", "1_000", "1e30"])
def test_what_is_no_sum_is_refused(written: str) -> None:
    fmt = formats.parse_any(MONEY.replace("SCALE", "1").replace("UNIT", "message"), "money.toml")
    record = {"to": "923005550142", "at": "2026-10-01T10:00:00Z", "cost": written, "currency": "USD"}
    found = Kit().process([orjson.dumps(record)], fmt)
    assert [r["reason"] for r in rows(found.quarantine)] == ["not_a_number"]


WRITTEN = MONEY.replace("SCALE", "1").replace("UNIT", "message")
WITH_POINT = WRITTEN.replace('type = "decimal"', 'type = "decimal"\ndecimal_mark = "."')
WITH_COMMA = WITH_POINT.replace('decimal_mark = "."', 'decimal_mark = ","')


def split_amount(declared: str, written: Any, **more: Any) -> Any:
    """The row of a record with such a cost, or why there is none."""
    fmt = formats.parse_any(declared, "money.toml")
    record = {"to": "923005550142", "at": "2026-10-01T10:00:00Z", "cost": written, **more}
    found = Kit().process([orjson.dumps(record)], fmt)
    for row in rows(found.metadata):
        return row["price"], row["currency"], row["charge"]
    (rejected,) = rows(found.quarantine)
    return rejected["reason"], rejected["detail"]


@pytest.mark.parametrize(
    ("declared", "written", "price", "currency"),
    [
        (WITH_COMMA, "0,0075", "0.0075", "EUR"),
        (WITH_COMMA, "1.234,56", "1234.56", "EUR"),
        (WITH_COMMA, "1.234", "1234", "EUR"),
        (WITH_COMMA, "0,05 €", "0.05", "EUR"),
        (WITH_COMMA, "-0,05 EUR", "-0.05", "EUR"),
        (WITH_COMMA, "7,5E-3", "0.0075", "EUR"),
        (WITH_COMMA, 5, "5", "EUR"),
        (WITH_POINT, "€0.05", "0.05", "EUR"),
        (WITH_POINT, "USD 0.05", "0.05", "USD"),
        (WITH_POINT, "$0.05", "0.05", "CAD"),
        (WITH_POINT, "$0.05 USD", "0.05", "USD"),
        (WITH_POINT, "Rs. 1,23,456.50", "123456.5", "PKR"),
        (WITH_POINT, "PKR 2.50", "2.5", "PKR"),
        (WITH_POINT, "(0.05)", "-0.05", "USD"),
        (WITH_POINT, "CHF 1'234.50", "1234.5", "CHF"),
        (WITH_POINT, "0.05-", "-0.05", "USD"),
    ],
)
def test_amounts_are_read_as_the_declaration_says(
    declared: str, written: Any, price: str, currency: str
) -> None:
    amount = Decimal(price)
    assert split_amount(declared, written, currency=currency) == (amount, currency, amount)


@pytest.mark.parametrize(
    ("declared", "written", "why"),
    [
        *(
            (WRITTEN, text, "amount_form")
            for text in ("0,0075", "€0.05", "1.234,56", "USD 0.05", "1,5", "1 234")
        ),
        (WITH_COMMA, "0.0075", "amount_form"),
        (WITH_COMMA, "1,234.50", "amount_form"),
        (WITH_POINT, "1.234,56", "amount_form"),
        (WITH_POINT, "0,0075", "amount_form"),
        (WITH_POINT, "GBP 0.05", "other_currency"),
        (WITH_POINT, "¥5", "other_currency"),
        (WITH_POINT, "€0.05 USD", "not_a_number"),
        (WITH_POINT, "--5", "not_a_number"),
        (WITH_POINT, "(5", "not_a_number"),
        (WITH_POINT, "5 apples", "not_a_number"),
        (WITH_POINT, ".", "not_a_number"),
        (WITH_POINT, "923,005,550,142", "not_a_number"),
    ],
)
def test_an_amount_that_could_be_two_is_refused_and_says_why(declared: str, written: str, why: str) -> None:
    assert split_amount(declared, written, currency="EUR") == (why, "cost")


def test_an_amount_names_its_own_currency_where_nothing_else_does() -> None:
    assert split_amount(WITH_POINT, "€0.05")[1] == "EUR"
    assert split_amount(WITH_POINT, "$0.05") == ("missing_field", "currency")
    assert split_amount(WITH_POINT, "0.05") == ("missing_field", "currency")
    assert split_amount(WITH_POINT, None)[1] is None
    constant = 'currency = "USD"\n' + WITH_POINT.partition('[[field]]\npath = "currency"')[0].lstrip()
    assert split_amount(constant, "€0.05") == ("other_currency", "cost")
    assert split_amount(constant, "$0.05")[1] == "USD"


def test_fees_are_written_as_the_price_is() -> None:
    fee = """
[charge]
basis = "message"
plus = ["fee"]

[[field]]
path = "fee"
class = "window"
"""
    price, _, charge = split_amount(WITH_COMMA + fee, "1.000,50", fee="0,25 €", currency="EUR")
    assert (price, charge) == (Decimal("1000.5"), Decimal("1000.75"))
    assert split_amount(WITH_COMMA + fee, "1,5", fee="0,25 $", currency="EUR") == ("other_currency", "fee")


def test_only_decimals_have_a_decimal_mark() -> None:
    wrong = WRITTEN.replace('column = "event_time"', 'column = "event_time"\ndecimal_mark = ","')
    with pytest.raises(ConfigurationError, match="only a decimal has a `decimal_mark`"):
        formats.parse_any(wrong, "money.toml")
