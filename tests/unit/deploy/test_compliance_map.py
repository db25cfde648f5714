"""The compliance map names what is there: each file that decides, each test that shows it."""

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


def test_every_promise_is_decided_somewhere_and_shown_by_a_test() -> None:
    found = rows()
    assert len(found) >= 20
    for row in found:
        assert len(row) == 3, row
        _, decided, shown = (re.findall(r"`([^`]+)`", cell) for cell in row)
        assert decided, row[0]
        assert shown, row[0]
        for path in decided:
            assert (ROOT / path).is_file(), path
        for name in shown:
            path, _, test = name.partition("::")
            assert path.startswith("tests/"), name
            text = (ROOT / path).read_text()
            assert re.search(rf"def {test}\(" if test else r"def test_|TestCase", text), name
