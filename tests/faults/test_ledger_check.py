"""`lethe ledger --check` names what is wrong: which record, in which table, or which row of the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.transaction import RemoveAction
from replay_plant import FLAT, GOOD, SOURCE, ReplayPlant, killed_at, report

from lethe.operations.retention.sweep import maintenance_context
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.rewrite import files_of
from lethe.tiers.ledger.reconcile import check
from lethe.tiers.retention.sweep import sweep
from lethe.tiers.rights.erasure import erase

HERS = 3
"""The offset of her only record."""


def message(offset: int) -> bytes:
    """Offset 5 and 25 are no records, 6 and 26 envelopes of three; every number is another one's."""
    if offset % 20 == 5:
        return b"{"
    number = f"4917012345{offset:02d}" if offset != HERS else "923001234567"
    if offset % 20 == 6:
        return json.dumps({"results": [report(100 + offset + n, number) for n in range(3)]}).encode()
    return json.dumps(report(offset, number)).encode()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> ReplayPlant:
    """Four commits of ten messages each."""
    plant = ReplayPlant(tmp_path_factory.mktemp("whole"))
    plant.declare(GOOD)
    plant.take_in(SOURCE, plant.records(SOURCE, [("", message(n)) for n in range(40)]), 10)
    assert found(plant) == []
    return plant


@pytest.fixture
def plant(whole: ReplayPlant, tmp_path: Path) -> ReplayPlant:
    return whole.copy(tmp_path)


def found(plant: ReplayPlant) -> list[str]:
    return [str(finding) for finding in check(plant.runtime().warehouse)]


def delta(plant: ReplayPlant, table: str) -> DeltaTable:
    return DeltaTable(str(plant.directory / "warehouse" / table))


def add_again(plant: ReplayPlant, table: str, chosen: Callable[[dict[str, Any]], bool]) -> None:
    """Add rows that are there already, in a file of their own."""
    runtime = plant.runtime()
    tables = {
        "metadata": runtime.warehouse.metadata,
        "ledger": runtime.warehouse.ledger,
        **runtime.warehouse.window,
    }
    handle = tables[table]
    rows = handle.stored.to_pyarrow_dataset().to_table()
    rows = rows.filter([bool(chosen(row)) for row in rows.to_pylist()])
    assert rows.num_rows
    handle.commit(write_files(runtime.objects, table, rows, "again", 0), {}, {})


@pytest.mark.parametrize(
    ("table", "gone", "lines"),
    [
        ("metadata", "offset = 7",
         ["offsets 0 to 9: archive holds 10 records, the ledger says 11; missing: 7"]),
        ("metadata", "offset = 6 AND index = 1",
         ["offsets 0 to 9: archive holds 10 records, the ledger says 11; missing: 6/1"]),
        ("metadata", "offset >= 11 AND offset <= 13 OR offset = 18",
         ["offsets 10 to 19: archive holds 6 records, the ledger says 10; missing: 11 to 13, 18"]),
        ("quarantine", "offset = 5",
         ["offsets 0 to 9: quarantine holds 0 records, the ledger says 1; missing: 5"]),
        ("identifiers", "offset = 12",
         ["offsets 10 to 19: identifiers holds 9 rows, the ledger says 10; none for: 12"]),
        ("ledger", "first_offset = 10",
         ["offsets 10 to 19 are accounted for by no commit",
          "archive holds 10 records at offsets that no ledger row accounts for: 10 to 19",
          "identifiers holds 10 records at offsets that no ledger row accounts for: 10 to 19"]),
        ("ledger", "first_offset = 30",
         ["the archive is committed up to offset 39, the ledger ends at 29",
          "archive holds 10 records at offsets that no ledger row accounts for: 30 to 39"]),
    ],
)  # fmt: skip
def test_what_was_removed_is_named(plant: ReplayPlant, table: str, gone: str, lines: list[str]) -> None:
    delta(plant, table).delete(gone)
    assert found(plant) == [f"cdr/0: {line}" for line in lines]


@pytest.mark.parametrize(
    ("table", "chosen", "lines"),
    [
        ("metadata", lambda row: row["offset"] == 17,
         ["record at offset 17 is in the archive 2 times"]),
        ("metadata", lambda row: (row["offset"], row["index"]) == (26, 2),
         ["record at offset 26/2 is in the archive 2 times"]),
        ("quarantine", lambda row: row["offset"] == 25,
         ["record at offset 25 is in the quarantine 2 times"]),
        ("identifiers", lambda row: row["offset"] == 17,
         ["offsets 10 to 19: identifiers holds 11 rows, the ledger says 10; twice: 17"]),
        ("ledger", lambda row: row["first_offset"] == 20,
         ["offsets 20 to 29 are accounted for twice"]),
    ],
)  # fmt: skip
def test_what_is_there_twice_is_named(
    plant: ReplayPlant, table: str, chosen: Callable[[dict[str, Any]], bool], lines: list[str]
) -> None:
    add_again(plant, table, chosen)
    assert found(plant) == [f"cdr/0: {line}" for line in lines]


@pytest.mark.parametrize("table", ["metadata", "identifiers", "quarantine"])
def test_a_file_that_is_not_what_the_log_of_its_table_says_is_no_surprise(
    plant: ReplayPlant, table: str
) -> None:
    """Rewritten by pyarrow its rows are the same and its size is not; damaged it is named, and the others count."""
    chosen = files_of(plant.runtime().warehouse.handle(table))[0]
    file = plant.directory / "warehouse" / table / chosen.path
    pq.write_table(pq.ParquetFile(file).read(), file, compression="none", use_dictionary=False)
    assert file.stat().st_size != chosen.size
    assert found(plant) == []
    file.write_bytes(b"x" * 100)
    first, *others = found(plant)
    assert first == f"{table}/0: {table}/{chosen.path}: the file cannot be read"
    assert others
    file.unlink()
    assert found(plant)[0] == f"{table}/0: {table}/{chosen.path}: the file is gone"


def test_one_doubled_and_one_missing_are_not_taken_for_none(plant: ReplayPlant) -> None:
    add_again(plant, "metadata", lambda row: row["offset"] == 17)
    delta(plant, "metadata").delete("offset = 18")
    assert found(plant) == [
        "cdr/0: record at offset 17 is in the archive 2 times",
        "cdr/0: offsets 10 to 19: archive holds 9 records, the ledger says 10; missing: 18",
    ]


def test_what_both_tables_lack_is_told_apart_by_the_identifiers(plant: ReplayPlant) -> None:
    delta(plant, "metadata").delete("offset = 7")
    delta(plant, "quarantine").delete("offset = 5")
    assert found(plant) == [
        "cdr/0: offsets 0 to 9: archive holds 10 records, the ledger says 11; missing: 7",
        "cdr/0: offsets 0 to 9: quarantine holds 0 records, the ledger says 1; missing: 5",
    ]


def test_what_cannot_be_told_is_said_to_be_so(plant: ReplayPlant) -> None:
    """Of an envelope the last element leaves no hole; and its identifiers are gone, too."""
    for table in ("metadata", "identifiers"):
        delta(plant, table).delete("offset = 26 AND index = 2")
    assert found(plant)[0] == (
        "cdr/0: offsets 20 to 29: archive holds 10 records, the ledger says 11; which cannot be told from the tables"
    )


def test_a_month_that_is_lost_is_told_from_one_that_was_forgotten(plant: ReplayPlant) -> None:
    runtime = plant.runtime()
    month = plant.table("identifiers")[0]["month"]
    handle = runtime.warehouse.window["identifiers"]
    gone = [RemoveAction(f.path, True, 0, f.size, dict(f.partition)) for f in files_of(handle)]
    handle.commit([], {}, {}, remove=gone)
    lines = found(plant)
    assert lines[0].startswith("cdr/0: offsets 0 to 9: identifiers holds 0 rows, the ledger says 11")
    assert lines[-1] == (
        f"cdr/0: month {month}: the window holds no identifiers, and no certificate says that it was forgotten"
    )
    plant.ahead = timedelta(days=500)
    sweep(maintenance_context(plant.runtime(), forced=True), runtime.settings.retention)
    assert found(plant) == []


def test_an_erasure_is_no_loss_but_hides_none_either(plant: ReplayPlant) -> None:
    from lethe.schemas.subjects.addresses import Subject

    assert (
        erase(maintenance_context(plant.runtime()), (Subject("msisdn", "923001234567"),)).total("identifiers")
        == 1
    )
    assert found(plant) == []
    delta(plant, "identifiers").delete("offset = 12")
    assert found(plant) == [
        "cdr/0: offsets 0 to 9: identifiers holds 10 rows, the ledger says 11; none for: 3",
        "cdr/0: offsets 10 to 19: identifiers holds 9 rows, the ledger says 10; none for: 12",
    ]


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> ReplayPlant:
    """The same, its envelopes rejected."""
    plant = ReplayPlant(tmp_path_factory.mktemp("flat"))
    plant.declare(FLAT)
    plant.take_in(SOURCE, plant.records(SOURCE, [("", message(n)) for n in range(40)]), 10)
    plant.declare(GOOD)
    return plant


def test_a_replay_that_was_interrupted_is_said_to_be_so(flat: ReplayPlant, tmp_path: Path) -> None:
    plant = flat.copy(tmp_path)
    killed_at("replay.committed.identifiers", plant)
    assert found(plant) == [], "what was committed ahead does not count"
    killed_at("replay.committed.metadata", plant)
    wait = "in the archive as well (`lethe quarantine replay` finishes a replay that was interrupted)"
    assert found(plant) == [
        f"cdr/0: offsets 0 to 9: quarantine holds 2 records, the ledger says 1; {wait}: 6",
        f"cdr/0: offsets 20 to 29: quarantine holds 2 records, the ledger says 1; {wait}: 26",
    ]
    plant.replay()
    assert found(plant) == []


def test_a_transfer_that_is_missing_or_there_twice_is_named(flat: ReplayPlant, tmp_path: Path) -> None:
    plant = flat.copy(tmp_path / "twice")
    plant.replay()
    (first, _) = sorted(plant.moved(), key=lambda row: row["first_offset"])
    assert (first["records"], first["split"], first["rejected"], first["identifiers"]) == (2, 3, -1, 3)
    other = plant.copy(tmp_path / "missing")
    add_again(plant, "ledger", lambda row: row["split"] == 3)
    assert found(plant) == [
        f"cdr/0: the replay of offsets {n} to {n} (version {first['version']}) is accounted for twice"
        for n in (6, 26)
    ]
    delta(other, "ledger").delete("split = 3 AND first_offset = 6")
    assert found(other) == [
        "cdr/0: offsets 0 to 9: archive holds 11 records, the ledger says 8; which cannot be told from the tables",
        "cdr/0: offsets 0 to 9: quarantine holds 1 records, the ledger says 2; which cannot be told from the tables",
        "cdr/0: offsets 0 to 9: identifiers holds 11 rows, the ledger says 8; which cannot be told from the tables",
    ]


def test_rows_lost_after_a_replay_are_named(flat: ReplayPlant, tmp_path: Path) -> None:
    plant = flat.copy(tmp_path)
    plant.replay()
    delta(plant, "metadata").delete("offset = 26 AND index = 1")
    assert found(plant) == [
        "cdr/0: offsets 20 to 29: archive holds 10 records, the ledger says 11; missing: 26/1"
    ]
