"""On an object store: appends, erasures, holds and ends of months between merges, and beside two who merge at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from retention_world import World
from s3_store import Store
from test_interleavings import PEOPLE, TABLES, Model, rows

from lethe.operations.compact import Asked, compact
from lethe.operations.settings import Settings
from lethe.testing.brokers.process import stop
from lethe.tiers.delta.rewrite import files_of


class StoreWorld(World):
    """An installation whose warehouse is in a bucket."""

    def __init__(self, store: Store, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.store, self.bucket = store, f"s3://lethe/{folder.parent.name}"

    @property
    def settings(self) -> Settings:
        return Settings(root=self.bucket, keys_dir=self.keys, storage=self.store.storage, **self.settings_)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return list(self.runtime.warehouse.table(table).dataset().to_table().to_pylist())


class StoreModel(Model):
    """What there should be, with two that merge at the same time."""

    def merge(self, whole: bool) -> None:
        before = rows(self.world)
        self.at_once(partial(self.compact, whole), partial(self.compact, whole))
        assert rows(self.world) == before

    def beside(self, step: tuple[str, Any]) -> None:
        """Merge twice while something else is done."""
        name, argument = step
        self.at_once(
            partial(self.compact, True), partial(self.compact, True), lambda: getattr(self, name)(argument)
        )

    def compact(self, whole: bool) -> None:
        compact(self.world.runtime, Asked(whole=whole))

    def at_once(self, *work: Callable[[], object]) -> None:
        with ThreadPoolExecutor(len(work)) as threads:
            for done in [threads.submit(one) for one in work]:
                done.result()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("store"))
    yield made
    stop(made.process)


def drawn(seed: int) -> list[tuple[str, Any]]:
    """Some steps, in an order of their own."""
    draw = random.Random(seed)
    who = lambda: draw.choice(PEOPLE)  # noqa: E731
    some: list[tuple[str, Any]] = [
        ("append", [who(), who()]), ("beside", ("append", [who()])), ("beside", ("erase", who())), ("hold", who()),
        ("merge", draw.choice((True, False))), ("sweep", None), ("wait", 1), ("reject", [who()]),
    ]  # fmt: skip
    draw.shuffle(some)
    return [("append", list(PEOPLE)), *some]


@pytest.mark.parametrize("seed", [3, 8])
def test_whoever_merges_beside_whomever_on_a_store_the_rows_are_the_same(
    store: Store, tmp_path: Path, seed: int
) -> None:
    model = StoreModel(tmp_path, partial(StoreWorld, store))
    for step, argument in [*drawn(seed), ("merge", True)]:
        getattr(model, step)(argument)
        model.check(f"{step} of {seed}")
    model.verify(None)
    warehouse = model.world.runtime.warehouse
    for table in TABLES:
        files = files_of(warehouse.table(table))
        assert len(files) == len({tuple(f.partition.items()) for f in files}), "one run a month"
