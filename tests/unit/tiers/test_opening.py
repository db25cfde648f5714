"""Tables are opened while something else is done; whoever goes on has them, or is told what was wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from lethe.schemas.errors import ConfigurationError
from lethe.tiers import warehouse as warehouses
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import Objects, open_objects
from lethe.tiers.warehouse import Warehouse

TABLES = ("identifiers", "metadata", "usage")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    objects = open_objects(str(tmp_path / "warehouse"), {})
    Warehouse(objects, {}, lambda: datetime(2026, 3, 1, tzinfo=UTC))
    return Warehouse(objects, {}, lambda: datetime(2026, 3, 1, tzinfo=UTC))


def test_tables_are_opened_while_something_else_is_done(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Event()

    def slowly(objects: Objects, name: str, storage: Mapping[str, str]) -> Table:
        assert beside.wait(20), "it is only opened, and nothing is done beside it"
        return Table(objects, name, storage)

    monkeypatch.setattr(warehouses, "Table", slowly)
    with warehouse.opening(TABLES):
        beside.set()
    assert [warehouse.handle(name).name for name in TABLES] == list(TABLES)


def test_a_table_that_cannot_be_opened_is_told_of(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_objects: Objects, name: str, _storage: Mapping[str, str]) -> Table:
        raise ConfigurationError(f"table {name}: cannot be opened")

    monkeypatch.setattr(warehouses, "Table", broken)
    done = False
    with pytest.raises(ConfigurationError, match="identifiers"), warehouse.opening(TABLES):
        done = True
    assert done
