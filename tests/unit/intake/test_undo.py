"""A file that was taken in wrong is taken out of every table again, whatever happens on the way, and taken in right."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lethe.console.cli.main import app
from lethe.operations.asker import Asker
from lethe.operations.compact import compact_for
from lethe.operations.health import ledger
from lethe.operations.intake.ingest import ingest
from lethe.operations.intake.undo import before_undo, undo
from lethe.operations.proof.verify import Wanted, verify
from lethe.operations.retention import hold
from lethe.operations.runtime import Runtime
from lethe.operations.settings import Flush, Settings
from lethe.schemas.errors import FencedError, LetheError
from lethe.testing.traffic import generate
from lethe.tiers.certificates import certificates
from lethe.tiers.holds.holds import Holds

NOW = datetime(2026, 1, 15, tzinfo=UTC)
EVE = Asker.of("eve", "F-1", "mend")
VOICE, SMS = "infobip/voice-report", "infobip/sms-report"
TABLES = ("metadata", "identifiers", "originals", "quarantine")
POINTS = (
    "undo.noted", "undo.kept", "undo.written.metadata", "undo.taken.metadata", "undo.written.identifiers",
    "undo.taken.identifiers", "undo.taken.originals", "undo.taken.quarantine", "undo.adjusted", "undo.deleted",
    "undo.certified",
)  # fmt: skip


class World:
    """One installation, with a file taken in wrong and another one that is right."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.wrong = folder / "calls.ndjson"
        self.wrong.write_bytes(
            b"\n".join([*generate(VOICE, 60, 1, until=NOW, months=1, pakistan=0.5), b"{broken"]) + b"\n"
        )
        self.right = folder / "messages.ndjson"
        self.right.write_bytes(b"\n".join(generate(SMS, 60, 2, until=NOW, months=1, pakistan=0.5)) + b"\n")

    @property
    def runtime(self) -> Runtime:
        settings = Settings(
            root=str(self.folder / "w"),
            keys_dir=self.folder / "keys",
            flush=Flush(records=20, batch=10),
            threads=1,
        )
        return Runtime(settings, lambda: self.now)

    def fill(self) -> str:
        ingest(self.runtime, str(self.right), SMS)
        return ingest(self.runtime, str(self.wrong), SMS, as_declared=True).stream

    def streams(self, table: str) -> set[str]:
        handle = self.runtime.warehouse.table(table)
        return set(
            handle.delta.to_pyarrow_dataset().to_table(columns=["stream"]).column("stream").to_pylist()
        )

    def files(self, table: str) -> int:
        return len(list((self.folder / "w" / table).rglob("*.parquet")))

    def wrongs(self) -> list[str]:
        found = verify(self.runtime, Wanted(), lambda _done, _all: None).findings
        return [*ledger.check(self.runtime), *map(str, found)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_file_is_taken_out_of_every_table_and_in_again_as_what_it_is(world: World) -> None:
    stream = world.fill()
    assert world.wrongs() == []
    before = before_undo(world.runtime, str(world.wrong))
    assert (before.stream, before.records) == (stream, 61)
    done = undo(world.runtime, EVE, str(world.wrong))
    assert (done.stream, done.records, done.certificate) == (stream, 61, 0)
    for table in TABLES:
        assert stream not in world.streams(table), table
        handle = world.runtime.warehouse.table(table)
        assert world.files(table) == len(handle.delta.file_uris()), "no file that held the rows is left"
    assert len(world.streams("metadata")) == 1
    assert world.wrongs() == []
    document = certificates.read(world.runtime.objects, 0)
    assert document["certificate"]["kind"] == "undo"
    actions = [e["action"] for e in world.runtime.audit.entries() if str(e["action"]).startswith("ingest")]
    assert actions == ["ingest.undo", "ingest.undo.done"]
    with pytest.raises(LetheError, match="nothing of this file"):
        undo(world.runtime, EVE, str(world.wrong))
    again = ingest(world.runtime, str(world.wrong), VOICE)
    assert again.stream == f"{stream}~2"
    assert (again.already, again.counts.records) == (0, 61)
    assert ingest(world.runtime, str(world.wrong), VOICE).already == 61
    assert world.wrongs() == []
    assert undo(world.runtime, EVE, again.stream).stream == again.stream
    assert ingest(world.runtime, str(world.wrong), VOICE).stream == f"{stream}~3"
    assert world.wrongs() == []


def test_rows_that_were_merged_with_others_are_taken_out_too(world: World) -> None:
    stream = world.fill()
    world.now += timedelta(days=40)
    compact_for(world.runtime, 60.0)
    undo(world.runtime, EVE, stream)
    assert all(stream not in world.streams(table) for table in TABLES)
    assert world.wrongs() == []


def test_rows_that_go_without_a_certificate_are_missed(world: World) -> None:
    """What is said to be undone must be signed: an unkeyed note of the warehouse is not enough."""
    stream = world.fill()
    undo(world.runtime, EVE, stream)
    path = world.folder / "w" / "_certificates" / "00000000.json"
    document = json.loads(path.read_bytes())
    document["certificate"]["what"]["stream"] = next(iter(world.streams("metadata")))
    path.write_bytes(json.dumps(document).encode())
    assert any(stream in line for line in world.wrongs())


def test_what_a_hold_covers_is_preserved_first(world: World) -> None:
    stream = world.fill()
    rows = world.runtime.warehouse.metadata.delta.to_pyarrow_dataset().to_table().to_pylist()
    account = next(r["account"] for r in rows if r["stream"] == stream and r["account"])
    order = hold.Order("Court", "HC-7", world.now + timedelta(days=9), accounts=(account,))
    hold.place(world.runtime, EVE, order)
    done = undo(world.runtime, EVE, stream)
    assert done.held > 0
    holds = Holds(world.runtime.objects, world.runtime.ring)
    kept = {r["record"] for r in holds.records(holds.find("HC-7"))}
    assert len({r for r in kept if r.startswith(stream)}) == done.held


def test_an_ingest_at_work_commits_nothing_to_what_was_taken_out(world: World) -> None:
    half = world.folder / "half.ndjson"
    half.write_bytes(world.wrong.read_bytes())
    runtime = world.runtime
    commits = 0

    def taken_out(_read: int) -> None:
        nonlocal commits
        commits += 1
        if commits == 5:
            undo(world.runtime, EVE, str(world.wrong))

    with pytest.raises(FencedError):
        ingest(runtime, str(half), SMS, taken_out, as_declared=True)
    assert all(not world.streams(table) for table in TABLES)
    assert world.wrongs() == []
    assert ingest(world.runtime, str(half), VOICE).counts.records == 61


def _undo_killed(folder: str, point: str) -> None:
    os.environ["LETHE_FAIL_POINT"] = point
    world = object.__new__(World)
    world.folder, world.now = Path(folder), NOW
    undo(world.runtime, EVE, str(world.folder / "calls.ndjson"))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_step_it_goes_on_when_asked_again(world: World, point: str) -> None:
    stream = world.fill()
    process = multiprocessing.get_context("spawn").Process(
        target=_undo_killed, args=(str(world.folder), point)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, f"{point} was not reached"
    assert ledger.check(world.runtime) == []
    with pytest.raises(LetheError, match="begun and not finished"):
        ingest(world.runtime, str(world.wrong), VOICE)
    assert undo(world.runtime, EVE, str(world.wrong)).certificate == 0
    assert certificates.numbers(world.runtime.objects) == [0]
    assert all(stream not in world.streams(table) for table in TABLES)
    assert world.wrongs() == []
    assert ingest(world.runtime, str(world.wrong), VOICE).counts.records == 61
    assert world.wrongs() == []


def test_the_command_asks_and_says_what_it_did(world: World) -> None:
    stream = world.fill()
    config = world.folder / "lethe.toml"
    config.write_text(f'root = "{world.folder / "w"}"\nkeys_dir = "{world.folder / "keys"}"\n')

    def lethe(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["--config", str(config), "--json", "ingest", *arguments])

    refused = lethe("undo", str(world.wrong))
    assert refused.exit_code == 2
    assert "61 records" in refused.output
    assert lethe("undo").exit_code == 2
    assert lethe(str(world.wrong)).exit_code == 2
    done = lethe("undo", str(world.wrong), "--yes")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["stream"] == stream
    listed = CliRunner().invoke(app, ["--config", str(config), "--json", "certificates", "list"])
    assert json.loads(listed.stdout)[0]["what"] == stream
