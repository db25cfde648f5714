"""A row that was forged before it was signed is proven like any other: only its original shows it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from proof_world import NOW, SMS, UNTIL, World, changed, name

from lethe.integrity.verify.findings import Kind
from lethe.operations.asker import Asker
from lethe.operations.proof import named
from lethe.operations.proof.evidence import evidence
from lethe.operations.proof.originals import Compared, compare_originals
from lethe.operations.proof.publisher import publication_of
from lethe.schemas.arrow import file_schema
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position
from lethe.streams.transform.batch import Batch, Source
from lethe.testing.traffic import generate
from lethe.tiers.delta.files import parquet_bytes
from lethe.tiers.delta.rewrite import files_of

STREAM = "topic"


def compared(world: World, **asked: Any) -> tuple[list[Any], Compared]:
    report = Compared()
    wanted = {"stream": None, "months": (None, None), **asked}
    return list(compare_originals(world.runtime, report=report, **wanted)), report


def forged(world: World, column: str, value: Any) -> str:
    """Commit records of which one row in scope is not what its original says; returns the record's name."""
    runtime, count = world.runtime, 60
    source = Source(STREAM, 0, f"cluster/{STREAM}/0", SMS)
    values: list[bytes | None] = list(generate(SMS, count, 7, until=UNTIL, months=1, pakistan=0.4))
    received = np.full(count, int(NOW.timestamp() * 1000), np.int64)
    offsets = np.arange(count, dtype=np.int64)
    made = runtime.transform.process(
        Batch(source, 0, 1, 0, count - 1, offsets, values, received), formats.get(SMS)
    )
    hashes: pa.ChunkedArray = made.metadata.column("integrity_hash")
    number = hashes.is_valid().to_pylist().index(True)
    made = replace(made, metadata=changed(made.metadata, number, column, value))
    publication = publication_of(runtime)
    publication.add(runtime.warehouse.commit([made], runtime.ring))
    assert not publication.run().failures
    return name(made.metadata.slice(number, 1).to_pylist()[0])


def test_rows_are_what_their_declarations_make_of_their_originals(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.feed(STREAM, 60, 1, envelope=0.2)
    world.take_in("calls.ndjson", 60, 2, "infobip/voice-report")
    found, report = compared(world)
    assert found == []
    assert report.rows == len(world.scoped()) > 20
    assert report.unknown == 0
    assert compared(world, stream="another")[1].rows == 0


def test_a_row_forged_before_it_was_signed_is_found_and_has_no_evidence(tmp_path: Path) -> None:
    world = World(tmp_path)
    record = forged(world, "price", Decimal("999.5"))
    assert world.verify() == []
    (found,), _ = compared(world)
    assert (found.kind, found.where) == (Kind.ALTERED, record)
    assert found.detail.endswith("of its original: price")
    with pytest.raises(
        IntegrityError, match=f"{record} is not what its declaration makes of its original: price"
    ):
        evidence(world.runtime, Asker("tester", "a case", "a test"), Position.parse(record))


def test_what_settings_have_a_part_in_is_not_called_forged(tmp_path: Path) -> None:
    world = World(tmp_path)
    record = forged(world, "network", "Elsewhere")
    (found,), _ = compared(world)
    assert (found.kind, found.where) == (Kind.NOT_PROVEN, record)
    assert "declaration and settings of today" in found.detail


def test_a_hash_of_another_original_is_found(tmp_path: Path) -> None:
    world = World(tmp_path)
    record = forged(world, "integrity_hash", bytes(32))
    (found,), _ = compared(world)
    assert (found.kind, found.where) == (Kind.ALTERED, record)
    assert "not the one whose hash it has" in found.detail


def exchanged(world: World, columns: Sequence[str]) -> list[str]:
    """Exchange columns of the rows of two people in scope, as who writes the window can; names the two records."""
    table = world.runtime.warehouse.window["identifiers"]
    (file,) = files_of(table)
    path = world.home / "warehouse/identifiers" / file.path
    rows = pq.read_table(io.BytesIO(path.read_bytes()))
    scoped = {name(row) for _, _, row in world.scoped()}
    mine = [n for n, row in enumerate(rows.to_pylist()) if name(row) in scoped and row["sealed"] is None]
    one = mine[0]
    other = next(n for n in mine if rows["token"][n] != rows["token"][one])
    order = list(range(rows.num_rows))
    order[one], order[other] = other, one
    for column in columns:
        at = rows.column_names.index(column)
        rows = rows.set_column(at, rows.schema.field(column), rows[column].take(pa.array(order)))
    path.write_bytes(parquet_bytes("identifiers", rows.cast(file_schema("identifiers"))))
    return [name(rows.slice(n, 1).to_pylist()[0]) for n in (one, other)]


@pytest.mark.parametrize("columns", [("token",), ("message_token",), ("token", "message_token")])
def test_whose_record_it_is_exchanged_in_the_window_is_found(
    tmp_path: Path, columns: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named, "_AT_ONCE", 16)  # several readings of a month
    world = World(tmp_path)
    world.feed(STREAM, 200, 1, months=1, envelope=0.2)
    assert compared(world)[0] == []
    records = exchanged(world, columns)
    assert world.verify() == []  # rows of the window are in no log
    found, _ = compared(world)
    assert sorted(f.where for f in found) == sorted(records)
    assert {f.detail for f in found} == {
        "its identifiers are not those that declaration and settings of today make of its original"
    }
