"""A row that was forged before it was signed is proven like any other: only its original shows it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from proof_world import NOW, SMS, UNTIL, World, changed, name

from lethe.integrity.verify.findings import Kind
from lethe.operations.asker import Asker
from lethe.operations.proof.evidence import evidence
from lethe.operations.proof.originals import Compared, compare_originals
from lethe.operations.proof.publisher import publication_of
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position
from lethe.streams.transform.batch import Batch, Source
from lethe.testing.traffic import generate

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
