"""The page of threats names tests that exist, and every place with everything that can be done to it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
PAGE = (TOP / "docs" / "threats.md").read_text()
PROMISES = (TOP / "docs" / "integrity.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
PLACES = ["Warehouse: archive and ledger", "Window", "Keys", "Audit", "Log", "Backup", "Broker"]


def named() -> list[str]:
    return sorted(set(re.findall(r"`(tests/[^`]+\.py[^`]*)`", PAGE + PROMISES)))


@pytest.mark.parametrize("test", named())
def test_each_test_that_the_page_names_exists(test: str) -> None:
    path, _, name = test.partition("::")
    tree = ast.parse((TOP / path).read_text())
    tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in tests if name else any(one.startswith("test_") for one in tests)


@pytest.mark.parametrize("place", PLACES)
def test_each_place_says_what_can_be_done_to_it_and_which_test_shows_it(place: str) -> None:
    rows = [line.split(" | ") for line in SECTIONS[place].splitlines() if line.startswith("| ")][1:]
    assert {row[0].strip("| ") for row in rows} == {"reads", "writes", "deletes", "rolls back"}
    for row in rows:
        assert len(row) == 4, row
        assert "`tests/" in row[3], row


def test_the_page_would_notice_a_test_that_is_gone() -> None:
    with pytest.raises(AssertionError):
        test_each_test_that_the_page_names_exists("tests/unit/proof/test_attacks.py::test_that_is_not_there")
