"""The page of ASVS 5.0 lists each requirement of levels 1 and 2, with a test that exists or the reason why not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
PAGE = (TOP / "docs" / "asvs.md").read_text()
LINES = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]
ROWS = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in LINES]
COUNTS = {  # requirements of levels 1 and 2 in each section of version 5.0.0
    "1": (2, 9, 11, 3, 2), "2": (3, 3, 4, 1), "3": (0, 2, 4, 6, 5, 0, 2), "4": (3, 1, 2, 4), "5": (1, 3, 2, 3),
    "6": (3, 12, 4, 4, 5, 3, 0, 4), "7": (3, 4, 2, 5, 2, 2), "8": (2, 3, 1, 1), "9": (3, 4),
    "10": (2, 2, 4, 11, 5, 2, 3),
    "11": (2, 3, 3, 4, 1, 1, 0), "12": (3, 2, 4), "13": (1, 5, 2, 5), "14": (2, 4, 3), "15": (3, 3, 7, 0),
    "16": (1, 5, 4, 3, 3), "17": (1, 4, 2),
}  # fmt: skip


def test_the_page_lists_every_requirement_of_level_two() -> None:
    numbers = [row[0] for row in ROWS]
    assert len(numbers) == len(set(numbers)) == 253
    for chapter, sections in COUNTS.items():
        for section, count in enumerate(sections, 1):
            assert sum(n.startswith(f"{chapter}.{section}.") for n in numbers) == count, (
                f"{chapter}.{section}"
            )


def test_the_page_counts_what_it_says() -> None:
    states = [row[1] for row in ROWS]
    said = re.search(
        r"Of (\d+): (\d+) hold, (\d+) are about something that is not here, (\d+) are open", PAGE
    )
    assert said
    assert list(map(int, said.groups())) == [
        len(ROWS),
        *(states.count(s) for s in ("holds", "not here", "open")),
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_what_holds_names_a_test_that_exists_and_the_rest_says_why(row: list[str]) -> None:
    _, state, how, *named = row
    assert state in ("holds", "not here", "open")
    assert how
    test = named[0].strip("`") if named else ""
    assert test or state != "holds"
    if test:
        path, _, name = test.partition("::")
        assert (TOP / path).exists(), path
        if path.endswith(".py"):
            text = (TOP / path).read_text()
            tests = {n.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)}
            assert name in tests if name else "def test_" in text or "TestCase" in text, test
