"""The log is derived from the commits: whoever publishes, whenever, it ends with the same entries, or not at all."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from proof_world import NOW, SMS, World, backwards, changed, compact, read, write

from lethe.integrity.log.entries import Log
from lethe.integrity.log.store import log_origin
from lethe.operations.health.doctor import _integrity_log
from lethe.operations.proof.publisher import publication_of, publish_now
from lethe.operations.proof.signer import load_signer, make_signer, rotate_signer, signer_of
from lethe.schemas.errors import ConfigurationError, FencedError, IntegrityError
from lethe.tiers.evidence.log_store import FOLDER, LogStore, folder_of, logs, published_history
from lethe.tiers.evidence.publication import Publication, noted_version
from lethe.tiers.store.objects import LocalObjects

STREAM, OTHER = "cdr.sms", "cdr.other"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def entries(world: World, stream: str = STREAM) -> list[bytes]:
    log = Log(world.store(stream), world.signer.history, log_origin("lethe", stream, 0))
    return [bytes(entry) for entry in log.entries()]


def test_what_no_one_published_the_next_start_publishes(world: World) -> None:
    for seed in (1, 2, 3):
        world.feed(STREAM, 40, seed, publish=False)
    world.feed(OTHER, 40, 4, publish=False)
    assert logs(world.runtime.objects) == []
    assert world.publish() == {}
    assert logs(world.runtime.objects) == [(OTHER, 0), (STREAM, 0)]
    assert len(entries(world)) == 3
    assert noted_version(world.runtime.warehouse) == world.runtime.warehouse.metadata.version
    assert world.verify() == []


def test_read_back_and_fresh_from_the_commit_give_the_same_entries(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    shutil.copytree(world.home, other.home, dirs_exist_ok=True)
    for seed in (1, 2):
        world.feed(STREAM, 40, seed)
    later = world.copy(tmp_path / "later")
    shutil.rmtree(later.home / "warehouse" / "_log")
    shutil.rmtree(later.home / "keys" / "log.signed")
    assert later.publish() == {}
    assert entries(later) == entries(world)


def test_publishing_again_changes_no_byte(world: World) -> None:
    world.feed(STREAM, 40, 1)
    before = {p: p.read_bytes() for p in (world.home / "warehouse" / "_log").rglob("*") if p.is_file()}
    (world.home / "warehouse" / "_log" / "published").unlink()
    assert world.publish() == {}
    after = {p: p.read_bytes() for p in (world.home / "warehouse" / "_log").rglob("*") if p.is_file()}
    assert after == before


def test_commits_that_were_compacted_before_they_were_published(world: World) -> None:
    for seed in (1, 2):
        world.feed(STREAM, 40, seed, publish=False)
    for month in ("2026-09", "2026-10"):
        compact(world, backwards, month)
    assert world.publish() == {}
    assert len(entries(world)) == 2
    assert world.verify() == []


def test_rows_changed_before_they_were_published_are_never_signed(world: World) -> None:
    world.feed(STREAM, 40, 1, publish=False)
    path, number, _ = world.scoped()[0]
    before = path.read_bytes()
    write(path, changed(read(path), number, "price", Decimal(9)))
    failures = world.publish()
    assert isinstance(failures[STREAM, 0], IntegrityError)
    assert world.store(STREAM).get("checkpoint") is None
    assert next(c.state for c in _integrity_log(world.runtime, "integrity log")) == "wrong"
    # Repaired, it goes on, and the trouble is forgotten.
    path.write_bytes(before)
    assert world.publish() == {}
    assert world.store(STREAM).get("trouble") is None
    assert [c.state for c in _integrity_log(world.runtime, "integrity log")] == ["ok"]


def test_two_processes_publish_the_same_log(world: World) -> None:
    world.feed(STREAM, 40, 1, publish=False)
    one, two = publication_of(world.runtime), publication_of(world.runtime)
    assert one.run().entries == 1
    assert two.run().failures == {}
    world.feed(STREAM, 40, 2, publish=False)
    hashes = world.runtime.warehouse  # a commit of one process is found by the other
    assert hashes.position(f"cluster/{STREAM}/0") == 79
    one.healed = two.healed = False
    assert (one.run().entries, two.run().entries) == (1, 0)
    assert len(entries(world)) == 2


def test_somebody_else_always_comes_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.feed(STREAM, 40, 1, publish=False)

    def lose(self: LogStore, path: str, old: bytes | None, new: bytes) -> None:
        raise FencedError("changed meanwhile")

    monkeypatch.setattr(LogStore, "swap", lose)
    publication = publication_of(world.runtime)
    assert isinstance(publication.run().failures[STREAM, 0], FencedError)
    monkeypatch.undo()
    assert publication.run().failures == {}  # it was kept in mind
    assert len(entries(world)) == 1


def test_a_steady_publication_reads_no_row_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.feed(STREAM, 40, 1)
    publication = publication_of(world.runtime)
    publication.run()
    monkeypatch.setattr(Publication, "_read_back", lambda *_: pytest.fail("rows were read back"))
    runtime = world.runtime
    for seed in (2, 3):
        publication.add(_commit(world, runtime, seed))
    publication.add(_commit(world, runtime, 4))
    assert publication.run().entries == 3
    assert publication.pending == 0
    assert world.verify() == []


def _commit(world: World, runtime: object, seed: int) -> list[object]:
    """A commit whose hashes are handed over instead of published."""
    taken: list[object] = []

    class Taking:
        def add(self, hashes: list[object]) -> None:
            taken.extend(hashes)

        def run(self) -> object:
            return type("Done", (), {"failures": {}})

    import proof_world

    kept = proof_world.publication_of
    proof_world.publication_of = lambda _: Taking()  # type: ignore[assignment]
    try:
        world.feed(STREAM, 40, seed)
    finally:
        proof_world.publication_of = kept
    return taken


def test_streams_whose_names_are_folders_of_ours(tmp_path: Path) -> None:
    names = ["keys", "published", "..", ".", "cdr~2", "cdr=2", "cdr"]
    assert len({folder_of(n) for n in names}) == len(names) - 1  # `=` is in no stream's name
    objects = LocalObjects(tmp_path)
    for n in ("keys", "published", "..", "cdr~2"):
        LogStore.of(objects, n, 3).swap("checkpoint", None, b"x")
    assert logs(objects) == sorted((n, 3) for n in ("keys", "published", "..", "cdr~2"))
    assert {p.name for p in tmp_path.iterdir()} == {FOLDER}


# -- keys --------------------------------------------------------------------------------------------------------


def test_keys_are_made_once_and_readable_by_their_owner_alone(world: World) -> None:
    made = signer_of(world.runtime)
    assert signer_of(world.runtime).history == made.history
    path = world.home / "keys" / "log.signing"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_signer(world.home / "keys")


def test_lost_keys_are_not_made_anew_beside_a_signed_log(world: World) -> None:
    world.feed(STREAM, 40, 1)
    (world.home / "keys" / "log.signing").unlink()
    with pytest.raises(ConfigurationError, match="restore it from its backup"):
        publication_of(world.runtime).run()
    make_signer(world.home / "keys", "lethe", NOW)  # somebody does it all the same
    with pytest.raises(IntegrityError, match="signing keys"):
        publication_of(world.runtime).run()


def test_a_hand_over_is_followed_by_running_workers_and_by_old_evidence(world: World) -> None:
    world.feed(STREAM, 40, 1)
    running = publication_of(world.runtime)
    running.run()
    old = world.signer
    new = rotate_signer(world.home / "keys", datetime(2026, 11, 23, tzinfo=UTC))
    assert new.history.sets[0] == old.history.sets[0]
    running.add(_commit(world, world.runtime, 2))
    assert running.run().failures == {}
    assert publication_of(world.runtime).sign_again() == 1
    log = Log(world.store(STREAM), new.history, log_origin("lethe", STREAM, 0))
    assert (log.size, log.signed_by) == (2, 1)
    history = published_history(world.runtime.objects)
    assert history == new.history
    assert history is not None
    history.trust([old.history.sets[0].ed25519])
    assert world.verify() == []


def test_killed_in_the_middle_of_a_hand_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.feed(STREAM, 40, 1)
    import lethe.tiers.evidence.signer_file

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lethe.tiers.evidence.signer_file, "replace_file", dies)
    with pytest.raises(KeyboardInterrupt):
        rotate_signer(world.home / "keys", NOW)
    monkeypatch.undo()
    assert len(world.signer.history.sets) == 1  # the old keys are still in force
    rotate_signer(world.home / "keys", NOW)  # and this one dies right after it
    world.feed(STREAM, 40, 2)
    assert world.verify() == []
    assert len(world.signer.history.sets) == 2


def test_the_log_of_a_file_is_published_with_it(world: World) -> None:
    stream = world.take_in("records.ndjson", 120, 1)
    assert len(entries(world, stream)) == 2
    assert publish_now(world.runtime, []).entries == 0
    assert SMS
