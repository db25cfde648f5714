"""Copies of a table's log in memory: those of a process that was killed are removed by the next one, no others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lethe.tiers.delta import _copies

PROGRAM = """
import sys, signal
from lethe.tiers.delta import _copies
_copies._MEMORY = sys.argv[1]
copies = [_copies.Copy() for _ in range(3)]
(copies[0].log / "00000000000000000000.json").write_bytes(b"{}")
print("made", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_copies, "_MEMORY", str(tmp_path))
    monkeypatch.setattr(_copies, "_swept", set())
    return tmp_path


@pytest.fixture
def other(memory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has three copies."""
    command = [sys.executable, "-c", PROGRAM, str(memory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "made\n"
        yield process
        process.kill()


def age(memory: Path, seconds: float = 120) -> None:
    for folder in memory.iterdir():
        at = folder.stat().st_mtime - seconds
        os.utime(folder, (at, at))


def test_copies_of_a_process_that_was_killed_go_with_the_next_one_of_another(
    memory: Path, other: subprocess.Popen[str]
) -> None:
    age(memory)
    other.kill()
    other.wait()
    assert len([*memory.iterdir()]) == 3
    mine = _copies.Copy()
    assert [*memory.iterdir()] == [mine.folder]
    del mine
    assert [*memory.iterdir()] == []


def test_those_of_a_process_that_lives_stay(memory: Path, other: subprocess.Popen[str]) -> None:
    theirs = {*memory.iterdir()}
    age(memory)
    mine = _copies.Copy()
    assert {*memory.iterdir()} == theirs | {mine.folder}


def test_what_was_made_a_moment_ago_or_is_not_ours_stays(memory: Path) -> None:
    fresh, others, link = (memory / name for name in ("lethe-log-fresh", "another-log", "lethe-log-link"))
    fresh.mkdir()
    others.mkdir()
    link.symlink_to(others)
    age(memory)
    os.utime(fresh)
    mine = _copies.Copy()
    assert {*memory.iterdir()} == {fresh, others, link, mine.folder}
