"""No value of any field of any format ends an ingestion: its record lands or is refused, and so do the others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from extremes import FORMATS, extremes

from lethe.operations.intake.ingest import ingest
from lethe.operations.intake.received import says_no_year
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.declaration.format import Format
from lethe.tiers.ledger import reconcile

NOW = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_no_value_of_any_field_ends_an_ingestion(fmt: Format, tmp_path: Path) -> None:
    lines = extremes(fmt)
    assert not [line for line in lines if b"\n" in line]
    file = tmp_path / "extremes"
    file.write_bytes(b"\n".join(lines) + b"\n")
    settings = Settings(root=str(tmp_path / "warehouse"), keys_dir=tmp_path / "keys")
    runtime = Runtime(settings, lambda: NOW)
    day = NOW.date() if says_no_year(fmt) else None
    counts = ingest(runtime, str(file), fmt.name, as_declared=True, day_received=day).counts
    assert counts.messages == len(lines)
    assert counts.records == counts.split + counts.late + counts.rejected + counts.tombstones >= len(lines)
    landed = {row["offset"] for row in _rows(runtime, "usage" if fmt.data == "usage" else "metadata")}
    refused = {row["offset"] for row in _rows(runtime, "quarantine")}
    assert {0, len(lines) - 1} <= landed, "good records stand where they stood"
    assert landed | refused == set(range(len(lines)))
    assert reconcile.check(runtime.warehouse) == []


def _rows(runtime: Runtime, table: str) -> list[dict[str, int]]:
    handle = runtime.warehouse.handle(table)
    handle.reload()
    found: list[dict[str, int]] = handle.delta.to_pyarrow_dataset().to_table(columns=["offset"]).to_pylist()
    return found
