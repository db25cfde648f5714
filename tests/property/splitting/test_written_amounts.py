"""An amount is itself however the declaration says it is written, and nothing but itself or refused otherwise."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.schemas.declaration.vocabulary import CURRENCIES
from lethe.streams.transform.split.amounts import read_amount
from lethe.streams.transform.split.columns import money

AMOUNTS = st.decimals(Decimal(0), Decimal(9_999_999), places=6)
GROUPS = {".": (",", "'", "’", " ", "\u00a0", "\u202f"), ",": (".", "'", "’", " ", "\u00a0", "\u202f")}
CURRENCY = {"EUR": "€", "USD": "US$", "PKR": "Rs.", "SEK": "kr", "CHF": "Fr.", "BRL": "R$", "TRY": "₺"}


def grouped(whole: str, group: str, lakh: bool) -> str:
    """Digits in groups: of three, or the last of three and the others of two."""
    head, tail = whole[:-3], whole[-3:]
    size, parts = (2 if lakh else 3), [tail]
    while head:
        parts.insert(0, head[-size:])
        head = head[:-size]
    return group.join(parts)


@st.composite
def written(draw: st.DrawFn, mark: str) -> tuple[Decimal, str | None, str]:
    """An amount, the currency it says, and how somebody writes it."""
    amount = draw(AMOUNTS)
    whole, places = f"{amount:.6f}".split(".")
    if draw(st.booleans()):
        places = places.rstrip("0")
    if draw(st.booleans()):
        whole = grouped(whole, draw(st.sampled_from(GROUPS[mark])), draw(st.booleans()))
    text = f"{whole}{mark}{places}" if places else whole
    currency = draw(st.sampled_from([None, *CURRENCY]))
    sign = "" if currency is None else draw(st.sampled_from([currency, CURRENCY[currency]]))
    space = draw(st.sampled_from(["", " ", "\u00a0"]))
    negative = draw(st.sampled_from(["", "-", "−", "(", "after", "inside"]))
    if negative in ("-", "−"):
        text = f"{negative}{text}"
    if negative == "after":
        text += "-"
    if sign:
        before = f"-{sign}{space}{text}" if negative == "inside" else f"{sign}{space}{text}"
        text = draw(st.sampled_from([before, f"{text}{space}{sign}" if negative != "inside" else before]))
    elif negative == "inside":
        negative = ""
    if negative == "(":
        text = f"({text})"
    return (-amount if negative else amount), currency, text


@pytest.mark.parametrize("mark", [".", ","])
@given(st.data())
def test_an_amount_is_itself_in_every_usual_spelling(mark: str, data: st.DataObject) -> None:
    amount, currency, text = data.draw(written(mark))
    found = read_amount(text, mark)
    assert found is not None, text
    assert found[0] == amount
    assert currency is None or found[1] is None or currency in found[1]
    assert (found[1] is None) == (currency is None)
    assert money(pl.Series([text]), "1", mark).to_list() == [amount]


@given(st.sampled_from([".", ","]), st.data())
def test_plain_numbers_are_read_as_before(mark: str, data: st.DataObject) -> None:
    """Without a declaration nothing that holds anything but a plain number is taken for one."""
    _, _, text = data.draw(written(mark))
    (plain,) = money(pl.Series([text]), "1").to_list()
    try:
        usual = Decimal(text)
    except ArithmeticError:
        usual = None
    assert plain == usual


@given(st.text(max_size=40), st.sampled_from([".", ","]))
def test_any_text_is_an_amount_or_none(text: str, mark: str) -> None:
    found = read_amount(text, mark)
    assert found is None or (found[0].is_finite() and (found[1] is None or found[1] <= CURRENCIES))
