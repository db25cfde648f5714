"""A backlog of large values is handed over in loads that memory holds, however few values those are."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from workers import SMS, Site, feeding, traffic, until

from lethe.operations.intake import ingest as files
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Settings
from lethe.schemas.transformed import TransformedBatch
from lethe.streams.transform.batch import LOAD_BYTES, Batch, Source
from lethe.streams.transform.transform import Transform
from lethe.streams.worker._partition import Portion
from lethe.tiers.ledger.reconcile import check
from lethe.tiers.warehouse import Warehouse

SIZE = 150_000
COUNT = 400  # 60 MB


class Taken:
    """A sink that notes what it was given."""

    def __init__(self) -> None:
        self.loads: list[list[Batch]] = []

    def assigned(self, source: Source, generation: int) -> None:
        pass

    def revoked(self, source: Source) -> None:
        pass

    def deliver(self, load: list[Batch]) -> Future[None]:
        self.loads.append(load)
        room: Future[None] = Future()
        room.set_result(None)
        return room

    @property
    def batches(self) -> list[Batch]:
        return [batch for load in self.loads for batch in load]


def test_large_values_come_in_small_loads(site: Site) -> None:
    topic = site.topic("large", 2)
    for partition in range(2):
        value = json.dumps({"text": "x" * SIZE}).encode()
        site.produce(topic, [("not good", value)] * (COUNT // 2) + [("tombstone", None)], partition)
    taken = Taken()
    with feeding(site, taken, 2) as feed:
        wanted = COUNT + 2
        until(lambda: feed.error or sum(len(b.values) for b in taken.batches) >= wanted, 60, "all is read")
    assert feed.error is None
    for partition in range(2):
        mine = [b for b in taken.batches if b.source.partition == partition]
        assert [offset for b in mine for offset in b.offsets] == list(range(COUNT // 2 + 1))
    for load in taken.loads:
        size = sum(batch.bytes for batch in load)
        assert size == sum(len(value or b"") for batch in load for value in batch.values)
        # What was asked for last comes on top.
        assert size < 1.5 * LOAD_BYTES


def test_how_many_to_ask_for() -> None:
    portion = Portion(24_000)
    first = portion.count
    assert first < 1_000, "nobody knows how large they are"
    portion.got(0, 0)
    assert portion.count == first
    portion.got(first, 500 * first)
    assert 1_000 < portion.count < 24_000, "and it is asked for few enough that a change shows soon"
    portion.got(3, 3_000_000)
    assert portion.count < 10
    portion.got(1, 100_000_000)
    assert portion.count == 1
    portion.got(1, 0)
    assert portion.count > 1_000
    assert Portion(10).count == 10


def test_a_file_of_large_lines_is_committed_in_small_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOAD_BYTES", 500_000)
    settings = Settings(root=str(tmp_path / "warehouse"), keys_dir=tmp_path / "keys", flush={"megabytes": 1})
    runtime = Runtime(settings)
    split, committed = [], []
    process, commit = Transform.process, Warehouse.commit

    def processed(self: Transform, batch: Batch, fmt: Any) -> TransformedBatch:
        split.append(batch.bytes)
        return process(self, batch, fmt)

    def noted(self: Warehouse, batches: list[TransformedBatch], ring: Any) -> Any:
        committed.append(sum(batch.held for batch in batches))
        return commit(self, batches, ring)

    monkeypatch.setattr(Transform, "process", processed)
    monkeypatch.setattr(Warehouse, "commit", noted)
    lines = [
        json.dumps({**json.loads(value), "callbackData": "x" * SIZE}).encode()
        for _, value in traffic(40, envelope=0)
    ]
    file = tmp_path / "large.ndjson"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    done = files.ingest(runtime, str(file), SMS, as_declared=True)
    assert (done.counts.messages, done.counts.split) == (40, 40)
    assert sum(split) == sum(map(len, lines)) < sum(committed)
    assert max(split) < 500_000 + 2 * SIZE
    assert 1_000_000 <= max(committed[:-1]) < 1_000_000 + 4 * 600_000
    assert check(runtime.warehouse) == []
