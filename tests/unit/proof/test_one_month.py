"""Commits of one month, whose leaf files hold the hashes of groups: proof of a row needs the rows beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from proof_world import NOW, World, backwards, changed, compact, name, read, without, write

from lethe.integrity.log.entries import Log
from lethe.integrity.log.leaves import commit_each_with_leaves, decode
from lethe.integrity.log.store import log_origin
from lethe.integrity.verify.findings import Kind
from lethe.schemas.errors import IntegrityError
from lethe.schemas.position import Position
from lethe.tiers.evidence.proof import Evidence, evidence_of

STREAM = "cdr.sms"
Scoped = tuple[Path, int, dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("made"))
    for seed in (1, 2):
        world.feed(STREAM, 160, seed, months=1, envelope=0.1)
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copy(tmp_path)


def evidence(world: World, row: dict[str, Any]) -> Evidence:
    runtime = world.runtime
    position = Position.parse(name(row))
    return evidence_of(runtime.warehouse, runtime.ring, world.signer.history, position, NOW)


def groups(world: World) -> Iterator[list[Scoped]]:
    """The rows in scope, group by group, in the order of the log."""
    rows = {name(one[2]): one for one in world.scoped()}
    log = Log(world.store(STREAM), world.signer.history, log_origin("lethe", STREAM, 0))
    for entry in log.entries():
        assert log.leaf_file(entry)[0] == 2
        file = decode(log.leaf_file(entry), entry.first_offset)
        mine = [rows[str(Position(STREAM, 0, row.offset, row.index))] for row in file.rows]
        yield from (mine[group.first : group.end] for group in file.groups)


def alter(one: Scoped) -> None:
    path, number, row = one
    write(path, changed(read(path), number, "price", (row["price"] or Decimal(0)) + 1))


def test_every_record_has_its_evidence(world: World) -> None:
    assert world.verify() == []
    sizes = [len(group) for group in groups(world)]
    assert max(sizes) == 32
    assert min(sizes) < 32
    for group in groups(world):
        for _, _, row in group[:2] + group[-1:]:
            assert evidence(world, row).has_original


def test_compaction_changes_nothing(world: World) -> None:
    compact(world, backwards)
    assert world.verify() == []
    for group in groups(world):
        assert evidence(world, group[-1][2])


def test_a_row_damaged_beside_it_is_said_and_what_to_do(world: World) -> None:
    group, *others = groups(world)
    before = group[3][0].read_bytes()
    alter(group[3])
    where = f"{name(group[0][2])} to {name(group[-1][2])}"
    assert [(f.kind, f.where) for f in world.verify()] == [(Kind.ALTERED, where)]
    with pytest.raises(IntegrityError, match=r"cannot be proven: .* one or more .* lethe verify .* backup"):
        evidence(world, group[4][2])
    assert evidence(world, others[0][0][2])
    path, number, row = group[3]
    write(path, without(read(path), number))
    assert [(f.kind, f.where) for f in world.verify()] == [
        (Kind.NOT_PROVEN, where),
        (Kind.MISSING, name(row)),
    ]
    path.write_bytes(before)
    assert evidence(world, group[4][2])
    assert world.verify() == []


def test_a_file_that_is_gone_is_said(world: World) -> None:
    group = next(groups(world))
    path = group[0][0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match="is not in the archive; lethe verify says"):
        evidence(world, group[4][2])
    path.unlink()
    with pytest.raises(IntegrityError, match="is not in the archive; lethe verify says"):
        evidence(world, group[4][2])


def as_before(tables: Sequence[tuple[pa.Table, int]], whole: bool = False) -> Any:
    """What an earlier release made of a commit: all leaf hashes, always."""
    return commit_each_with_leaves(tables, whole=True)


def test_a_warehouse_of_an_earlier_release_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr("lethe.integrity.log.leaves.commit_each_with_leaves", as_before)
        world.feed(STREAM, 80, 1, months=1)
        world.feed(STREAM, 80, 2, months=1)
    left = world.copy(tmp_path / "left")
    seen = world.feed(STREAM, 80, 3, months=1)
    log = Log(world.store(STREAM), world.signer.history, log_origin("lethe", STREAM, 0))
    assert [log.leaf_file(entry)[0] for entry in log.entries()] == [1, 1, 2]
    assert world.verify(known=[seen]) == []
    for _, _, row in world.scoped()[::25]:
        assert evidence(world, row)
    # And one whose release was stopped before it signed: leaf files and entries are there, the checkpoint is not.
    folder = left.log_folder(STREAM)
    (folder / "checkpoint").unlink()
    shutil.rmtree(folder / "tile" / "0")
    (left.home / "warehouse" / "_log" / "published").unlink()
    assert left.publish() == {}
    assert left.verify() == []
    log = Log(left.store(STREAM), left.signer.history, log_origin("lethe", STREAM, 0))
    assert [log.leaf_file(entry)[0] for entry in log.entries()] == [1, 1]
