"""Others maintain the tables with the Delta library while Lethe appends: no commit lands where no reader looks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "retention"))

from retention_world import World, report

from lethe.operations.proof.verify import Wanted, verify
from lethe.schemas.arrow import TABLES
from lethe.schemas.errors import FencedError, UnknownOutcomeError
from lethe.tiers.delta.files import write_files
from lethe.tiers.delta.log import DataFile, log_path
from lethe.tiers.delta.table import Table
from lethe.tiers.ledger import reconcile
from lethe.tiers.store.objects import LocalObjects, Objects, open_objects

MARCH = datetime(2025, 3, 10, 12, tzinfo=UTC)
AT_ONCE = {"delta.logRetentionDuration": "interval 0 seconds", "delta.enableExpiredLogCleanup": "true"}
ROW = {"stream": "cdr", "partition": 0, "first_offset": 0, "last_offset": 9, "records": 10, "page": b"\x00"}


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(str(tmp_path / "warehouse"), {})


def files(objects: Objects, number: int) -> list[DataFile]:
    row = {**ROW, "first_offset": number, "month": "2026-11", "window_months": 12}
    rows = pa.Table.from_pylist([row], schema=TABLES["originals"])
    return write_files(objects, "originals", rows, f"n{number}", number)


def append(objects: Objects, table: Table, number: int, source: str) -> int:
    return table.commit(files(objects, number), {source: number}, {"lethe.test": json.dumps(number)})


def numbers(objects: Objects) -> list[int]:
    read = DeltaTable(objects.url("originals")).to_pyarrow_table(columns=["first_offset"])
    return sorted(read["first_offset"].to_pylist())


def others_move_on(objects: Objects, versions: int, first: int = 1_000) -> None:
    """Commit as another worker does, then write a checkpoint and remove every older commit from the log."""
    theirs = Table(objects, "originals", {})
    for number in range(first, first + versions):
        append(objects, theirs, number, "other")
    maintained = DeltaTable(objects.url("originals"))
    maintained.create_checkpoint()
    log = Path(objects.url("originals")) / "_delta_log"
    for commit in log.glob("*.json"):  # what `cleanup_metadata` does, whatever the times of the files
        if int(commit.stem) < maintained.version():
            commit.unlink()


class Paused:
    """Objects whose owner is paused between its look at the log and the creation of its commit."""

    def __init__(self, objects: Objects, meanwhile: int) -> None:
        self._objects, self._left = objects, meanwhile
        self.root = objects.root

    def create(self, path: str, data: bytes) -> bool:
        if "_delta_log" in path and self._left:
            versions, self._left = self._left, 0
            others_move_on(self._objects, versions)
        return self._objects.create(path, data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)


@pytest.mark.parametrize("versions", [1, 3, 19, 25])
def test_a_commit_that_lands_behind_a_checkpoint_is_not_taken_for_one(
    objects: Objects, versions: int
) -> None:
    """Lost rows are found out at once, the writer looks again, and its next try counts."""
    Table(objects, "originals", {})
    paused = Table(Paused(objects, versions), "originals", {})  # type: ignore[arg-type]
    follower = Table(objects, "originals", {})  # stands where the paused one stood
    expected = [7, *range(1_000, 1_000 + versions)]
    try:
        append(objects, paused, 7, "mine")
    except FencedError:
        paused.reload()
        assert paused.transaction("mine") is None
        append(objects, paused, 7, "mine")
    assert numbers(objects) == expected
    follower.reload()
    assert (follower.transaction("mine"), follower.transaction("other")) == (7, 999 + versions)
    assert Table(objects, "originals", {}).transaction("mine") == 7


class CleanedBeforeSync:
    """Objects whose log others clean just before a commit that was seen in it is made durable."""

    def __init__(self, objects: Objects) -> None:
        self._objects, self._left = objects, True
        self.root = objects.root
        self.synced: list[str] = []

    def sync(self, path: str) -> bool:
        if self._left:
            self._left = False
            others_move_on(self._objects, 3)
        there = self._objects.sync(path)
        if there:
            self.synced.append(path)
        return there

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)


def test_a_commit_of_others_that_is_cleaned_away_before_its_sync_stops_nobody(objects: Objects) -> None:
    """They were first with the version that this writer was to create, and it has been read."""
    Table(objects, "originals", {})
    cleaned = CleanedBeforeSync(objects)
    mine = Table(cleaned, "originals", {})  # type: ignore[arg-type]
    append(objects, Table(objects, "originals", {}), 1, "first")
    try:
        append(objects, mine, 7, "mine")
    except FencedError:  # its own landed behind the checkpoint
        mine.reload()
        assert mine.transaction("mine") is None
        append(objects, mine, 7, "mine")
    assert numbers(objects) == [1, 7, 1_000, 1_001, 1_002]
    assert "originals/_delta_log/_last_checkpoint" in cleaned.synced


def test_a_replacement_that_is_cleaned_away_before_its_sync_counts(objects: Objects) -> None:
    """The checkpoint that stands in its place holds it, and is made durable."""
    from lethe.tiers.delta.rewrite import files_of, replace

    append(objects, Table(objects, "originals", {}), 1, "mine")
    cleaned = CleanedBeforeSync(objects)
    table = Table(cleaned, "originals", {})  # type: ignore[arg-type]
    replace(table, files_of(table), files(objects, 2), 1, "merged")
    assert numbers(objects) == [2, 1_000, 1_001, 1_002]
    assert "originals/_delta_log/_last_checkpoint" in cleaned.synced


def test_a_commit_that_is_gone_without_a_checkpoint_is_told(objects: Objects) -> None:
    table = Table(objects, "originals", {})
    append(objects, table, 1, "mine")
    objects.delete(log_path("originals", 1))
    with pytest.raises(UnknownOutcomeError, match="was there and is gone"):
        table.sync(0)


def test_a_follower_does_not_believe_a_commit_in_the_past(objects: Objects) -> None:
    """A writer died after such a creation: what it left behind is no commit for anybody."""
    Table(objects, "originals", {})
    follower = Table(objects, "originals", {})
    appended = Table(objects, "originals", {})
    append(objects, appended, 7, "mine")
    stray = objects.get(log_path("originals", 1))
    assert stray is not None
    objects.delete(log_path("originals", 1))
    others_move_on(objects, 3)
    assert objects.create(log_path("originals", 1), stray)
    follower.reload()
    assert follower.transaction("mine") is None
    assert follower.transaction("other") == 1_002
    append(objects, follower, 7, "mine")
    assert numbers(objects) == [7, 1_000, 1_001, 1_002]


def test_a_writer_killed_between_look_and_creation_leaves_nothing(objects: Objects, tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_cleaned_logs import *\n"
        "objects = open_objects(sys.argv[1], {})\n"
        "append(objects, Table(objects, 'originals', {}), 7, 'mine')\n"
    )
    environment = {**os.environ, "LETHE_FAIL_POINT": "originals.looked"}
    root, here = str(tmp_path / "warehouse"), str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", script, root, here], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert numbers(objects) == []
    append(objects, Table(objects, "originals", {}), 7, "mine")
    assert numbers(objects) == [7]


def test_the_library_maintains_while_two_append(objects: Objects) -> None:
    """OPTIMIZE, VACUUM, checkpoint and log clean-up at their most eager; every row is there in the end, once."""
    Table(objects, "originals", {})
    DeltaTable(objects.url("originals")).alter.set_table_properties(dict(AT_ONCE))
    over = threading.Event()
    failed: list[BaseException] = []
    maintained: set[str] = set()

    def maintains() -> None:
        while not over.is_set() or len(maintained) < 4:  # what lost its races so far has its turn at the end
            for name, work in (
                ("optimize", lambda t: t.optimize.compact()),
                # In its time: files of commits under way must not go.
                (
                    "vacuum",
                    lambda t: t.vacuum(retention_hours=1, enforce_retention_duration=False, dry_run=False),
                ),
                ("checkpoint", lambda t: t.create_checkpoint()),
                ("cleanup", lambda t: t.cleanup_metadata()),
            ):
                with suppress(DeltaError, OSError):  # it lost a race: that is the library's affair
                    work(DeltaTable(objects.url("originals")))
                    maintained.add(name)

    def appends(source: int) -> None:
        try:
            table = Table(objects, "originals", {})
            for number in range(source * 1_000, source * 1_000 + 40):
                for _ in range(50):
                    try:
                        append(objects, table, number, f"s{source}")
                        break
                    except FencedError:
                        table.reload()
                        if table.transaction(f"s{source}") == number:
                            break
        except BaseException as error:  # noqa: BLE001  (told to the test)
            failed.append(error)

    writers = [threading.Thread(target=appends, args=(source,)) for source in range(2)]
    maintainer = threading.Thread(target=maintains)
    for thread in (maintainer, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    maintainer.join()
    assert failed == []
    assert maintained == {"optimize", "vacuum", "checkpoint", "cleanup"}
    assert numbers(objects) == [source * 1_000 + n for source in range(2) for n in range(40)]
    fresh = Table(objects, "originals", {})
    assert [fresh.transaction(f"s{source}") for source in range(2)] == [39, 1_039]


def test_what_takes_files_out_is_looked_at_again_too(
    objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit through the library can land in the past as well."""
    from lethe.tiers.delta.rewrite import files_of, replace

    table = Table(objects, "originals", {})
    append(objects, table, 1, "mine")
    (old,) = files_of(table)
    real = DeltaTable.create_write_transaction
    paused = [True]

    def write(self: DeltaTable, *given: object, **named: object) -> None:
        stale = (Path(objects.url("originals")) / "_delta_log") / f"{table.version + 1:020d}.json"
        if paused.pop() if paused else False:
            real(self, *given, **named)  # type: ignore[arg-type]
            mine = stale.read_bytes()  # as if it had been created only after the others had moved on
            stale.unlink()
            others_move_on(objects, 3)
            stale.write_bytes(mine)
            return
        real(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(DeltaTable, "create_write_transaction", write)
    with pytest.raises(FencedError):
        replace(table, [old], files(objects, 2), 1, "test")
    table.reload()
    replace(table, [old], files(objects, 2), 1, "test")
    assert numbers(objects) == [2, 1_000, 1_001, 1_002]
    assert isinstance(objects, LocalObjects)


def test_a_file_that_was_taken_out_before_a_checkpoint_is_not_taken_out_again(objects: Objects) -> None:
    """Its rows would be there twice: in what replaced it there, and in what replaces it here."""
    from lethe.tiers.delta.rewrite import files_of, replace

    table, other = Table(objects, "originals", {}), Table(objects, "originals", {})
    append(objects, other, 1, "mine")
    table.reload()
    (old,) = files_of(table)
    other.reload()
    replace(other, [old], files(objects, 2), 1, "merged")
    others_move_on(objects, 25)
    with pytest.raises(FencedError):
        replace(table, [old], files(objects, 3), 1, "erased")
    assert numbers(objects) == [2, *range(1_000, 1_025)]


def maintained_and_cleaned(root: Path, commits: int = 3) -> None:
    """Others make commits of their own in the archive, a checkpoint, and remove every older commit from the log."""
    log = root / "metadata" / "_delta_log"
    version = DeltaTable(root / "metadata").version()
    for at in range(version + 1, version + 1 + commits):
        said = {"commitInfo": {"timestamp": 1, "operation": "VACUUM START", "engineInfo": "Apache-Spark/4.1"}}
        (log / f"{at:020d}.json").write_text(json.dumps(said) + "\n")
    DeltaTable(root / "metadata").create_checkpoint()
    for commit in log.glob("*.json"):
        if int(commit.stem) < version + commits:
            commit.unlink()


def ingested(world: World, number: int) -> None:
    world.ingest([report(number * 10 + n, f"+92300{2_000_000 + n}", MARCH) for n in range(5)])


def test_commits_of_others_that_are_cleaned_away_stop_nobody(tmp_path: Path) -> None:
    """The sources were quiet, Spark went on: what it did is gone from the log, and nothing of ours was in it."""
    world = World(tmp_path / "world")
    ingested(world, 1)
    writer = world.runtime
    maintained_and_cleaned(world.root)
    assert reconcile.check(world.runtime.warehouse) == []
    world.runtime.warehouse.publish()
    ingested(world, 2)
    maintained_and_cleaned(world.root)
    ingested(world, 3)
    assert reconcile.check(world.runtime.warehouse) == []
    writer.warehouse.publish()
    maintained_and_cleaned(world.root)
    lines = [report(40 + n, f"+92300{2_000_000 + n}", MARCH) for n in range(5)]
    writer.warehouse.commit(
        [world.prepare(writer, lines)], writer.ring
    )  # of a source that the ledger has not met
    assert len(world.rows("ledger")) == 4
    assert verify(world.runtime, Wanted(), lambda _done, _of: None).findings == []


def test_a_commit_of_ours_that_is_cleaned_away_unaccounted_is_told(tmp_path: Path) -> None:
    """A worker died before the ledger had its commit: nobody may go on as if it had never been."""
    world = World(tmp_path / "world")
    ingested(world, 1)
    before = (world.root / "ledger" / "_delta_log").glob("*.json")
    newest = max(before)
    ingested(world, 2)
    ours = max((world.root / "ledger" / "_delta_log").glob("*.json"))
    assert ours > newest
    ours.unlink()  # as if it had died before this step
    maintained_and_cleaned(world.root)
    with pytest.raises(UnknownOutcomeError, match="is gone; restore it from a backup"):
        world.runtime.warehouse.publish()
    with pytest.raises(UnknownOutcomeError, match="is gone; restore it from a backup"):
        ingested(world, 3)
