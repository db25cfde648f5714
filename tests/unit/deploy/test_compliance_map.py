"""The compliance map names what is there: each function that decides, each test that shows it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
MAP = ROOT / "docs" / "compliance.md"


def rows() -> list[list[str]]:
    lines = [line for line in MAP.read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [
        row for row in cells if row[0] not in ("clause", "right", "rule", "promise") and "---" not in row[0]
    ]


def defined(path: str, name: str) -> bool:
    """Tell whether a file defines a function or a class of that name, at its top or in a class."""
    text = (ROOT / path).read_text()
    return re.search(rf"^ *(?:async def|def|class) {name}\b|^{name} = ", text, re.M) is not None


def test_every_promise_is_decided_somewhere_and_shown_by_a_test() -> None:
    found = rows()
    assert len(found) >= 20
    for row in found:
        assert len(row) == 4, row
        decided, shown = (re.findall(r"`([^`]+)`", cell) for cell in row[2:])
        assert row[1], row[0]
        assert decided, row[0]
        assert shown, row[0]
        for place in decided:
            path, _, name = place.partition("::")
            assert (ROOT / path).is_file(), path
            assert defined(path, name) if path.endswith(".py") else not name, place
        for place in shown:
            path, _, name = place.partition("::")
            assert path.startswith("tests/"), place
            assert Path(path).name.startswith("test_"), f"{place}: pytest would not collect it"
            assert re.match("test_|Test", name), place
            assert defined(path, name), place


def test_every_section_of_law_that_retention_names_is_in_the_map() -> None:
    """What a period or a right is drawn from: articles of the GDPR, and the ordinance."""
    named = (ROOT / "docs" / "retention.md").read_text()
    ours = " ".join(row[1] for row in rows())
    for article in set(re.findall(r"GDPR art\. (\d+)", named)) | {"15", "17", "18"}:
        assert re.search(rf"art\.[^|]*\b{article}\b", ours), article
    assert "Electronic Transactions Ordinance 2002" in named
    assert "Electronic Transactions Ordinance 2002" in ours
