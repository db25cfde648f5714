"""What the audit keeps for good names nobody: one rule, and how many digits each place lets through."""

from __future__ import annotations

import pytest

from lethe.operations.audit.naming import BEHIND_A_PLUS, IN_A_ROW, IN_ALL, may_name_somebody
from lethe.schemas.subjects.addresses import Subject

CASE, ASKER, COURT = {"in_all": IN_ALL}, {"in_a_row": IN_A_ROW}, {"in_all": None}
COURT_PLUS = {"in_all": BEHIND_A_PLUS}


@pytest.mark.parametrize(
    ("text", "case", "asker", "court"),
    [
        ("F-2041", False, False, False),
        ("DSR-2026-0142", False, False, False),
        ("12345678", False, False, False),
        ("2026-10-03/17", True, False, False),
        ("0001234-56.2023.8.26.0100", True, True, False),
        ("923001234567", True, True, False),
        ("9230 0123 4567", True, False, False),
        ("0092 300 123 4567", True, True, False),
        ("+92 (300) 12", False, False, False),
        ("+92 (300) 12-3", False, True, True),
        ("+92 (300) 123 4567", True, True, True),
        ("a+b of 2026-10-03", False, False, True),
        ("\u0669\u0662\u0663\u0660\u0660\u0661\u0662\u0663\u0664\u0665", True, True, False),
        ("amal@example.net", True, True, True),
    ],
)
def test_how_many_digits_each_place_lets_through(text: str, case: bool, asker: bool, court: bool) -> None:
    court_rule = COURT_PLUS if "+" in text else COURT
    found = [may_name_somebody(text, **rule) for rule in (CASE, ASKER, court_rule)]
    assert found == [case, asker, court]


def test_whom_it_is_about_is_found_in_any_script_and_spelling() -> None:
    her = [Subject("msisdn", "923001234567")]
    for text in (
        "HC 0300 123 4567/26",
        "HC 3-0-0-1-2-3-4-5-6-7",
        "\u0663\u0660\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667",
    ):
        assert may_name_somebody(text, subjects=her)
    assert not may_name_somebody("HC 0300 765 4321/26", subjects=her)
