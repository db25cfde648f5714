"""The one line that an error is: it steers no terminal and says no number that was typed."""

from __future__ import annotations

import sys

import pytest

from lethe.console.cli.shell import fail

NUMBER = "923331234567"


def said(message: str, capsys: pytest.CaptureFixture[str], as_json: bool = False) -> str:
    with pytest.raises(SystemExit):
        fail(message, as_json)
    return capsys.readouterr().err


def test_names_in_files_of_others_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A file within a ZIP may be called anything, and is named where it does not belong there."""
    assert (
        said("\x1b]0;x\x07\u202egpj.exe: was put in", capsys)
        == "lethe: \\x1b]0;x\\x07\\u202egpj.exe: was put in\n"
    )


@pytest.mark.parametrize(
    ("typed", "message", "shown"),
    [
        (NUMBER, f"{NUMBER}: no such file", "…: no such file"),
        (f"--stream=+{NUMBER}", f"no stream {NUMBER}", "no stream …"),
        (f"+{NUMBER}", f"+{NUMBER} and {NUMBER}", "… and …"),
        ("0333-123 45 67", "0333-123 45 67 is none, 03331234567 neither", "… is none, … neither"),
        (
            f"SELECT '{NUMBER}'::INT",
            f"sql: Could not convert string '{NUMBER}'",
            "sql: Could not convert string '…'",
        ),
        ("jane.doe@example.org", "jane.doe@example.org: cannot be", "…: cannot be"),
        ("/data/cdr-20261130.gz", "/data/cdr-20261130.gz: not there", "/data/cdr-20261130.gz: not there"),
        ("2026-10", "2026-10 is over", "2026-10 is over"),
        ("x", f"the ledger has {NUMBER} rows", f"the ledger has {NUMBER} rows"),
    ],
)
def test_what_was_typed_is_not_said_again(
    typed: str, message: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lethe", "ledger", typed])
    assert said(message, capsys) == f"lethe: {shown}\n"
    assert NUMBER not in said(message, capsys, as_json=True) or typed == "x"
