"""Whoever opens the archive with another program finds what each column says, in the table and in the guide."""

from __future__ import annotations

from pathlib import Path

import pytest

from lethe.schemas.arrow import TABLES
from lethe.schemas.descriptions import DESCRIBED
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import open_objects

GUIDE = (Path(__file__).parents[3] / "docs" / "billing.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_every_column_carries_its_description(name: str, tmp_path: Path) -> None:
    table = Table(open_objects(str(tmp_path), {}), name, {})
    said = {f.name: f.metadata.get("comment") for f in table.delta.schema().fields}
    assert said == DESCRIBED[name]
    assert list(said) == TABLES[name].names


def test_the_guide_says_the_same() -> None:
    for column, text in DESCRIBED["metadata"].items():
        assert f"| `{column}` | {text} |" in GUIDE
