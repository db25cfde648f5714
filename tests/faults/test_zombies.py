"""A worker that was paused, lost its partition and goes on: at whatever step it wakes up, it adds and hides nothing."""

from __future__ import annotations

import pytest
from plant import Plant, Writer, prepare, source_of
from test_commit_steps import POINTS
from workers import traffic

from lethe.schemas.errors import FencedError
from lethe.tiers import warehouse as warehouses

SOURCE, OTHER = source_of("cdr", 0), source_of("cdr", 1)
Patch = pytest.MonkeyPatch


def paused_at(monkeypatch: Patch, point: str, meanwhile: object) -> None:
    """At the next pass of a step, let others work first."""

    def fail_point(name: str) -> None:
        if name == point:
            monkeypatch.setattr(warehouses, "fail_point", lambda _: None)
            meanwhile()  # type: ignore[operator]

    monkeypatch.setattr(warehouses, "fail_point", fail_point)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("size", [100, 37, 1_000], ids=["same cut", "smaller cut", "everything at once"])
def test_paused_at_a_step_and_overtaken(plant: Plant, monkeypatch: Patch, point: str, size: int) -> None:
    values = plant.records(SOURCE, traffic(300, seed=4, malformed=0.05))
    zombie, owner = Writer(plant), Writer(plant)
    zombie.commit(SOURCE, values, 0, 99)
    paused_at(monkeypatch, point, lambda: owner.go_on(SOURCE, values, size))
    if POINTS.index(point) < POINTS.index("metadata.committed"):
        with pytest.raises(FencedError):
            zombie.commit(SOURCE, values, 100, 199)
    else:
        zombie.commit(SOURCE, values, 100, 199)  # it had landed before the pause
    plant.judge()


@pytest.mark.parametrize(
    "point", [p for p in POINTS if p.startswith(("identifiers", "originals", "quarantine"))]
)
def test_overtaken_by_one_that_has_not_finished_either(plant: Plant, monkeypatch: Patch, point: str) -> None:
    """The owner is paused in its turn, half way through the window tables, and a third one brings it to an end."""
    values = plant.records(SOURCE, traffic(300, seed=4, malformed=0.05))
    zombie, owner, third = Writer(plant), Writer(plant), Writer(plant)

    def overtake() -> None:
        paused_at(monkeypatch, "originals.committed", lambda: third.go_on(SOURCE, values, 90))
        with pytest.raises(FencedError):
            owner.commit(SOURCE, values, 0, 149)

    paused_at(monkeypatch, point, overtake)
    with pytest.raises(FencedError):
        zombie.commit(SOURCE, values, 0, 99)
    plant.judge()


def test_one_that_reloads_before_it_commits(plant: Plant) -> None:
    values = plant.records(SOURCE, traffic(300, seed=4))
    zombie, owner = Writer(plant), Writer(plant)
    held = prepare(zombie.runtime.transform, SOURCE, 0, values[:100])
    owner.go_on(SOURCE, values, 150)
    for table in (zombie.warehouse.metadata, *zombie.warehouse.window.values()):
        table.reload()
    with pytest.raises(FencedError) as fenced:
        zombie.warehouse.commit([held], zombie.ring)
    assert fenced.value.sources == {SOURCE.id}
    plant.judge()


def test_only_the_partition_that_went_elsewhere_is_fenced(plant: Plant) -> None:
    mine, gone = plant.records(SOURCE, traffic(50, seed=1)), plant.records(OTHER, traffic(50, seed=2))
    zombie, owner = Writer(plant), Writer(plant)
    held = [prepare(zombie.runtime.transform, s, 0, v) for s, v in ((SOURCE, mine), (OTHER, gone))]
    owner.go_on(OTHER, gone)
    with pytest.raises(FencedError) as fenced:
        zombie.warehouse.commit(held, zombie.ring)
    assert fenced.value.sources == {OTHER.id}
    zombie.warehouse.commit(held[:1], zombie.ring)
    plant.judge()


def test_a_hole_is_never_committed(plant: Plant) -> None:
    values = plant.records(SOURCE, traffic(100, seed=1))
    writer = Writer(plant)
    writer.commit(SOURCE, values, 0, 49)
    held = prepare(writer.runtime.transform, SOURCE, 60, values[60:])
    with pytest.raises(FencedError):
        writer.warehouse.commit([held], writer.ring)
    writer.go_on(SOURCE, values)
    plant.judge()
