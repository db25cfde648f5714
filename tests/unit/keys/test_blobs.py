"""Small objects on a disk: whole or not there, the first one stays, and nothing outside the directory."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from keys_fakes import Crash, Mortal

from lethe.keys.blobs import LocalBlobs
from lethe.schemas.errors import ConfigurationError, TransientError


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "deep" / "warehouse")


def test_an_object_is_read_back_and_the_first_one_stays(blobs: LocalBlobs) -> None:
    assert blobs.get("_keys/a.json") is None
    assert blobs.create("_keys/a.json", b"first")
    assert not blobs.create("_keys/a.json", b"second")
    assert blobs.get("_keys/a.json") == b"first"


def test_deleting_is_idempotent(blobs: LocalBlobs) -> None:
    blobs.delete("_keys/a.json")
    blobs.create("_keys/a.json", b"")
    blobs.delete("_keys/a.json")
    blobs.delete("_keys/a.json")
    assert blobs.get("_keys/a.json") is None
    assert blobs.create("_keys/a.json", b"again")


def test_paths_are_listed_by_prefix(blobs: LocalBlobs, tmp_path: Path) -> None:
    assert blobs.list("_keys/") == []
    for path in ("_keys/b.json", "_keys/a.json", "_keys/sub/c.json", "_keysmith/d.json", "top"):
        blobs.create(path, b"")
    (tmp_path / "deep/warehouse/_keys/.a.json.0123456789abcdef.new").touch()
    assert blobs.list("_keys/") == ["_keys/a.json", "_keys/b.json", "_keys/sub/c.json"]
    assert blobs.list("_keys") == ["_keys/a.json", "_keys/b.json", "_keys/sub/c.json", "_keysmith/d.json"]
    assert blobs.list("_keys/a") == ["_keys/a.json"]
    assert len(blobs.list("")) == 5


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a b", "a\n"]
)
def test_a_path_that_could_leave_the_directory_is_refused(blobs: LocalBlobs, path: str) -> None:
    for call in (blobs.get, blobs.delete, lambda p: blobs.create(p, b"")):
        with pytest.raises(ValueError, match="path"):
            call(path)


def test_of_many_writers_one_wins_and_all_agree(blobs: LocalBlobs) -> None:
    start, won = threading.Barrier(8), []

    def write(content: bytes) -> None:
        start.wait()
        if blobs.create("_keys/a.json", content):
            won.append(content)

    threads = [threading.Thread(target=write, args=(bytes([n]) * 1000,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [blobs.get("_keys/a.json")] == won
    assert blobs.list("") == ["_keys/a.json"]


def test_what_is_written_is_durable_before_anyone_builds_on_it(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.create("_keys/first.json", b"")
    steps: list[str] = []
    sync, link, unlink = os.fsync, os.link, os.unlink

    def recorded_sync(descriptor: int) -> None:
        directory = Path(f"/proc/self/fd/{descriptor}").resolve().is_dir()
        steps.append("sync directory" if directory else "sync file")
        sync(descriptor)

    def recorded_link(source: Path, target: Path) -> None:
        steps.append("link")
        link(source, target)

    def recorded_unlink(path: Path) -> None:
        steps.append("unlink")
        unlink(path)

    for name, function in (("fsync", recorded_sync), ("link", recorded_link), ("unlink", recorded_unlink)):
        monkeypatch.setattr(os, name, function)
    create = ["sync file", "link", "unlink", "sync directory"]
    for winner in (
        True,
        False,
    ):  # the second finds the object there, and must not return before it is durable
        steps.clear()
        assert blobs.create("_keys/a.json", b"") == winner
        assert steps == create
    steps.clear()
    blobs.delete("_keys/a.json")
    assert steps == ["unlink", "sync directory"]


@pytest.mark.parametrize("persisted", [False, True])
def test_a_crash_leaves_the_whole_object_or_none(tmp_path: Path, persisted: bool) -> None:
    content = os.urandom(10_000)

    def create(directory: Path, mortal: Mortal) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "link", "unlink", "fsync", "mkdir"):
                real = getattr(os, name)
                patch.setattr(os, name, lambda *a, _real=real, **kw: mortal.call(_real, *a, **kw))
            LocalBlobs(directory).create("_keys/a.json", content)

    counting = Mortal(None, persisted=True)
    create(tmp_path / "count", counting)
    assert counting.calls >= 9
    for at in range(counting.calls):
        with pytest.raises(Crash):
            create(tmp_path / f"{at}", Mortal(at, persisted))
        survivor = LocalBlobs(tmp_path / f"{at}")
        assert survivor.get("_keys/a.json") in (None, content)
        survivor.create("_keys/a.json", content)
        assert survivor.get("_keys/a.json") == content
        assert survivor.list("") == ["_keys/a.json"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError(13, "Permission denied"), ConfigurationError),
        (OSError(5, "I/O error"), TransientError),
    ],
)
def test_errors_of_the_system_are_one_line(
    blobs: LocalBlobs, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[Exception]
) -> None:
    blobs.create("_keys/a.json", b"")

    def fail(*_: object, **__: object) -> None:
        raise error

    for name in ("open", "unlink", "scandir"):
        monkeypatch.setattr(os, name, fail)
    monkeypatch.setattr("io.open", fail)
    for call in (
        lambda: blobs.get("_keys/a.json"),
        lambda: blobs.create("_keys/b.json", b""),
        lambda: blobs.delete("_keys/a.json"),
        lambda: blobs.list("_keys/"),
    ):
        with pytest.raises(kind, match=error.strerror) as caught:
            call()
        assert "\n" not in str(caught.value)
