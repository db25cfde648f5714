"""Who a command says is asking: the system's word, whatever the environment says; and from which terminal."""

from __future__ import annotations

import os
import pty
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from lethe.console.cli import who

ME = pwd.getpwuid(os.getuid()).pw_name
NAMES = ("LETHE_USER", "SUDO_USER", "USER", "LOGNAME", "LNAME", "USERNAME")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "mallory")


def logged_in(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str | None) -> None:
    file = folder / "loginuid"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(who, "LOGIN", file)


@pytest.mark.parametrize("text", [None, "", "4294967295", str(os.getuid())])
def test_the_user_of_the_process_where_nobody_else_logged_in(
    text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    logged_in(monkeypatch, tmp_path, text)
    assert who.who() == ME


def test_whoever_logged_in_is_named_beside_the_user_they_became(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = next(p for p in pwd.getpwall() if p.pw_uid != os.getuid())
    logged_in(monkeypatch, tmp_path, str(other.pw_uid))
    assert who.who() == f"{ME} (login {pwd.getpwuid(other.pw_uid).pw_name})"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nameless = 2**31 - 7
    with pytest.raises(KeyError):
        pwd.getpwuid(nameless)
    logged_in(monkeypatch, tmp_path, str(nameless))
    assert who.who() == f"{ME} (login uid {nameless})"


def terminal_of(stdin: int, stderr: int) -> str:
    program = "import sys; from lethe.console.cli.who import terminal; sys.stdout.write(str(terminal()))"
    return subprocess.run(
        [sys.executable, "-c", program],
        stdin=stdin,
        stderr=stderr,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_the_terminal_is_named_also_where_the_value_comes_through_a_pipe() -> None:
    ours, theirs = pty.openpty()
    try:
        assert terminal_of(theirs, subprocess.DEVNULL) == os.ttyname(theirs)
        assert terminal_of(subprocess.DEVNULL, theirs) == os.ttyname(theirs)
        assert terminal_of(subprocess.DEVNULL, subprocess.DEVNULL) == "None"
    finally:
        os.close(ours)
        os.close(theirs)
