"""SIGKILL at every step of a replay, replays that race, and workers and erasures that come in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plant import batch_of
from replay_plant import DEMANDING, FLAT, GOOD, OTHER, SOURCE, ReplayPlant, killed_at, start, values

from lethe.operations.intake.replay import Attempt
from lethe.operations.retention.sweep import maintenance_context
from lethe.schemas.declaration import format as formats
from lethe.schemas.errors import FencedError, TransientError, UnknownOutcomeError
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.delta.files import write_files
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.scope import Scope
from lethe.tiers.ledger.reconcile import check
from lethe.tiers.replay import replay as tables
from lethe.tiers.replay.lease import ReplayLease
from lethe.tiers.replay.replay import Wanted
from lethe.tiers.rights.erasure import erase
from lethe.tiers.store.objects import LocalObjects
from lethe.tiers.window.lookup import position_of

POINTS = [
    "replay.claimed", "replay.noted",
    "replay.written.identifiers", "replay.committed.identifiers",
    "replay.written.originals", "replay.committed.originals",
    "replay.written.quarantine", "replay.committed.quarantine",
    "log.put", "replay.written.metadata", "replay.committed.metadata",
    "hold.kept", "replay.kept",
    "replay.written.quarantine:2", "replay.committed.quarantine:2", "replay.taken_out",
    "replay.deleted", "ledger.written", "ledger.committed", "replay.ended",
    "log.begin", "log.swap", "log.published", "log.end",
]  # fmt: skip
COUNTS = POINTS.index("replay.committed.metadata")
TAKEN = values(60)
WINDOW = ("identifiers", "originals", "quarantine")


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> ReplayPlant:
    """Records of two partitions, some rejected by declarations that are right by now, and a hold on some of them."""
    plant = ReplayPlant(tmp_path_factory.mktemp("rejected"))
    plant.declare(FLAT.replace('path = "mccMnc"\n', 'path = "mccMnc"\nrequired = true\n'))
    for source in (SOURCE, OTHER):
        plant.take_in(source, plant.records(source, TAKEN), 30)
    runtime = plant.runtime()
    Holds(runtime.objects, runtime.ring).place(
        "Court", "C-1", datetime.now(UTC) + timedelta(days=900), Scope(subjects=(Subject("msisdn", "923001234567"),)),
        datetime.now(UTC),
    )  # fmt: skip
    plant.declare(GOOD)
    return plant


@pytest.fixture(scope="module")
def landed(rejected: ReplayPlant, tmp_path_factory: pytest.TempPathFactory) -> ReplayPlant:
    """What it is to become."""
    plant = rejected.copy(tmp_path_factory.mktemp("landed"))
    assert plant.replay().left > 5
    plant.judge()
    assert plant.verify() == []
    return plant


# The roots are over rows that say in which minute they arrived; that they are right is for `verify`.
OF_THE_MINUTE = {
    "version", "committed_time", "merkle_root", "rows_sha3_512", "out_of_scope_root", "mac",
}  # fmt: skip


def same(plant: ReplayPlant, other: ReplayPlant) -> None:
    for table in ("metadata", *WINDOW):
        assert plant.table(table) == other.table(table), table
    counted = [
        [{n: v for n, v in row.items() if n not in OF_THE_MINUTE} for row in p.moved()]
        for p in (plant, other)
    ]
    assert sorted(counted[0], key=repr) == sorted(counted[1], key=repr)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_step_and_run_again(
    point: str, rejected: ReplayPlant, landed: ReplayPlant, tmp_path: Path
) -> None:
    plant = rejected.copy(tmp_path)
    archived = len(plant.table("metadata"))
    killed_at(point, plant)
    assert (len(plant.table("metadata")) > archived) == (POINTS.index(point) >= COUNTS)
    plant.replay()
    plant.judge()
    same(plant, landed)
    assert plant.verify() == []
    hidden = [p for p in (tmp_path / "warehouse").rglob("*") if p.is_file() and p.parent.name == "_replay"]
    assert hidden == []
    runtime = plant.runtime()
    holds = Holds(runtime.objects, runtime.ring)
    assert len(list(holds.records(holds.find("C-1")))) == 2, "of both partitions, as it came"


@pytest.mark.parametrize(
    "point", ["replay.committed.identifiers", "replay.committed.quarantine", "replay.written.metadata"]
)
def test_killed_before_it_counted_and_run_again_when_the_declaration_is_wrong_again(
    point: str, rejected: ReplayPlant, tmp_path: Path
) -> None:
    """What was committed ahead of the archive is taken back: nothing of it is there twice, or for nothing."""
    plant = rejected.copy(tmp_path)
    before = {table: plant.table(table) for table in ("metadata", *WINDOW)}
    killed_at(point, plant)
    assert any(plant.table(table) != before[table] for table in WINDOW)
    plant.declare(FLAT.replace('path = "mccMnc"\n', 'path = "mccMnc"\nrequired = true\n'))
    assert plant.replay().left == 0
    assert {table: plant.table(table) for table in ("metadata", *WINDOW)} == before
    assert check(plant.runtime().warehouse) == []
    plant.declare(GOOD)
    plant.replay()
    plant.judge()


@pytest.mark.parametrize(
    "second", ["replay.claimed", "replay.taken_back", "replay.recovered", "replay.written.identifiers"]
)
@pytest.mark.parametrize("first", ["replay.committed.quarantine", "replay.committed.metadata"])
def test_killed_again_while_it_settles(
    first: str, second: str, rejected: ReplayPlant, landed: ReplayPlant, tmp_path: Path
) -> None:
    plant = rejected.copy(tmp_path)
    killed_at(first, plant)
    if first != "replay.committed.metadata" or second != "replay.written.identifiers":
        killed_at(second, plant)
    plant.replay()
    plant.judge()
    same(plant, landed)


def test_replays_that_race(rejected: ReplayPlant, landed: ReplayPlant, tmp_path: Path) -> None:
    plant = rejected.copy(tmp_path)
    running = [start(plant) for _ in range(3)]
    for process, _ in running:
        process.join()
        assert process.exitcode == 0
    said = [trouble.get(timeout=60) for _, trouble in running if not trouble.empty()]
    assert all(one.startswith("FencedError") for one in said), said
    plant.replay()
    plant.judge()
    same(plant, landed)
    assert plant.verify() == []


class Between:
    """Does something once, when records have been tried and before anything of them is committed."""

    def __init__(self, plant: ReplayPlant, what: Callable[[], Any]) -> None:
        runtime = plant.runtime()
        self.attempt = Attempt(runtime.transform, runtime.settings.sources)
        self.what: Callable[[], Any] | None = what
        self.maintenance = maintenance_context(runtime)

    def __call__(self, records: Any) -> Any:
        tried = self.attempt(records)
        if self.what is not None and tried.transformed is not None:
            what, self.what = self.what, None
            what()
        return tried

    def run(self) -> Any:
        done = tables.replay(self.maintenance, Wanted(), self, lambda _done, _all: None)
        assert self.what is None
        return done


def test_an_overtaken_replay_commits_nothing_more(
    rejected: ReplayPlant, landed: ReplayPlant, tmp_path: Path
) -> None:
    plant = rejected.copy(tmp_path)
    before = {table: plant.table(table) for table in ("metadata", *WINDOW)}
    with pytest.raises(FencedError, match="another replay was begun"):
        Between(plant, lambda: ReplayLease.take(plant.runtime().warehouse, "now")).run()
    assert {table: plant.table(table) for table in ("metadata", *WINDOW)} == before
    with pytest.raises(FencedError, match="another replay was begun"):
        Between(plant, plant.replay).run()
    plant.judge()
    same(plant, landed)


@pytest.mark.parametrize("persisted", [True, False], ids=["failed, but persisted", "failed, not persisted"])
@pytest.mark.parametrize("table", ["metadata", *WINDOW])
def test_an_answer_that_does_not_come_is_found_out_by_the_next_replay(
    table: str, persisted: bool, rejected: ReplayPlant, landed: ReplayPlant, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plant = rejected.copy(tmp_path)
    real = LocalObjects.create

    def unanswered(self: LocalObjects, path: str, data: bytes) -> bool:
        mine = path.startswith(f"{table}/_delta_log/") and b'"add"' in data
        done = (persisted or not mine) and real(self, path, data)
        if mine:
            raise TransientError("no answer")
        return done

    monkeypatch.setattr(LocalObjects, "create", unanswered)
    with pytest.raises(UnknownOutcomeError):
        plant.replay()
    monkeypatch.undo()
    plant.replay()
    plant.judge()
    same(plant, landed)
    assert plant.verify() == []


def test_a_worker_that_commits_meanwhile_is_not_disturbed(rejected: ReplayPlant, tmp_path: Path) -> None:
    plant = rejected.copy(tmp_path)
    more = [*TAKEN, *values(20)]
    plant.produced = [m for m in plant.produced if m.partition != SOURCE.partition]
    bare = plant.records(SOURCE, more)
    worker = plant.runtime()

    def commit() -> None:
        batch = batch_of(SOURCE, len(TAKEN), bare[len(TAKEN) :])
        worker.warehouse.commit([worker.transform.process(batch, formats.get(SOURCE.format))], worker.ring)

    assert Between(plant, commit).run().left > 5
    plant.replay()
    plant.judge()
    assert plant.verify() == []


def test_a_worker_killed_between_its_commits_loses_nothing_to_a_replay(tmp_path: Path) -> None:
    """Rejected records of a commit that has not happened are not replayed: their worker reads them again."""
    plant = ReplayPlant(tmp_path)
    plant.declare(DEMANDING)
    taken = plant.records(SOURCE, values(60))
    plant.take_in(SOURCE, taken[:30])
    runtime = plant.runtime()
    transformed = runtime.transform.process(batch_of(SOURCE, 30, taken[30:]), formats.get(SOURCE.format))
    assert transformed.quarantine.num_rows
    quarantine = runtime.warehouse.window["quarantine"]
    quarantine.reload()
    quarantine.commit(
        write_files(runtime.objects, "quarantine", transformed.quarantine, "ahead", 0),
        {SOURCE.id: len(taken) - 1},
        {},
    )
    plant.declare(GOOD)
    done = plant.replay()
    assert done.uncommitted == transformed.quarantine.num_rows
    assert check(plant.runtime().warehouse) == []
    assert all(row["offset"] < 30 for row in plant.table("metadata"))


def test_what_an_erasure_takes_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    plant = ReplayPlant(tmp_path)
    plant.declare(DEMANDING)
    plant.take_in(SOURCE, plant.records(SOURCE, values(60)))
    plant.declare(GOOD)
    her = (Subject("msisdn", "923001234567"),)
    erased: list[Any] = []
    done = Between(plant, lambda: erased.append(erase(maintenance_context(plant.runtime()), her))).run()
    assert erased[0].total("quarantine") > 0
    assert done.unreadable == erased[0].total("quarantine")
    assert done.left > 0, "of others"
    positions = {position_of(row) for row in plant.table("metadata")}
    left = {position_of(row) for row in plant.table("quarantine") if row["sealed"] is None}
    assert len(left) == erased[0].total("quarantine")
    assert not positions & left
    assert check(plant.runtime().warehouse) == []
    assert erase(maintenance_context(plant.runtime()), her).months == [], "nothing of hers is there"
