"""Appends to a Delta table: what others read of them, what others do meanwhile, what becomes of an old log."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Field, Transaction
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from lethe.schemas.arrow import PARTITIONED_BY, TABLES
from lethe.schemas.errors import FencedError, LetheError, TransientError, UnknownOutcomeError
from lethe.tiers.delta import table as tables
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.log import DataFile, log_path, read_commit
from lethe.tiers.delta.rewrite import files_of, replace
from lethe.tiers.delta.table import Table
from lethe.tiers.store.objects import LocalObjects, Objects, open_objects

ROW = {
    "stream": "cdr",
    "partition": 0,
    "first_offset": 0,
    "last_offset": 9,
    "records": 10,
    "page": b"\x00\xff",
}


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(str(tmp_path / "warehouse"), {})


def opened(objects: Objects, name: str = "originals") -> Table:
    return Table(objects, name, {})


def files(objects: Objects, number: int, month: str = "2026-11") -> list[DataFile]:
    row = {**ROW, "first_offset": number, "month": month, "window_months": 12}
    return write_files(
        objects, "originals", pa.Table.from_pylist([row], schema=TABLES["originals"]), f"n{number}", number
    )


def append(objects: Objects, table: Table, number: int, source: str = "a") -> int:
    return table.commit(files(objects, number), {source: number}, {"lethe.test": json.dumps(number)})


def numbers(objects: Objects) -> list[int]:
    read = DeltaTable(objects.url("originals")).to_pyarrow_table(columns=["first_offset"])
    return sorted(read["first_offset"].to_pylist())


def by_library(objects: Objects, number: int, source: str) -> None:
    table = DeltaTable(objects.url("originals"))
    adds = [
        AddAction(f.path, f.size, dict(f.partition), f.modified_ms, True, f.stats)
        for f in files(objects, number)
    ]
    table.create_write_transaction(
        adds, mode="append", schema=table.schema(), partition_by=PARTITIONED_BY["originals"],
        commit_properties=CommitProperties(app_transactions=[Transaction(source, number)]),
    )  # fmt: skip


def test_every_reader_reads_what_is_appended(objects: Objects) -> None:
    table = opened(objects)
    for number in range(45):  # two checkpoints
        assert append(objects, table, number) == number + 1
    assert numbers(objects) == list(range(45))
    url = objects.url("originals")
    assert pl.scan_delta(url).select("first_offset").collect().to_series().sort().to_list() == list(range(45))
    dataset = DeltaTable(url).to_pyarrow_dataset()
    assert duckdb.from_arrow(dataset).count("*").fetchall() == [(45,)]
    entry = DeltaTable(url).history(1)[0]
    assert entry["operation"] == "WRITE"
    assert entry["lethe.test"] == "44"
    fresh = opened(objects)
    assert (fresh.version, fresh.transaction("a"), fresh.transaction("b")) == (45, 44, None)
    assert fresh.info_since(43, "lethe.test") == [(44, 43), (45, 44)]


def test_a_commit_is_what_the_library_would_have_written(objects: Objects) -> None:
    """The same actions with the same values, but for members that are null and who says so."""
    table = opened(objects)
    append(objects, table, 1)
    by_library(objects, 2, "a")

    def actions(version: int) -> dict[str, Any]:
        data = objects.get(log_path("originals", version))
        assert data is not None
        lines = [json.loads(line) for line in data.splitlines()]
        return {
            kind: {k: v for k, v in body.items() if v is not None}
            for one in lines
            for kind, body in one.items()
        }

    mine, theirs = actions(1), actions(2)
    assert mine.keys() == theirs.keys() == {"commitInfo", "add", "txn"}
    assert mine["add"].keys() == theirs["add"].keys()
    assert mine["txn"] == {"appId": "a", "version": 1}
    assert theirs["txn"] == {"appId": "a", "version": 2}
    for name in ("operation", "operationParameters"):
        assert mine["commitInfo"][name] == theirs["commitInfo"][name]
    assert {type(v) for v in mine["add"].values()} == {type(v) for v in theirs["add"].values()}


def test_checkpoints_come_when_they_are_due_and_carry_the_transactions(
    objects: Objects, tmp_path: Path
) -> None:
    table = opened(objects)
    for number in range(41):
        append(objects, table, number, f"source-{number}")
    log = tmp_path / "warehouse" / "originals" / "_delta_log"
    made = sorted(int(p.name.split(".")[0]) for p in log.glob("*.checkpoint.parquet"))
    assert made == [20, 40]
    for version in range(40):  # as the library does a month later
        (log / f"{version:020d}.json").unlink()
    fresh = opened(objects)
    assert [fresh.transaction(f"source-{n}") for n in range(41)] == list(range(41))
    assert numbers(objects) == list(range(41))


def test_writers_of_both_kinds_at_once_lose_nothing(objects: Objects) -> None:
    opened(objects)
    failed: list[BaseException] = []

    def writes(source: int, by: Callable[[int], Any]) -> None:
        try:
            for number in range(15):
                by(source * 1_000 + number)
        except BaseException as error:  # noqa: BLE001  (told to the test)
            failed.append(error)

    def mine(source: int) -> Callable[[int], Any]:
        table = opened(objects)
        return lambda number: append(objects, table, number, f"s{source}")

    def library(source: int) -> Callable[[int], Any]:
        return lambda number: by_library(objects, number, f"s{source}")

    threads = [
        threading.Thread(target=writes, args=(source, (library if source == 0 else mine)(source)))
        for source in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert numbers(objects) == sorted(source * 1_000 + n for source in range(4) for n in range(15))
    fresh = opened(objects)
    assert fresh.version == 60
    assert [fresh.transaction(f"s{source}") for source in range(4)] == [s * 1_000 + 14 for s in range(4)]


@pytest.mark.parametrize("by", ["itself", "the library"])
def test_another_commit_of_the_same_source_fences(objects: Objects, by: str) -> None:
    table, other = opened(objects), opened(objects)
    if by == "itself":
        append(objects, other, 1)
    else:
        by_library(objects, 1, "a")
    with pytest.raises(FencedError):
        append(objects, table, 2)
    assert numbers(objects) == [1]
    table.reload()
    assert table.transaction("a") == 1
    append(objects, table, 2)
    assert numbers(objects) == [1, 2]


def test_what_others_commit_is_seen_without_the_library(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, other = opened(objects), opened(objects)
    assert table.transaction("a") is None
    append(objects, other, 5)
    by_library(objects, 6, "b")
    monkeypatch.setattr(DeltaTable, "update_incremental", lambda _: pytest.fail("not needed"))
    table.reload()
    assert (table.version, table.transaction("a"), table.transaction("b")) == (2, 5, 6)
    assert append(objects, table, 7) == 3


def test_commits_after_a_change_of_the_table_are_counted_once(objects: Objects) -> None:
    """A new release adds a column, and an old one commits before this handle looks: the change and what follows it.

    A handle that is ahead of its table takes a version that never was for lost, and would append beyond a hole.
    """
    table, other = opened(objects), opened(objects)
    append(objects, table, 1)
    other.reload()
    DeltaTable(objects.url("originals")).alter.add_columns([Field("later", "long")])
    for number in (2, 3):
        by_library(objects, number, "b")
    table.reload()
    assert table.version == DeltaTable(objects.url("originals")).version() == 4
    assert table.info_since(0, "lethe.test") == [(1, 1)]
    assert (table.transaction("a"), table.transaction("b")) == (1, 3)
    assert append(objects, table, 9) == 5
    other.reload()
    assert append(objects, other, 10) == 6
    assert numbers(objects) == [1, 2, 3, 9, 10]


def test_a_log_that_was_cleaned_behind_a_handle_is_noticed(objects: Objects, tmp_path: Path) -> None:
    """Where its next version is gone from the log, the handle must not take it for one that never was."""
    table, other = opened(objects), opened(objects)
    for number in range(25):
        append(objects, other, number, "b")
    log = tmp_path / "warehouse" / "originals" / "_delta_log"
    for version in range(20):
        (log / f"{version:020d}.json").unlink()
    assert append(objects, table, 100) == 26
    assert numbers(objects) == [*range(25), 100]
    assert table.transaction("b") == 24


def test_a_cleaned_log_fences_who_lost_its_source(objects: Objects, tmp_path: Path) -> None:
    table, other = opened(objects), opened(objects)
    assert table.transaction("a") is None
    for number in range(21):
        append(objects, other, number)
    log = tmp_path / "warehouse" / "originals" / "_delta_log"
    for version in range(21):
        (log / f"{version:020d}.json").unlink()
    with pytest.raises(FencedError):
        append(objects, table, 100)
    table.reload()
    assert (table.version, table.transaction("a")) == (21, 20)


def test_a_handle_that_has_not_looked_for_long_looks_at_the_whole_log(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(objects)
    now = [tables._now()]
    monkeypatch.setattr(tables, "_now", lambda: now[0])
    looks: list[int] = []
    real = DeltaTable.update_incremental
    monkeypatch.setattr(DeltaTable, "update_incremental", lambda self: (looks.append(1), real(self))[1])
    append(objects, table, 1)
    table.reload()
    assert looks == []
    now[0] += 3_601
    table.reload()
    assert looks == [1]
    now[0] += 3_601
    append(objects, table, 2)
    assert looks == [1, 1]


def test_a_table_of_a_later_protocol_is_left_to_the_library(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(objects)
    append(objects, table, 1)
    DeltaTable(objects.url("originals")).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    theirs = DeltaTable(objects.url("originals")).protocol()
    assert theirs.min_writer_version > 2
    with pytest.raises(FencedError):  # it stood elsewhere when the handle was loaded
        append(objects, table, 2)
    table.reload()
    through: list[int] = []
    real = DeltaTable.create_write_transaction

    def commit(self: DeltaTable, *given: Any, **named: Any) -> None:
        through.append(1)
        real(self, *given, **named)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", commit)
    append(objects, table, 2)
    append(objects, opened(objects), 3)
    assert through == [1, 1]
    assert numbers(objects) == [1, 2, 3]


def test_a_table_that_changed_while_the_store_was_away_is_not_appended_to(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(objects)
    DeltaTable(objects.url("originals")).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})

    def away(_: DeltaTable) -> None:
        raise DeltaError("no answer")

    with monkeypatch.context() as while_away:
        while_away.setattr(DeltaTable, "update_incremental", away)
        with pytest.raises(TransientError):
            table.reload()
    table.reload()  # nothing new is there to be read
    monkeypatch.setattr(LocalObjects, "create", lambda *_: pytest.fail("that is for the library"))
    append(objects, table, 1)
    assert numbers(objects) == [1]


def test_files_are_taken_out_against_what_was_seen(objects: Objects) -> None:
    table, other = opened(objects), opened(objects)
    (old,) = files(objects, 1)
    table.commit([old], {"a": 1}, {})
    gone = [RemoveAction(old.path, True, 1, old.size, dict(old.partition))]
    other.reload()
    table.commit(files(objects, 2), {}, {}, remove=gone)
    assert numbers(objects) == [2]
    with pytest.raises(FencedError):
        other.commit(files(objects, 3), {}, {}, remove=gone)
    append(objects, other, 4)
    assert numbers(objects) == [2, 4]


def test_readers_see_what_the_handle_has_seen(objects: Objects) -> None:
    table, other = opened(objects), opened(objects)
    append(objects, other, 1)
    assert table.delta.version() == 0
    table.reload()
    assert table.delta.version() == 1
    append(objects, table, 2)
    assert table.delta.to_pyarrow_table().num_rows == 2


@pytest.mark.parametrize(
    "data", [b"{", b"[]\n", b'{"txn":1}', b'{"txn":{"appId":"a"}}', b'{"commitInfo":[1]}', b"\xff"]
)
def test_a_damaged_commit_is_named(objects: Objects, tmp_path: Path, data: bytes) -> None:
    table = opened(objects)
    path = log_path("originals", 1)
    (tmp_path / "warehouse" / path).write_bytes(data)
    with pytest.raises(LetheError, match=r"00001\.json is damaged"):
        table.reload()
    with pytest.raises(LetheError, match=r"00001\.json is damaged"):
        append(objects, table, 1)
    with pytest.raises(LetheError, match="damaged"):
        read_commit(data, path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b'{"version":"x"}', b'{"version":null}', b"\xff"])
def test_what_does_not_say_which_checkpoint_is_the_newest_costs_no_commit(
    objects: Objects, tmp_path: Path, data: bytes
) -> None:
    table, other = opened(objects), opened(objects)
    for number in range(21):
        append(objects, other, number, "b")
    (tmp_path / "warehouse" / "originals" / "_delta_log" / "_last_checkpoint").write_bytes(data)
    append(objects, table, 100)
    append(objects, table, 101)
    assert numbers(objects) == [*range(21), 100, 101]


def test_a_checkpoint_that_cannot_be_written_costs_no_commit(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(objects)

    def full(_: DeltaTable) -> None:
        raise DeltaError("no space left")

    monkeypatch.setattr(DeltaTable, "create_checkpoint", full)
    for number in range(25):
        append(objects, table, number)
    assert numbers(objects) == list(range(25))


def test_a_commit_that_vanishes_is_of_unknown_outcome(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(objects)
    monkeypatch.setattr(LocalObjects, "create", lambda *_: False)
    with pytest.raises(UnknownOutcomeError, match="is gone"):
        append(objects, table, 1)


def test_paths_are_written_as_the_library_writes_them(objects: Objects) -> None:
    table = opened(objects)
    sink = io.BytesIO()
    schema = pa.schema([f for f in TABLES["originals"] if f.name not in PARTITIONED_BY["originals"]])
    pq.write_table(pa.Table.from_pylist([ROW], schema=schema), sink)
    path = "month=2026-11/window_months=12/a b%c-_.~é.parquet"
    objects.put(f"originals/{path}", sink.getvalue())
    partition, size = {"month": "2026-11", "window_months": "12"}, len(sink.getvalue())
    table.commit([DataFile(path, size, partition, 1, 1, '{"numRecords":1}')], {"a": 1}, {})
    assert numbers(objects) == [0]
    library = table.delta
    library.create_write_transaction(
        [AddAction(path, size, partition, 1, True, '{"numRecords":1}')],
        mode="append", schema=library.schema(), partition_by=PARTITIONED_BY["originals"],
    )  # fmt: skip
    mine, theirs = (objects.get(log_path("originals", version)) or b"" for version in (1, 2))
    (added,) = (json.loads(line)["add"]["path"] for line in mine.splitlines() if b'"add"' in line)
    assert f'"{added}"'.encode() in theirs


def test_a_handle_knows_its_own_commits(objects: Objects) -> None:
    table = opened(objects)
    assert table.transaction("a") is None
    append(objects, table, 1)
    assert table.transaction("a") == 1
    append(objects, table, 2)
    assert (table.transaction("a"), opened(objects).transaction("a")) == (2, 2)


def test_a_commit_that_a_client_sent_twice_has_landed(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened(objects)
    real = LocalObjects.create

    def twice(self: LocalObjects, path: str, data: bytes) -> bool:
        real(self, path, data)
        return real(self, path, data)

    monkeypatch.setattr(LocalObjects, "create", twice)
    assert append(objects, table, 1) == 1
    assert append(objects, table, 2) == 2
    assert numbers(objects) == [1, 2]


def test_a_handle_that_has_moved_on_takes_no_file_out_twice(objects: Objects) -> None:
    """Two that rewrite the same file: the handle of one sees the other's commit between its look and its own."""
    one, other = opened(objects), opened(objects)
    append(objects, one, 1)
    old = files_of(one)
    other.reload()
    rewritten = files(objects, 2)
    replace(other, files_of(other), rewritten, 0, "erase")
    for move_on in (Table.reload, lambda table: table.delta, lambda table: table.dataset()):
        move_on(one)
        with pytest.raises(FencedError, match="took one of the files out"):
            replace(one, old, files(objects, 3), 0, "compact", data_change=False)
    assert numbers(objects) == [2]
    assert [f.path for f in files_of(opened(objects))] == [f.path for f in rewritten]


@pytest.mark.parametrize("first", [True, False])
def test_a_handle_that_saw_nothing_takes_no_file_out_twice(objects: Objects, first: bool) -> None:
    """The other's commit is made while this one is; a merge changes no data, and takes files out all the same."""
    one, other = opened(objects), opened(objects)
    append(objects, one, 1)
    other.reload()
    old = files_of(one)
    rewritten = files(objects, 2)
    replace(other, files_of(other), rewritten, 0, "compact", data_change=first)
    with pytest.raises(FencedError, match="took one of the files out"):
        replace(one, old, files(objects, 3), 0, "erase", data_change=not first)
    assert numbers(objects) == [2]


def test_files_are_replaced_beside_those_who_append(objects: Objects) -> None:
    one, other = opened(objects), opened(objects)
    append(objects, one, 1)
    old = files_of(one)
    other.reload()
    append(objects, other, 2)
    replace(one, old, files(objects, 3), 0, "compact", data_change=False)
    assert numbers(objects) == [2, 3]
    assert one.version == opened(objects).version
