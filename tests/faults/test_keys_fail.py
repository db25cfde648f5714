"""Keys under way: workers that race to make them, a provider that is slow, refuses, or loses a key."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from plant import Plant, Reels, Writer, source_of
from workers import SMS, Site, traffic

from lethe.keys.providers.local import LocalProvider
from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.tiers.store.objects import LocalObjects

SOURCE, OTHER = source_of("cdr", 0), source_of("cdr", 1)
Patch = pytest.MonkeyPatch


@pytest.fixture
def reels(plant: Plant) -> Reels:
    return Reels(plant, {SOURCE: plant.records(SOURCE, traffic(400, seed=3, malformed=0.03))})


def test_a_provider_that_is_slow(plant: Plant, reels: Reels, monkeypatch: Patch) -> None:
    """It is asked once for every month, however many agents need the key at the same time."""
    real, asked = LocalProvider.unwrap, []

    def slowly(self: LocalProvider, key_id: str, wrapped: bytes) -> bytes:
        asked.append(key_id)
        time.sleep(0.5)
        return real(self, key_id, wrapped)

    monkeypatch.setattr(LocalProvider, "unwrap", slowly)
    reels.run()
    assert 0 < len(asked) == len(set(asked))
    plant.judge()


def test_a_provider_that_refuses_for_a_while(plant: Plant, reels: Reels, monkeypatch: Patch) -> None:
    real, refusals = LocalProvider.unwrap, [2]

    def unwrap(self: LocalProvider, *arguments: Any) -> bytes:
        if refusals[0]:
            refusals[0] -= 1
            raise TransientError("the provider does not answer")
        return real(self, *arguments)

    monkeypatch.setattr(LocalProvider, "unwrap", unwrap)
    reels.run()
    assert refusals == [0]
    assert reels.restarts
    plant.judge()


def test_a_provider_that_loses_a_key_in_the_middle_of_a_load(plant: Plant, reels: Reels) -> None:
    real, away = reels.commit, plant.directory / "away"

    def commit(batches: list[Any]) -> None:
        real(batches)
        if not away.exists():
            away.mkdir()
            for key in (plant.directory / "keys").glob("*.key"):
                key.rename(away / key.name)
            reels.writer.ring.evict()

    reels.commit = commit
    with pytest.raises(ConfigurationError, match="restore the key"):
        reels.run()
    done = reels.writer.warehouse.position(SOURCE.id)
    assert done is not None
    assert 0 < done < 399
    for key in away.iterdir():
        key.rename(plant.directory / "keys" / key.name)
    values = reels.reels[SOURCE.id][1]
    Reels(plant, {SOURCE: values}).run()
    plant.judge()


def test_processes_that_race_to_make_tables_and_keys(tmp_path: Path) -> None:
    site = Site(tmp_path)
    files = []
    for number in range(3):
        files.append((tmp_path / f"{number}.ndjson", traffic(200, seed=number)))
        files[-1][0].write_bytes(b"".join(value + b"\n" for _, value in files[-1][1]))
    running = [site.start("ingest", str(file), "--format", SMS, "--json") for file, _ in files]
    for process, (_, values) in zip(running, files, strict=True):
        assert process.wait() == 0, process.text()
        (report,) = json.loads(process.text())
        for offset, (label, value) in enumerate(values):
            site.remember(report["stream"], 0, offset, value, label)
    site.judge()


@pytest.mark.parametrize(
    ("owner", "step"),
    [(DeltaTable, "create"), (LocalProvider, "create"), (LocalObjects, "create")],
    ids=["the tables", "the key-encryption key", "the month's secret"],
)
def test_overtaken_between_looking_for_something_and_making_it(
    plant: Plant, monkeypatch: Patch, owner: Any, step: str
) -> None:
    """Another worker makes it meanwhile, and all of its records depend on it: it must stay as it is."""
    values = {s: plant.records(s, traffic(100, seed=s.partition)) for s in (SOURCE, OTHER)}
    real, overtaken = getattr(owner, step), []

    def create(*arguments: Any, **named: Any) -> Any:
        if not overtaken:
            overtaken.append(step)
            Writer(plant).go_on(OTHER, values[OTHER])
        return real(*arguments, **named)

    monkeypatch.setattr(owner, step, create)
    Writer(plant).go_on(SOURCE, values[SOURCE])
    assert overtaken
    plant.judge()
