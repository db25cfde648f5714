"""What was replayed is like everything else: proven, found, restricted, held, erased. And the command that does it."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audits import audit_entries
from replay_plant import DEMANDING, GOOD, HER, SOURCE, ReplayPlant, killed_at, report, values

from lethe.integrity.evidence.verify_evidence import verify
from lethe.integrity.log.store import REPLAYS
from lethe.integrity.verify.findings import Kind
from lethe.operations.proof.publisher import publication_of
from lethe.operations.proof.signer import load_signer
from lethe.operations.retention.sweep import maintenance_context
from lethe.schemas.arrow import file_schema
from lethe.schemas.position import Position
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.delta.files import parquet_bytes, write_files
from lethe.tiers.delta.rewrite import delete_removed, files_of, replace
from lethe.tiers.evidence.log_state import log_states
from lethe.tiers.evidence.log_store import LogStore
from lethe.tiers.evidence.proof import evidence_of
from lethe.tiers.holds.holds import Holds
from lethe.tiers.holds.scope import Scope
from lethe.tiers.ledger.reconcile import check
from lethe.tiers.rights.erasure import erase

LETHE = str(Path(sys.executable).with_name("lethe"))
PERSON = (Subject("msisdn", HER),)
HERS = Position("cdr", 0, 0)


@pytest.fixture(scope="module")
def rejected(tmp_path_factory: pytest.TempPathFactory) -> ReplayPlant:
    """A record of hers that was rejected, among others."""
    plant = ReplayPlant(tmp_path_factory.mktemp("rejected"))
    plant.declare(DEMANDING)
    hers = json.dumps(report(1, undeclared="kept only in quarantine")).encode()
    plant.take_in(SOURCE, plant.records(SOURCE, [("good", hers), *values(40)]), 30)
    plant.declare(GOOD)
    return plant


@pytest.fixture
def plant(rejected: ReplayPlant, tmp_path: Path) -> ReplayPlant:
    return rejected.copy(tmp_path)


def lethe(plant: ReplayPlant, *arguments: str, status: int = 0, **more: str) -> tuple[Any, str]:
    env = {n: v for n, v in os.environ.items() if not n.startswith("LETHE_")}
    env |= {"LETHE_ROOT": str(plant.directory / "warehouse"), "LETHE_KEYS_DIR": str(plant.directory / "keys"),
            "LETHE_FORMATS_DIR": str(plant.directory / "formats"), "LETHE_BOOTSTRAP": "127.0.0.1:1",
            "LETHE_SOURCES": '{"cdr": "acme/sms"}', **more}  # fmt: skip
    done = subprocess.run(
        [LETHE, "--json", *arguments],
        env=env,
        cwd=plant.directory,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == status, (arguments, done.stdout[-800:], done.stderr[-800:])
    return json.loads(done.stdout) if done.stdout else None, done.stderr


def test_the_command_says_what_it_did_and_the_others_agree(plant: ReplayPlant) -> None:
    would, _ = lethe(plant, "quarantine", "replay", "--dry-run")
    assert would["dry_run"] is True
    assert would["landed"] > 0
    assert would["stayed"] == sum(would["stayed_by_reason"].values()) == would["tried"] - would["left"]
    look = ("lookup", HER, "--case", "C-1", "--purpose", "test")
    assert str(HERS) not in {found["record"] for found in lethe(plant, *look)[0]}
    done, _ = lethe(plant, "quarantine", "replay")
    assert done == {**would, "dry_run": False}
    assert str(HERS) in {found["record"] for found in lethe(plant, *look)[0]}
    assert lethe(plant, "ledger", "--check")[0] == {"ok": True, "findings": []}
    assert lethe(plant, "verify")[0]["ok"] is True
    (summed,) = lethe(plant, "ledger")[0]
    assert summed["rejected"] == done["stayed"] + done["unreadable"]
    assert summed["last_offset"] == len(plant.produced) - 1
    assert all(count > 0 for count in summed["rejected_by_reason"].values() if count)
    assert sum(summed["rejected_by_reason"].values()) == summed["rejected"]
    again, _ = lethe(plant, "quarantine", "replay")
    assert (again["landed"], again["left"]) == (0, 0)
    audit = audit_entries(plant.directory / "keys")
    replays = [entry for entry in audit if entry["action"].startswith("quarantine.replay")]
    assert [entry["action"] for entry in replays] == ["quarantine.replay", "quarantine.replay.done"] * 2
    assert replays[1]["count"] == done["landed"]
    assert HER not in json.dumps(replays)


def test_the_doctor_warns_of_a_replay_that_was_interrupted(plant: ReplayPlant) -> None:
    def found() -> tuple[str, str]:
        checked, _ = lethe(plant, "doctor", status=1)  # there is no broker
        (check,) = [one for one in checked if one["what"] == "replay"]
        return check["state"], check["advice"]

    assert found() == ("ok", "")
    killed_at("replay.committed.metadata", plant)
    state, advice = found()
    assert state == "warning"
    assert "`lethe quarantine replay` finishes it" in advice
    plant.replay()
    assert found() == ("ok", "")


def test_a_replay_that_cannot_be_done_says_so_in_one_line(plant: ReplayPlant) -> None:
    (plant.directory / "keys").rename(plant.directory / "away")
    _, said = lethe(plant, "quarantine", "replay", status=1)
    assert len(said.strip().splitlines()) == 1
    assert "is missing, but the warehouse has keys: mount or restore it" in json.loads(said)["error"]
    assert not (plant.directory / "keys").exists(), "nor are others made"
    lethe(plant, "quarantine", "replay", "--what", status=2)


def test_there_is_evidence_of_a_replayed_record(plant: ReplayPlant) -> None:
    plant.replay()
    signer = load_signer(plant.directory / "keys")
    assert signer is not None
    runtime = plant.runtime()
    found = evidence_of(runtime.warehouse, runtime.ring, signer.history, HERS, plant.now())
    assert found.has_original
    proven = verify(found.file, [str(key) for key in signer.history.sets[-1].keys])
    assert proven.record == str(HERS)
    original = json.loads(base64.b64decode(json.loads(found.file)["original"]["bytes"]))
    assert original["undeclared"] == "kept only in quarantine", "in original: the very bytes that came"
    # One that was never replayed is proven by the log of its topic-partition, as before.
    scoped = [
        row for row in plant.table("metadata") if row["integrity_hash"] is not None and row["offset"] > 0
    ]
    logs = set()
    for row in scoped:
        at = Position(row["stream"], row["partition"], row["offset"], row["index"])
        file = json.loads(evidence_of(runtime.warehouse, runtime.ring, signer.history, at, plant.now()).file)
        logs.add(file["checkpoint"].split("\n")[0])
    assert logs == {"lethe/cdr/0", "lethe/=replays/0"}


def tampered(plant: ReplayPlant, change: Callable[[pa.Table, int], pa.Table]) -> None:
    """Change the archive row of her record in its file, as whoever has the disk can."""
    for file in files_of(plant.runtime().warehouse.metadata):
        path = plant.directory / "warehouse" / "metadata" / file.path
        rows = pq.read_table(io.BytesIO(path.read_bytes())).cast(file_schema("metadata"))
        at = [n for n, offset in enumerate(rows.column("offset").to_pylist()) if offset == HERS.offset]
        if at:
            path.write_bytes(parquet_bytes("metadata", change(rows, at[0]).cast(file_schema("metadata"))))
            return
    raise AssertionError("her record is not in the archive")


def altered(rows: pa.Table, at: int) -> pa.Table:
    status = [
        "UNDELIVERABLE" if n == at else v for n, v in enumerate(rows.column("status_group").to_pylist())
    ]
    return rows.set_column(
        rows.column_names.index("status_group"), "status_group", pa.array(status, pa.string())
    )


def unhashed(rows: pa.Table, at: int) -> pa.Table:
    hashes = [None if n == at else v for n, v in enumerate(rows.column("integrity_hash").to_pylist())]
    return rows.set_column(
        rows.column_names.index("integrity_hash"), "integrity_hash", pa.array(hashes, pa.binary(32))
    )


def removed(rows: pa.Table, at: int) -> pa.Table:
    return pa.concat_tables([rows.slice(0, at), rows.slice(at + 1)])


def doubled(rows: pa.Table, at: int) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(at, 1)])


@pytest.mark.parametrize(
    ("change", "kind"),
    [(altered, Kind.ALTERED), (unhashed, Kind.ALTERED), (removed, Kind.MISSING), (doubled, Kind.DUPLICATED)],
)
def test_a_replayed_row_that_is_not_as_it_landed_is_found(
    plant: ReplayPlant, change: Callable[[pa.Table, int], pa.Table], kind: Kind
) -> None:
    plant.replay()
    assert plant.verify() == []
    tampered(plant, change)
    assert {(f.kind, f.where) for f in plant.verify()} == {(kind, str(HERS))}


def test_a_log_of_replays_that_is_gone_or_altered_is_found(plant: ReplayPlant) -> None:
    plant.replay()
    folder = plant.directory / "warehouse" / "_log" / REPLAYS[0] / "0"
    leaf = next((folder / "leaves").iterdir())
    kept = leaf.read_bytes()
    leaf.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert Kind.NOT_PROVEN in {f.kind for f in plant.verify()}
    leaf.write_bytes(kept)
    assert plant.verify() == []
    (folder / "checkpoint").rename(folder / "away")
    found = {f.kind for f in plant.verify()}
    assert {Kind.NOT_PROVEN, Kind.ADDED} <= found
    (folder / "away").rename(folder / "checkpoint")
    assert plant.verify() == []


def test_a_replay_whose_log_was_not_published_is_published_by_the_next_start(plant: ReplayPlant) -> None:
    plant.replay()
    folder = plant.directory / "warehouse" / "_log" / REPLAYS[0]
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    runtime = plant.runtime()
    signer = load_signer(plant.directory / "keys")
    assert signer is not None
    states = {s.name: s.behind for s in log_states(runtime.warehouse, signer.history, plant.now(), None)}
    assert states == {"=replays/0": True, "cdr/0": False}
    assert plant.verify() != []
    assert not publication_of(plant.runtime()).run().failures
    states = {s.name: s.behind for s in log_states(runtime.warehouse, signer.history, plant.now(), None)}
    assert states == {"=replays/0": False, "cdr/0": False}
    assert plant.verify() == []
    assert publication_of(plant.runtime()).sign_again() == 2
    assert LogStore.of(runtime.objects, *REPLAYS).get("checkpoint") is not None


def test_a_replay_whose_rows_were_compacted_before_its_log_was_published(plant: ReplayPlant) -> None:
    """The rows lie among all others then: those that no log has are the ones."""
    killed_at("log.begin", plant)
    runtime = plant.runtime()
    table, objects = runtime.warehouse.metadata, runtime.objects
    old = files_of(table)
    rows = table.stored.to_pyarrow_dataset().to_table()
    replace(table, old, write_files(objects, "metadata", rows, "compacted", 0), 0, "compact")
    delete_removed(objects, table)
    assert {f.kind for f in plant.verify()} >= {Kind.ADDED}
    assert not publication_of(plant.runtime()).run().failures
    assert plant.verify() == []


def test_a_restricted_person_stays_restricted(plant: ReplayPlant) -> None:
    lethe(plant, "restrict", HER)
    plant.replay()
    assert lethe(plant, "lookup", HER, "--case", "C", "--purpose", "p")[0] == [{"restricted": True}]


def test_a_replayed_record_can_be_erased(plant: ReplayPlant) -> None:
    plant.replay()
    erased = erase(maintenance_context(plant.runtime()), PERSON)
    assert erased.total("identifiers") >= 1
    assert erased.total("quarantine") == 0
    assert lethe(plant, "lookup", HER, "--case", "C", "--purpose", "p")[0] == []
    assert check(plant.runtime().warehouse) == []
    assert plant.verify() == []
    assert plant.replay().records == 0


def test_what_a_hold_covers_is_set_aside_as_it_came(plant: ReplayPlant) -> None:
    """The declaration keeps less of a record than the quarantine does; the hold is owed all of it."""
    runtime = plant.runtime()
    scope = Scope(messages=("kept only in quarantine",))
    Holds(runtime.objects, runtime.ring).place(
        "Court", "C-1", datetime.now(UTC) + timedelta(days=900), scope, datetime.now(UTC)
    )
    plant.replay()
    holds = Holds(plant.runtime().objects, plant.runtime().ring)
    (kept,) = holds.records(holds.find("C-1"))
    assert kept["record"] == str(HERS)
    assert b"kept only in quarantine" in base64.b64decode(kept["quarantine"]["value"])
    assert kept["metadata"]["stream"] == "cdr"


def test_a_hold_that_does_not_open_keeps_everything_in_the_quarantine(plant: ReplayPlant) -> None:
    runtime = plant.runtime()
    hold = Holds(runtime.objects, runtime.ring).place(
        "Court", "C-1", datetime.now(UTC) + timedelta(days=900), Scope(subjects=PERSON), datetime.now(UTC)
    )
    key = next(p for p in (plant.directory / "keys").rglob("*") if hold.id in p.name)
    key.rename(plant.directory / "away")
    before = {table: plant.table(table) for table in ("metadata", "quarantine")}
    _, said = lethe(plant, "quarantine", "replay", status=1)
    assert len(said.strip().splitlines()) == 1
    assert {table: plant.table(table) for table in ("metadata", "quarantine")} == before
    (plant.directory / "away").rename(key)
    plant.replay()
    plant.judge()
