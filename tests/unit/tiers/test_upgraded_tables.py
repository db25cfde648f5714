"""Tables that another engine has upgraded: refused in one line before anything is written or misread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lethe.schemas.arrow import TABLES
from lethe.schemas.errors import ConfigurationError, FencedError
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import Objects, open_objects

ROW = {
    "stream": "cdr", "partition": 0, "first_offset": 0, "last_offset": 9, "records": 10, "page": b"\x00",
    "month": "2026-11", "window_months": 12,
}  # fmt: skip
PLAIN = ["appendOnly", "invariants"]
UNREAD = ["deletionVectors", "v2Checkpoint", "columnMapping", "typeWidening"]
UNWRITTEN = ["inCommitTimestamp", "rowTracking", "checkpointProtection", "icebergCompatV2"]


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(str(tmp_path / "warehouse"), {})


def append(objects: Objects, table: Table, number: int) -> None:
    rows = pa.Table.from_pylist([{**ROW, "first_offset": number}], schema=TABLES["originals"])
    table.commit(write_files(objects, "originals", rows, f"n{number}", number), {"s": number}, {})


def upgrade(objects: Objects, protocol: dict[str, Any]) -> None:
    """Commit another protocol, as `ALTER TABLE` of Spark does."""
    log = Path(objects.url("originals")) / "_delta_log"
    version = DeltaTable(objects.url("originals")).version() + 1
    actions = [{"commitInfo": {"timestamp": 1, "operation": "SET TBLPROPERTIES"}}, {"protocol": protocol}]
    (log / f"{version:020d}.json").write_text("\n".join(map(json.dumps, actions)) + "\n")


def rows(objects: Objects) -> int:
    """How many files the log has, whatever protocol says."""
    log = Path(objects.url("originals")) / "_delta_log"
    return sum('"add"' in line for file in log.glob("*.json") for line in file.read_text().splitlines())


@pytest.mark.parametrize("feature", UNREAD)
def test_what_cannot_be_read_is_refused_by_whoever_has_it_open_and_whoever_opens_it(
    objects: Objects, feature: str
) -> None:
    table, follower = Table(objects, "originals", {}), Table(objects, "originals", {})
    append(objects, table, 1)
    upgrade(
        objects,
        {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [feature],
         "writerFeatures": [feature, *PLAIN]},
    )  # fmt: skip
    said = rf"originals: another engine has upgraded it \({feature}\), and Lethe cannot read"
    with pytest.raises((FencedError, ConfigurationError)):
        append(objects, table, 2)
    with pytest.raises(ConfigurationError, match=said):
        table.reload()
    with pytest.raises(ConfigurationError, match=said):
        follower.reload()
    with pytest.raises(ConfigurationError, match=said):
        Table(objects, "originals", {})
    assert rows(objects) == 1


def test_reader_versions_of_their_own(objects: Objects) -> None:
    Table(objects, "originals", {})
    upgrade(objects, {"minReaderVersion": 2, "minWriterVersion": 5})
    with pytest.raises(ConfigurationError, match="reader version 2"):
        Table(objects, "originals", {})


def test_a_reader_version_that_is_not_known_yet(objects: Objects) -> None:
    Table(objects, "originals", {})
    upgrade(objects, {"minReaderVersion": 4, "minWriterVersion": 9})
    with pytest.raises(ConfigurationError, match="another engine has upgraded it"):
        Table(objects, "originals", {})


@pytest.mark.parametrize("feature", UNWRITTEN)
def test_what_cannot_be_written_is_read_and_refused_before_a_commit(objects: Objects, feature: str) -> None:
    table = Table(objects, "originals", {})
    append(objects, table, 1)
    upgrade(objects, {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [feature, *PLAIN]})
    table.reload()
    assert table.dataset().count_rows() == 1
    with pytest.raises(ConfigurationError, match=rf"\({feature}\), and Lethe cannot write"):
        append(objects, table, 2)
    assert rows(objects) == 1


@pytest.mark.parametrize(
    "protocol",
    [{"minReaderVersion": 1, "minWriterVersion": 4},
     {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": PLAIN}],
)  # fmt: skip
def test_what_changes_nothing_for_lethe_goes_on(objects: Objects, protocol: dict[str, Any]) -> None:
    table = Table(objects, "originals", {})
    append(objects, table, 1)
    upgrade(objects, protocol)
    table.reload()
    append(objects, table, 2)
    assert Table(objects, "originals", {}).dataset().count_rows() == 2
