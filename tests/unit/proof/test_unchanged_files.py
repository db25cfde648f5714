"""Files that are byte for byte as they were written are not read for rows out of scope; all else is found as ever."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake.transaction import AddAction
from proof_world import NOW, World, changed, compact, read, without, write

from lethe.schemas.retention.calendar import Month
from lethe.tiers.commit import ledger_entries
from lethe.tiers.delta import files as delta_files
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.evidence import unchanged
from lethe.tiers.warehouse import Warehouse

PLAIN, MIXED = "cdr.plain", "cdr.mixed"


@pytest.fixture(autouse=True)
def never_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged.secrets, "randbelow", lambda _most: 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two topics, one without any row in scope, the other with some, in commits of two months."""
    world = World(tmp_path_factory.mktemp("made"))
    for seed in (1, 2, 3):
        world.feed(PLAIN, 80, seed, pakistan=0.0)
        world.feed(MIXED, 80, seed + 10)
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return made.copy(tmp_path)


def counted(world: World, **asked: Any) -> tuple[int, int, int]:
    """Rows in scope, out of it, and those of the latter that were not read; nothing may be found."""
    assert world.verify(**asked) == []
    assert world.report is not None
    return world.report.rows, world.report.outside, world.report.unchanged


def files(world: World, stream: str) -> list[Path]:
    return [path for path in world.archive_files() if read(path)["stream"][0].as_py() == stream]


def both(world: World) -> list[tuple[str, str]]:
    """What is found; it has to be the same where every row is read."""
    found, by_value = world.verify(), world.verify(every_row=True)
    # Of two files with the same row, either may be called the one that is too many.
    assert sorted((f.kind, f.where, f.detail) for f in found) == sorted(
        (f.kind, f.where, f.detail) for f in by_value
    )
    return [(f.kind.value, f.where) for f in found]


def outside(path: Path) -> int:
    """The number of a row out of scope in a file."""
    return next(n for n, row in enumerate(read(path).to_pylist()) if row["integrity_hash"] is None)


def test_a_commit_that_came_second_says_once_in_which_files_its_rows_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer was quicker: the same rows are committed anew."""
    tried, first = Warehouse._try_commit, [True]

    def quicker(self: Warehouse, handle: Any, *arguments: Any) -> bool:
        if handle.name == "metadata" and first and first.pop():
            return False
        return tried(self, handle, *arguments)

    in_scope, outside_scope, as_written = counted(world)
    monkeypatch.setattr(Warehouse, "_try_commit", quicker)
    world.feed(PLAIN, 80, 9, pakistan=0.0)
    assert not first
    assert counted(world) == (in_scope, outside_scope + 80, as_written + 80)


def test_rows_of_files_as_they_were_written_are_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    whole = unchanged.Archive._look_through

    def looked(self: Any, file: Any) -> None:
        opened.append(file.path)
        whole(self, file)

    monkeypatch.setattr(unchanged.Archive, "_look_through", looked)
    rows, others, same = counted(world)
    assert same == others > 100
    assert rows > 50
    assert len(opened) == len(files(world, MIXED)) > 0  # those without a row in scope are not opened at all
    assert counted(world, every_row=True) == (rows, others, 0)
    alone = [counted(world, stream=stream) for stream in (PLAIN, MIXED)]
    assert [sum(two) for two in zip(*alone, strict=True)] == [rows, others, same]


def test_only_some_months_are_asked_for(world: World) -> None:
    _, _, same = counted(world, since=Month(2026, 10))
    assert same > 0


def test_one_of_sixteen_is_read_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chances = iter([0] + [1] * 100)
    monkeypatch.setattr(unchanged.secrets, "randbelow", lambda most: next(chances) if most == 16 else 0)
    _, others, same = counted(world)
    assert 0 < same < others


def drop(path: Path, world: World) -> None:
    write(path, without(read(path), outside(path)))


def price(path: Path, world: World) -> None:
    write(path, changed(read(path), outside(path), "price", Decimal(9)))


def flipped(path: Path, world: World) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def gone(path: Path, world: World) -> None:
    path.unlink()


def emptied(path: Path, world: World) -> None:
    path.write_bytes(b"")


def another(path: Path, world: World) -> None:
    """Another file of the same kind in its place: the name says one thing, the bytes are another's."""
    shutil.copy(next(p for p in world.archive_files() if p != path and p.parent == path.parent), path)


def lower(path: Path, world: World) -> None:
    """A forged copy beside it, with the first bytes of the digest in its name, in the place of the file."""
    forged = path.with_name(path.name.replace("-", "0-", 1))
    write(forged, changed(read(path), outside(path), "price", Decimal(9)))
    added(world, forged, path)


def twice(path: Path, world: World) -> None:
    copy = path.with_name(path.name.replace("-", "0-", 1))
    shutil.copy(path, copy)
    added(world, copy)


def beside(path: Path, world: World) -> None:
    """A file with a row of its offsets that nobody logged."""
    rows = read(path).slice(outside(path), 1)
    one = path.with_name("one.parquet")
    write(one, changed(rows, 0, "index", 77))
    added(world, one)


def another_month(path: Path, world: World) -> None:
    """The very file, under a month that it is not of."""
    month = "2026-09" if path.parent.name == "month=2026-10" else "2026-10"
    copy = path.parent.parent / f"month={month}" / path.name
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(path, copy)
    added(world, copy, path)


def added(world: World, path: Path, instead: Path | None = None) -> None:
    """Say in the table's log that a file belongs to it, and another one does not."""
    table = world.runtime.warehouse.metadata
    month = path.parent.name.removeprefix("month=")
    size, now = path.stat().st_size, int(NOW.timestamp() * 1000)
    stats = json.dumps({"numRecords": pq.read_metadata(path).num_rows})
    table.delta.create_write_transaction(
        [AddAction(f"month={month}/{path.name}", size, {"month": month}, now, True, stats)],
        mode="append", schema=table.delta.schema(), partition_by=["month"],
    )  # fmt: skip
    if instead is not None:
        place = f"month={instead.parent.name.removeprefix('month=')}/{instead.name}"
        newest = max((world.home / "warehouse/metadata/_delta_log").glob("*.json"))
        removed = {"remove": {"path": place, "deletionTimestamp": now, "dataChange": True}}
        newest.write_text(newest.read_text().rstrip("\n") + "\n" + json.dumps(removed) + "\n")


@pytest.mark.parametrize(
    "attack", [drop, price, flipped, gone, emptied, another, lower, twice, beside, another_month]
)
@pytest.mark.parametrize("stream", [PLAIN, MIXED])
def test_what_is_done_to_a_file_is_found_as_where_every_row_is_read(
    world: World, stream: str, attack: Callable[[Path, World], None]
) -> None:
    for path in files(world, stream)[:2]:
        assert outside(path) >= 0
    attack(files(world, stream)[1], world)
    assert both(world) or attack is flipped  # a flipped bit may be in what no reader looks at


def test_rows_in_scope_of_such_a_file_are_compared_one_by_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the log itself calls the bytes of a file as they were written."""
    path, number, row = next(one for one in world.scoped() if one[2]["stream"] == MIXED)
    write(path, changed(read(path), number, "price", Decimal(9)))
    monkeypatch.setattr(unchanged, "_digest", lambda _objects, file: NAMED.get(file.sha256 or file.path))
    NAMED.clear()
    taken = unchanged._candidates

    def named(archive: Any, said: Any) -> Any:
        wanted = taken(archive, said)
        NAMED.update({file.path: digest for file, digest in wanted})
        return wanted

    monkeypatch.setattr(unchanged, "_candidates", named)
    assert [f.where for f in world.verify()] == [f"{MIXED}/0/{row['offset']}" + _index(row)]
    assert world.report is not None
    assert world.report.unchanged == world.report.outside


NAMED: dict[str, bytes] = {}


def _index(row: dict[str, Any]) -> str:
    return "" if row["index"] is None else f"/{row['index']}"


def test_what_was_merged_is_read(world: World) -> None:
    rows, others, same = counted(world)
    compact(world)
    after = counted(world)
    assert after[:2] == (rows, others)
    assert 0 <= after[2] < same


def test_a_log_that_is_lost_is_made_again_as_it_was_also_when_the_files_are_merged(world: World) -> None:
    before = world.store(PLAIN).get("checkpoint") or b""
    compact(world)
    shutil.rmtree(world.log_folder(PLAIN))
    (world.home / "warehouse" / "_log" / "published").unlink(missing_ok=True)
    assert world.publish() == {}
    again = world.store(PLAIN).get("checkpoint") or b""
    assert again.split(b"\n")[:3] == before.split(b"\n")[:3]
    assert world.verify() == []


def test_a_fault_of_the_writer_shows_where_every_row_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says what was meant, and by its digest what was written: the two differ."""
    right = delta_files.parquet_bytes

    def wrong(table: str, rows: pa.Table) -> bytes:
        return right(table, changed(rows, 0, "price", Decimal(9)) if table == "metadata" else rows)

    world = World(tmp_path)
    monkeypatch.setattr(delta_files, "parquet_bytes", wrong)
    world.feed(PLAIN, 40, 1, pakistan=0.0)
    assert world.verify() == []
    assert world.verify(every_row=True)
    monkeypatch.setattr(unchanged.secrets, "randbelow", lambda _most: 0)
    assert world.verify()


def test_commits_of_a_release_that_did_not_say_so_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    with monkeypatch.context() as earlier:
        earlier.setattr(ledger_entries, "placed", lambda hashes, _files: dict(hashes))
        world.feed(PLAIN, 40, 1, pakistan=0.0)
    _, others, same = counted(world)
    assert (others, same) == (40, 0)
    world.feed(PLAIN, 30, 2, pakistan=0.0)
    _, others, same = counted(world)
    assert (others, same) == (70, 30)


def test_a_ledger_made_by_an_earlier_release_gets_the_column(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.feed(PLAIN, 20, 1, pakistan=0.0)
    log = world.home / "warehouse/ledger/_delta_log/00000000000000000000.json"
    field = '{\\"name\\":\\"data_files\\",\\"type\\":\\"string\\",\\"nullable\\":true,\\"metadata\\":{}}'
    text = log.read_text()
    assert text.count("," + field) == 1
    log.write_text(text.replace("," + field, ""))
    assert "data_files" not in {f.name for f in world.runtime.warehouse.ledger.delta.schema().fields}
    world.feed(PLAIN, 20, 2, pakistan=0.0)
    assert "data_files" in {f.name for f in world.runtime.warehouse.ledger.delta.schema().fields}
    _, others, same = counted(world)
    assert (others, same) == (40, 40)


def test_the_table_names_every_file_by_the_first_bytes_of_its_digest(world: World) -> None:
    from hashlib import sha256

    for file in files_of(world.runtime.warehouse.metadata):
        data = (world.home / "warehouse" / "metadata" / file.path).read_bytes()
        assert f"-{sha256(data).hexdigest()[:16]}.parquet" in file.path
