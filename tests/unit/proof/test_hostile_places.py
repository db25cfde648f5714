"""Pipes, sockets, devices and links where a warehouse on a disk has files: nobody waits, what is missing is named."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from proof_world import World

from lethe.schemas.errors import TransientError
from lethe.tiers.store.objects import LocalObjects

STREAM = "topic"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    here = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        here.bind(f"/proc/self/fd/{folder}/{path.name}")  # the path of a socket has to be short
    finally:
        os.close(folder)
        here.close()


def folder(path: Path) -> None:
    path.mkdir()


PLACES: list[Callable[[Path], None]] = [pipe, endless, listening, folder]


@pytest.mark.parametrize("put", PLACES)
def test_what_is_no_file_is_no_object(tmp_path: Path, put: Callable[[Path], None]) -> None:
    objects = LocalObjects(tmp_path)
    put(tmp_path / "it")
    assert objects.get("it") is None
    assert objects.get_range("it", 0, 10) is None
    assert objects.sync("it") is False
    assert objects.create("it", b"new") is False
    if put is not folder:
        objects.put("it", b"new")
        assert objects.get("it") == b"new"


def test_a_lock_that_is_a_pipe_keeps_nobody_waiting_and_one_that_is_a_link_is_not_followed(
    tmp_path: Path,
) -> None:
    objects = LocalObjects(tmp_path / "warehouse")
    pipe(tmp_path / "warehouse" / ".it.lock")
    assert objects.swap("it", None, b"new")
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "warehouse" / ".other.lock").symlink_to(elsewhere)
    with pytest.raises(TransientError, match="refused a write"):
        objects.swap("other", None, b"new")
    assert not elsewhere.exists()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("base"))
    made.feed(STREAM, 60, 1, months=1)
    assert made.verify() == []
    return made


@pytest.mark.parametrize("put", PLACES)
@pytest.mark.parametrize("name", ["checkpoint", "leaves/*", "tile/entries/*"])
def test_each_kind_of_file_of_a_log_that_is_none_is_named(
    base: World, tmp_path: Path, name: str, put: Callable[[Path], None]
) -> None:
    world = base.copy(tmp_path)
    files = [p for p in sorted(world.log_folder(STREAM).rglob("*")) if p.is_file() and p.match(name)]
    files = files or [p for p in world.log_folder(STREAM).rglob(f"{name.split('/')[-2]}/**/*") if p.is_file()]
    assert files
    path = files[0]
    path.unlink()
    put(path)
    assert world.verify()


@pytest.mark.parametrize("put", PLACES)
def test_a_data_file_of_the_archive_that_is_none_is_named(
    base: World, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    world = base.copy(tmp_path)
    path = world.archive_files()[0]
    path.unlink()
    put(path)
    assert path.name in str(world.verify()[0])
