"""A warehouse of an earlier release: read, verified, written on and compacted; new columns come with a commit."""

from __future__ import annotations

import tarfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from lethe.operations import adjustments, archive
from lethe.operations.compact import Asked, compact
from lethe.operations.intake.ingest import ingest
from lethe.operations.proof.verify import Wanted, verify
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.arrow import ADDED, TABLES

FIXTURES = Path(__file__).parents[2] / "fixtures"
NOW = datetime(2026, 11, 30, tzinfo=UTC)
COLUMNS = ", ".join(sorted(ADDED["metadata"]))


@pytest.fixture
def older(tmp_path: Path) -> Runtime:
    with tarfile.open(FIXTURES / "warehouses" / "before-charges.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    (tmp_path / "keys").chmod(0o700)
    settings = Settings(
        root=str(tmp_path / "warehouse"), keys_dir=tmp_path / "keys", integrity={"scope": "all"}
    )
    return Runtime(settings, lambda: NOW)


def sound(runtime: Runtime) -> bool:
    found = verify(runtime, Wanted(), lambda _done, _of: None)
    assert found.report.rows >= 80
    assert found.findings == []
    return True


def columns(runtime: Runtime) -> set[str]:
    runtime.warehouse.metadata.reload()
    return {field.name for field in runtime.warehouse.metadata.delta.schema().fields}


def test_what_is_there_is_read_with_nulls_for_what_is_new(older: Runtime) -> None:
    assert not columns(older) & ADDED["metadata"]
    answer = archive.query(older, f"SELECT DISTINCT {COLUMNS} FROM billable")
    assert answer.rows == [(None,) * len(ADDED["metadata"])]
    assert archive.query(older, "SELECT count(*) FROM metadata").rows == [(80,)]
    assert sound(older)


def test_the_next_commit_brings_the_columns_and_old_rows_stay_as_they_were(
    older: Runtime, tmp_path: Path
) -> None:
    before = archive.query(older, 'SELECT * FROM metadata ORDER BY stream, "offset"').dicts()
    file = tmp_path / "more.ndjson"
    file.write_bytes(
        b'{"to":"447700900123","sender":"ACME","messageId":"m","sentAt":"2026-10-02T03:04:05.000+0000",'
        b'"messageCount":3,"price":{"pricePerMessage":0.01,"currency":"EUR"},"status":{"groupName":"DELIVERED"}}\n'
    )
    ingest(older, str(file), "infobip/sms-report")
    assert columns(older) >= set(TABLES["metadata"].names)
    after = archive.query(older, 'SELECT * FROM metadata ORDER BY stream, "offset"').dicts()
    assert [r for r in after if r["charge"] is None] == before
    assert [r["charge"] for r in after if r["charge"] is not None] == [Decimal("0.03")]
    assert sound(older)


def test_maintenance_of_what_is_there_loses_nothing(older: Runtime) -> None:
    adjustments.run(older, None)
    compact(older, Asked(("identifiers", "originals", "metadata"), whole=True))
    older = Runtime(older.settings, older.clock)
    assert archive.query(older, "SELECT count(*), count(charge) FROM metadata").rows == [(80, 0)]
    assert sound(older)
