"""Cells of CSV files: no text is a formula, numbers stay numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from lethe.schemas.csv_text import cell, csv_of


@pytest.mark.parametrize(
    "text", ["=1+1", "+92300", "-x", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x")']
)
def test_a_text_is_never_a_formula(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "said"), [(-1, "-1"), (Decimal("-0.02"), "-0.02"), (-1.5, "-1.5"), (None, ""), (b"\x01", "01")]
)
def test_a_number_below_zero_is_one(value: object, said: str) -> None:
    """A refund in a bill is added up by whoever opens it."""
    assert cell(value) == said
    assert csv_of(["a"], [{"a": value}]).decode().splitlines()[1:] == [said or '""']
