"""Whatever happens to a file of log, ledger or archive, `lethe verify` finds it: the whole suite, file by file."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from proof_world import World

from lethe.tiers.delta.rewrite import files_of

STREAM = "topic"
HINTS = {"published", ".checkpoint.lock"}
"""What saves work or keeps writers apart, and is believed by no verifier."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A few commits of rows in and out of scope, and a copy of an earlier state."""
    made = World(tmp_path_factory.mktemp("tampering"))
    made.feed(STREAM, 70, 1, months=1)
    made.feed(STREAM, 70, 2, months=2)
    made.copy(made.home.parent / f"{made.home.name}-before")
    made.feed(STREAM, 70, 3, months=1)
    assert made.verify() == []
    assert made.report is not None
    assert made.report.rows > 20
    assert made.report.outside > 40
    return made


def files(world: World, kind: str) -> list[Path]:
    """The files of the log, the ledger or the archive that something refers to."""
    warehouse = world.home / "warehouse"
    if kind != "log":
        table = world.runtime.warehouse.ledger if kind == "ledger" else world.runtime.warehouse.metadata
        return sorted(warehouse / table.name / file.path for file in files_of(table))
    found = [p for p in (warehouse / "_log").rglob("*") if p.is_file() and p.name not in HINTS]
    # Of an unfinished tile the widest counts: earlier ones lie beside it until it is full, and nobody reads them.
    widest = {
        p.parent: max(int(other.name) for other in p.parent.iterdir())
        for p in found
        if p.parent.suffix == ".p"
    }
    return sorted(p for p in found if p.parent not in widest or int(p.name) == widest[p.parent])


def same(before: bytes, after: bytes) -> bool:
    """Whether a Parquet file still holds the very rows: a byte of it that means nothing was changed."""
    try:
        return bool(_rows(before).equals(_rows(after)))
    except Exception:  # noqa: BLE001  (a damaged file fails in many ways)
        return False


def _rows(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def flipped(data: bytes) -> Iterator[bytes]:
    for place in sorted({0, len(data) // 3, len(data) // 2, len(data) - 1}):
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("kind", ["log", "ledger", "archive"])
@pytest.mark.parametrize("what", ["flip", "cut", "drop", "swap"])
def test_whatever_happens_to_a_file_is_found(world: World, kind: str, what: str) -> None:
    every = files(world, kind)
    assert every
    for number, path in enumerate(every):
        before = path.read_bytes()
        if what == "flip":
            changes: list[bytes | None] = (
                list(flipped(before))[:2] if kind == "log" else list(flipped(before))[1:3]
            )
        elif what == "cut":
            changes = [before[: len(before) // 2]]
        elif what == "drop":
            changes = [None]
        else:
            other = next(
                (p.read_bytes() for p in every[number + 1 :] + every[:number] if p.suffix == path.suffix), b""
            )
            changes = [other] if other != before else []
        for change in changes:
            try:
                if change is None:
                    path.unlink()
                else:
                    path.write_bytes(change)
                found = world.verify()
                assert found or (change and kind != "log" and same(before, change)), (what, path)
            finally:
                path.write_bytes(before)
    assert world.verify() == []


def test_a_ledger_that_is_rolled_back_is_derived_again(world: World, tmp_path: Path) -> None:
    copy, before = world.copy(tmp_path / "now"), world.home.parent / f"{world.home.name}-before"
    shutil.rmtree(copy.home / "warehouse" / "ledger")
    shutil.copytree(before / "warehouse" / "ledger", copy.home / "warehouse" / "ledger")
    assert copy.verify() == []
    ledgers = [
        one.runtime.warehouse.ledger.delta.to_pyarrow_table().drop_columns(["mac"]) for one in (copy, world)
    ]
    assert ledgers[0].sort_by("version").equals(ledgers[1].sort_by("version"))


@pytest.mark.parametrize("kind", ["_log", "metadata", "all"])
def test_what_is_rolled_back_is_found(world: World, tmp_path: Path, kind: str) -> None:
    """Put back to what it was two commits ago, each by itself and all together: the key directory remembers."""
    copy, before = world.copy(tmp_path / "now"), world.home.parent / f"{world.home.name}-before"
    for folder in ["_log", "ledger", "metadata"] if kind == "all" else [kind]:
        shutil.rmtree(copy.home / "warehouse" / folder)
        shutil.copytree(before / "warehouse" / folder, copy.home / "warehouse" / folder)
    assert copy.verify() != []


def test_a_file_of_the_log_replayed_in_the_place_of_a_later_one_is_found(
    world: World, tmp_path: Path
) -> None:
    copy, before = world.copy(tmp_path / "now"), world.home.parent / f"{world.home.name}-before"
    replayed = 0
    for old in (before / "warehouse" / "_log").rglob("*"):
        now = copy.home / "warehouse" / old.relative_to(before / "warehouse")
        if not old.is_file() or old.name in HINTS or (now.exists() and now.read_bytes() == old.read_bytes()):
            continue
        there = now.read_bytes() if now.exists() else None
        now.write_bytes(old.read_bytes())
        if there is not None:  # else an unfinished tile that has been replaced: nobody reads it
            assert copy.verify() != [], old
            now.write_bytes(there)
            replayed += 1
    assert replayed
    assert copy.verify() == []
