"""The same tables, byte for byte, whatever engine wrote them; a worker that is killed loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import distributed
import pytest
from retention_world import World

from lethe.operations.compact import Asked, compact
from lethe.operations.engines import open_engine
from lethe.operations.engines.dask import ALONE, Dask
from lethe.operations.engines.local import Local
from lethe.operations.engines.tasks import Cluster
from lethe.schemas.errors import ConfigurationError, IntegrityError
from lethe.testing.traffic import generate
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.delta.table import Table
from lethe.tiers.ledger import reconcile


def filled(make_world: Callable[..., World]) -> tuple[World, Path]:
    world = make_world()
    for seed in range(5):
        world.traffic(40, seed)
    config = world.folder / "lethe.toml"
    config.write_text(f'root = "{world.root}"\nkeys_dir = "{world.keys}"\n')
    return world, config


def data_files(world: World) -> dict[str, bytes]:
    every = [p for p in world.paths() if "/run-" in p]
    return {path: (world.root / path).read_bytes() for path in every}


def rows(world: World) -> dict[str, list[str]]:
    return {t: sorted(map(repr, world.rows(t))) for t in ("identifiers", "originals", "metadata", "ledger")}


def dying(text: str) -> str:
    """Kill the process that does this, once, if the text is a path: the file tells that it has died."""
    if text.startswith("/") and not Path(text).exists():
        Path(text).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return text.upper()


def waiting(text: str) -> str:
    """Wait for a file, if the text is the path of one."""
    for _ in range(600):
        if not text.startswith("/") or Path(text).exists():
            return "there"
        time.sleep(0.1)
    return "never"


def test_all_engines_write_the_same_bytes(make_world: Callable[..., World]) -> None:
    world, config = filled(make_world)
    before = rows(world)
    copy = world.copied("before")
    written: list[dict[str, bytes]] = []
    scheduler = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, **ALONE,
        local_directory=str(world.folder / "spill"),
    )  # fmt: skip
    with scheduler:
        engines: list[Any] = [None, Local(2), open_engine("dask", scheduler.scheduler_address)]
        for engine in engines:
            world.restored(copy)
            compact(world.runtime, Asked(whole=True), engine and Cluster(engine, str(world.root), config))
            assert rows(world) == before
            written.append(data_files(world))
        engines[-1].close()
    assert len(written[0]) == 4
    assert written[0] == written[1] == written[2]
    keys = [p.read_bytes() for p in world.keys.rglob("*") if p.is_file() and p.stat().st_size >= 16]
    tokens = [r["token"] for r in world.rows("identifiers") if r["token"] is not None]
    for path in (world.folder / "spill").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret in data for secret in [*keys, *tokens]), f"{path} holds a key or a token"
    assert reconcile.check(world.runtime.warehouse) == []


def test_what_is_done_is_told_while_the_others_still_run(tmp_path: Path) -> None:
    engine, file = Local(2), tmp_path / "go"
    answers = engine.map(waiting, ["a", str(file)])
    assert next(answers) == "there"
    file.touch()
    assert list(answers) == ["there"]
    engine.close()


def test_a_process_that_is_killed_is_replaced(tmp_path: Path) -> None:
    texts = ["a", "b", str(tmp_path / "died"), "c", "d"]
    engine = Local(2)
    assert list(engine.map(dying, texts)) == [text.upper() for text in texts]
    assert (tmp_path / "died").exists()
    engine.close()


def test_a_worker_of_dask_that_is_killed_is_replaced(tmp_path: Path) -> None:
    texts = ["a", "b", str(tmp_path / "died"), "c", "d"]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **ALONE) as cluster:
        engine = Dask(cluster.scheduler_address)
        assert list(engine.map(dying, texts)) == [text.upper() for text in texts]
        assert (tmp_path / "died").exists()
        engine.close()


def test_a_worker_with_the_settings_of_another_warehouse(make_world: Callable[..., World]) -> None:
    world, config = filled(make_world)
    before = data_files(world)
    config.write_text(f'root = "{world.folder / "elsewhere"}"\nkeys_dir = "{world.keys}"\n')
    with pytest.raises(ConfigurationError, match="settings of another warehouse"):
        compact(world.runtime, Asked(whole=True), Cluster(Local(1), str(world.root), config))
    assert data_files(world) == before


def test_tasks_carry_neither_keys_nor_rows(make_world: Callable[..., World]) -> None:
    world, config = filled(make_world)
    carried: list[str] = []

    class Listening(Local):
        def map(self, work: Callable[[str], str], texts: Any) -> Any:
            for text, answer in zip(texts, map(work, texts), strict=True):
                carried.extend((text, answer))
                yield answer

    compact(world.runtime, Asked(whole=True), Cluster(Listening(1), str(world.root), config))
    secrets = {r["token"].hex() for r in world.rows("identifiers") if r["token"] is not None}
    assert carried
    assert not any(secret in text for text in carried for secret in secrets)


class Counting(Local):
    """An engine in this process that notes how many tasks it is given at a time."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given: list[int] = []

    def map(self, work: Callable[[str], str], texts: Any) -> Any:
        self.given.append(len(texts))
        return super().map(work, texts)


def of_three_months(make_world: Callable[..., World]) -> tuple[World, Path, dict[str, list[str]]]:
    world = make_world()
    for seed in range(3):
        world.ingest(generate("infobip/sms-report", 60, seed, until=world.now, months=3))
    config = world.folder / "lethe.toml"
    config.write_text(f'root = "{world.root}"\nkeys_dir = "{world.keys}"\n')
    return world, config, rows(world)


def months_of(world: World) -> dict[str, list[str]]:
    table = Table(world.runtime.objects, "metadata", {})
    found: dict[str, list[str]] = {}
    for file in files_of(table):
        found.setdefault(file.partition["month"], []).append(file.path)
    return found


def test_the_merges_of_several_months_are_given_to_a_cluster_together(
    make_world: Callable[..., World],
) -> None:
    world, config, before = of_three_months(make_world)
    engine = Counting()
    compact(world.runtime, Asked(("metadata",), whole=True), Cluster(engine, str(world.root), config))
    assert engine.given == [3]
    assert [len(files) for files in months_of(world).values()] == [1, 1, 1]
    assert rows(world) == before


@pytest.mark.parametrize("where", ["in its rows", "in its footer"])
def test_a_damaged_month_keeps_no_other_from_being_merged(
    make_world: Callable[..., World], where: str
) -> None:
    world, config, before = of_three_months(make_world)
    month, (path, *_) = sorted(months_of(world).items())[1]
    file = world.root / "metadata" / path
    good = file.read_bytes()
    at = len(good) // 4 if where == "in its rows" else len(good) - 30
    file.write_bytes(good[:at] + bytes(b ^ 0xFF for b in good[at : at + 20]) + good[at + 20 :])
    engine = Counting()
    with pytest.raises(IntegrityError):
        compact(world.runtime, Asked(("metadata",), whole=True), Cluster(engine, str(world.root), config))
    assert {m: len(files) for m, files in months_of(world).items() if len(files) > 1} == {month: 3}
    file.write_bytes(good)
    compact(world.runtime, Asked(("metadata",), whole=True), Cluster(engine, str(world.root), config))
    assert [len(files) for files in months_of(world).values()] == [1, 1, 1]
    assert rows(world) == before
