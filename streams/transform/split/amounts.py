"""Amounts of money as people write them: with a decimal comma, groups of digits, a currency before or after.

Which mark begins the decimals is declared, for `1.234` is a thousand to some and one to others. Without it only plain
numbers are read. The currency that stands in an amount fills the row's where nothing else does, and may not
contradict it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from typing import Final

import polars as pl

from lethe.schemas.declaration.fields import FieldSpec
from lethe.schemas.declaration.format import Format
from lethe.schemas.declaration.vocabulary import CURRENCIES
from lethe.streams.transform.batch import Reason
from lethe.streams.transform.split._collected import ArchiveColumns, Rejections

MARKS: Final = (".", ",")
_LONGEST: Final = 64
_DOLLARS: Final = (
    "USD ARS AUD BBD BMD BND BRL BSD BZD CAD CLP COP CUP CVE DOP FJD GYD HKD JMD KYD LRD MXN NAD NIO NZD SBD SGD SRD "
    "TOP TTD TWD UYU XCD"
)
_RUPEES: Final = "INR LKR MUR NPR PKR SCR"
_SIGNS: Final = {
    sign: frozenset(codes.split())
    for signs, codes in (
        ("$", _DOLLARS),
        ("€", "EUR"),
        ("£", "GBP EGP FKP GIP LBP SDG SHP SSP SYP"),
        ("¥ ￥", "CNY JPY"),
        ("₨ rs rs. re re.", _RUPEES),
        ("₹", "INR"),
        ("৳ tk tk.", "BDT"),
        ("₺ tl", "TRY"),
        ("₽", "RUB"),
        ("₴", "UAH"),
        ("₸", "KZT"),
        ("₾", "GEL"),
        ("₼", "AZN"),
        ("₩", "KPW KRW"),
        ("₦", "NGN"),
        ("₵ gh₵", "GHS"),
        ("₱", "CUP PHP"),
        ("฿", "THB"),
        ("₫", "VND"),
        ("₭", "LAK"),
        ("₮", "MNT"),
        ("₪", "ILS"),
        ("₡", "CRC SVC"),
        ("₲", "PYG"),
        ("kr kr.", "DKK ISK NOK SEK"),
        ("zł zl", "PLN"),
        ("kč", "CZK"),
        ("ft", "HUF"),
        ("лв лв.", "BGN"),
        ("fr fr. sfr sfr.", "CHF"),
        ("r", "ZAR"),
        ("rm", "MYR"),
        ("rp rp.", "IDR"),
        ("ksh ksh.", "KES"),
        ("r$", "BRL"),
        ("us$", "USD"),
        ("a$ au$", "AUD"),
        ("c$ ca$", "CAD"),
        ("hk$", "HKD"),
        ("mx$", "MXN"),
        ("nt$", "TWD"),
        ("nz$", "NZD"),
        ("s$", "SGD"),
    )
    for sign in signs.split()
}
"""What stands for a currency beside its ISO code, in lower case, and which it may be."""
_AMOUNT: Final = r"""
    (?P<open>\()? \s* (?P<before>[+−-])? \s* (?P<first>CURRENCY)? \s* (?P<sign>[+−-])? \s*
    (?P<whole>[0-9]+ | [1-9][0-9]{0,2} (?P<group>GROUP) (?:[0-9]{2,3}(?P=group))* [0-9]{3})?
    (?:MARK(?P<places>[0-9]*))? (?:[eE](?P<exponent>[+-]?[0-9]{1,2}))?
    \s* (?P<after>[−-])? \s* (?P<last>CURRENCY)? \s* (?P<close>\))?
"""
_CURRENCY: Final = r"[^\W\d_]{1,4}[.$₵]?|[^\w\s.,'’()+−-]"
_PLAIN: Final = re.compile(r"[+-]?[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?")


@cache
def _pattern(mark: str) -> re.Pattern[str]:
    group = r"['’ \u00a0\u2009\u202f" + ("," if mark == "." else ".") + "]"
    text = _AMOUNT.replace("CURRENCY", _CURRENCY).replace("GROUP", group).replace("MARK", f"[{mark}]")
    return re.compile(text, re.VERBOSE)


def read_amount(text: str, mark: str) -> tuple[Decimal, frozenset[str] | None] | None:
    """Read an amount whose decimals begin with `mark`; None where the text is no such amount.

    Returns the number and the currencies it may be in, None where it says none.
    """
    match = _pattern(mark).fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if match is None or not (match["whole"] or match["places"]):
        return None
    if bool(match["open"]) != bool(match["close"]):
        return None
    minus = [sign for sign in (match["before"], match["sign"], match["after"], match["open"]) if sign]
    if len(minus) > 1:
        return None
    said: frozenset[str] | None = None
    for word in (match["first"], match["last"]):
        if word:
            meant = _meant(word)
            said = meant if said is None else said & meant
            if not said:
                return None
    digits = re.sub(r"\D", "", match["whole"] or "0", flags=re.ASCII)
    number = Decimal(f"{digits}.{match['places'] or 0}E{match['exponent'] or 0}")
    return (-number if minus and minus[0] != "+" else number), said


def _meant(word: str) -> frozenset[str]:
    code = word.upper()
    return frozenset({code}) if code in CURRENCIES else _SIGNS.get(word.casefold(), frozenset())


def undeclared(text: pl.Series, mark: str | None) -> pl.Series:
    """Tell which texts would be amounts if the declaration said so by another `decimal_mark`; a null is none."""

    def fits(one: str | None) -> bool:
        if one is None or (_PLAIN.fullmatch(one.strip()) if mark is None else read_amount(one, mark)):
            return False  # one that is out of bounds
        return any(read_amount(one, other) for other in MARKS if other != mark)

    return pl.Series([fits(one) for one in text.to_list()], dtype=pl.Boolean)


def fill_currency(frame: pl.DataFrame, fmt: Format, columns: ArchiveColumns, rejections: Rejections) -> None:
    """Fill `currency` from amounts that name one; reject what contradicts it, and amounts that nobody says one of.

    Called once everything else that fills it has; costs nothing without a field that has a `decimal_mark`.
    """
    for path, mark in _declared(fmt):
        texts = frame.get_column(path).to_list()
        found = {one: read_amount(one, mark) for one in set(texts) if one is not None}
        said = {one: amount[1] for one, amount in found.items() if amount and amount[1]}
        certain = {one: next(iter(codes)) for one, codes in said.items() if len(codes) == 1}
        columns.put("currency", pl.Series("currency", [certain.get(one) for one in texts], dtype=pl.String))
        rows = list(zip(texts, columns.values["currency"].to_list(), strict=True))
        other = [now is not None and one in said and now not in said[one] for one, now in rows]
        rejections.add(pl.Series(other, dtype=pl.Boolean), Reason.OTHER_CURRENCY, path)
        none = [now is None and found.get(one) is not None for one, now in rows]
        rejections.add(pl.Series(none, dtype=pl.Boolean), Reason.MISSING, "currency")


def _declared(fmt: Format) -> list[tuple[str, str]]:
    """Return the fields that hold amounts as people write them, and the mark of each.

    Fees are written as the price is.
    """
    found: list[tuple[str, str]] = [
        (spec.path, spec.decimal_mark) for spec in fmt.archive if spec.decimal_mark
    ]
    price = price_field(fmt)
    if fmt.charge is not None and price is not None and price.decimal_mark:
        found += [(path, price.decimal_mark) for path in fmt.charge.plus]
    return found


def price_field(fmt: Format) -> FieldSpec | None:
    """Return the field whose spelling and scale the fees beside it share."""
    return next((spec for spec in fmt.archive if spec.column == "price"), None)
