"""More that is done to log and archive: to stamps and published keys, links in the place of files, files put there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from integrity_authority import Authority
from proof_world import World
from rfc3161_client import TimestampRequestBuilder

from lethe.integrity.log.stamp import stamp
from lethe.operations.health.doctor import _integrity_log
from lethe.operations.settings import Integrity
from lethe.tiers.delta.rewrite import files_of

STREAM, OTHER = "topic", "another"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> World:
    """Two logs, of two stamped checkpoints each."""
    made = World(tmp_path_factory.mktemp("stamped"))
    for seed in (1, 2):
        for stream in (STREAM, OTHER):
            made.feed(stream, 40, seed, months=1)
            assert stamp(made.store(stream), lambda data: authority.answer(_query(data))) is not None
    return made


@pytest.fixture
def world(base: World, tmp_path: Path) -> World:
    return base.copy(tmp_path)


def _query(data: bytes) -> bytes:
    request = TimestampRequestBuilder().data(data).nonce(nonce=False).cert_request(cert_request=True)
    return bytes(request.build().as_bytes())


def stamps(world: World, stream: str) -> list[Path]:
    return sorted(p for p in (world.log_folder(stream) / "stamps").rglob("*") if p.is_file())


def test_each_stamp_flipped_cut_exchanged_or_of_another_log_is_found(
    world: World, authority: Authority
) -> None:
    def found() -> list[Any]:
        return world.verify(roots=authority.roots)

    assert found() == []
    assert world.report is not None
    assert world.report.stamps == 4
    files = stamps(world, STREAM)
    others = [world.log_folder(OTHER) / p.relative_to(world.log_folder(STREAM)) for p in files]
    assert {p.name for p in files} == {"checkpoint", "response"}
    assert len(files) == 4
    for at, path in enumerate(files):
        good = path.read_bytes()
        middle = len(good) // 2
        wrong = [
            good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
            good[:middle],
            b"",
            good + b"x",
        ]
        wrong += [other.read_bytes() for other in (files[at - 2], others[at])]
        for change in wrong:
            path.write_bytes(change)
            assert found(), (path.name, change[:20])
        path.write_bytes(good)
    assert found() == []


def test_stamps_that_are_gone_are_counted_and_missed_by_doctor(world: World, authority: Authority) -> None:
    """A stamp that was removed leaves no gap in the log: it says how many there are, and doctor that one is due."""
    shutil.rmtree(world.log_folder(STREAM) / "stamps")
    assert world.verify(roots=authority.roots) == []
    assert world.report is not None
    assert world.report.stamps == 2
    world.integrity = Integrity(
        timestamp_url="http://127.0.0.1:1", timestamp_roots=authority.folder / "root.pem"
    )
    world.ahead = timedelta(days=1)
    told = [c for c in _integrity_log(world.runtime, "log") if c.state != "ok"]
    assert [c.state for c in told] == ["warning"]
    assert "without a time stamp for too long" in told[0].found


def pointed_elsewhere(world: World) -> Iterator[tuple[Path, Path]]:
    """Files of log and archive, each with another one of its kind.

    Of an unfinished tile only the widest: earlier ones lie beside it until it is full, and nobody reads them.
    """
    logs = sorted(p for p in world.log_folder(STREAM).rglob("*") if p.is_file() and "stamps" not in p.parts)
    logs = [p for p in logs if p.name != ".checkpoint.lock"]
    logs = [
        p for p in logs if p.parent.suffix != ".p" or p == max(p.parent.iterdir(), key=lambda o: int(o.name))
    ]
    for path in logs:
        yield path, world.log_folder(OTHER) / path.relative_to(world.log_folder(STREAM))
    table = world.runtime.warehouse.metadata
    archive = sorted(world.home / "warehouse" / "metadata" / f.path for f in files_of(table))
    yield from zip(archive, archive[1:] + archive[:1], strict=True)


def test_a_link_in_the_place_of_a_file_is_what_it_leads_to(world: World, tmp_path: Path) -> None:
    """To the same bytes elsewhere it changes nothing; to others, to nothing, to a folder or to itself it is found."""
    tried = 0
    for path, other in pointed_elsewhere(world):
        good, kept = path.read_bytes(), tmp_path / "kept"
        if not other.exists() or other.read_bytes() == good:
            continue
        kept.write_bytes(good)
        for target in (other, tmp_path / "nothing", tmp_path, path):
            path.unlink()
            path.symlink_to(target)
            assert world.verify(), (path, target)
            tried += 1
        path.unlink()
        path.symlink_to(kept)
        assert world.verify() == []
        path.unlink()
        path.write_bytes(good)
    assert tried >= 4 * 6
    assert world.verify() == []


def test_the_published_keys_edited_or_exchanged_show(world: World, tmp_path: Path) -> None:
    """Who verifies with the keys of the key directory is told that those in the warehouse are others."""
    folder = world.home / "warehouse" / "_log" / "keys"
    notes = sorted(p for p in folder.rglob("*") if p.is_file())
    assert notes
    stranger = World(tmp_path / "stranger")
    stranger.feed(STREAM, 20, 3, months=1)
    for note in notes:
        good = note.read_bytes()
        theirs = stranger.home / note.relative_to(world.home)
        for wrong in (b"", good[:-10], good[: len(good) // 2], theirs.read_bytes(), None):
            if wrong is None:
                note.unlink()
            else:
                note.write_bytes(wrong)
            assert world.verify(), (note, wrong)
            note.write_bytes(good)
    assert world.verify() == []


def test_what_is_put_into_the_folder_of_a_log_is_found_or_read_by_nobody(world: World) -> None:
    folder = world.log_folder(STREAM)
    for name in ("tile/0/009", "tile/entries/009", "leaves/099", "outside/099", "stamps/099/response"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((folder / "checkpoint").read_bytes())
        found = world.verify()
        assert found == [] or all("lethe/topic/0" in f.where for f in found), name
        path.unlink()
    assert world.verify() == []


def test_commit_files_of_the_archive_edited_by_hand(world: World) -> None:
    """Delta's own log says which files there are: a row or a file is taken out of it, and is missed."""
    log = world.home / "warehouse" / "metadata" / "_delta_log"
    commits = sorted(log.glob("*.json"))
    tried = 0
    for path in commits:
        good = path.read_bytes()
        lines = good.splitlines(keepends=True)
        for at, line in enumerate(lines):
            if b'"add"' not in line[:8]:
                continue
            path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
            assert world.verify(), (path.name, at)
            action = json.loads(line)
            action["add"]["path"] = action["add"]["path"] + "x"
            path.write_bytes(b"".join([*lines[:at], json.dumps(action).encode() + b"\n", *lines[at + 1 :]]))
            assert world.verify(), (path.name, at)
            tried += 1
        path.write_bytes(good)
    assert tried >= 4
    assert world.verify() == []
