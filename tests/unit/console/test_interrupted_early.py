"""Ctrl-C while a command is still being imported: one line and status 130, wherever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from lethe.console.cli import _early

PRESSED = """
import os, signal, sys

class Presses:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, {before})
sys.meta_path.insert(0, Presses())
sys.argv = ["lethe", *{arguments!r}]
from lethe.console.cli.start import main
main()
"""


def pressed(
    module: str, *arguments: str, before: str = "signal.default_int_handler"
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, in which somebody presses Ctrl-C as a module begins to be imported."""
    code = PRESSED.format(module=module, arguments=arguments, before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("lethe.console.cli.main", ["verify"]),
        ("typer", ["verify"]),
        ("orjson", ["verify"]),
        ("lethe.console.cli.keeping.proof", ["verify"]),
        ("numpy", ["verify"]),
        ("pyarrow.lib", ["lookup", "-", "--case", "1", "--purpose", "x"]),
        ("lethe.operations.settings", ["doctor"]),
    ],
)
def test_it_ends_in_one_line(module: str, arguments: Sequence[str]) -> None:
    done = pressed(module, *arguments)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("lethe: interrupted: ")
    assert done.stderr.count("\n") == 1


def test_a_machine_is_told_in_json() -> None:
    done = pressed("typer", "--json", "verify")
    assert (done.returncode, done.stderr) == (130, '{"error":"interrupted: nothing was changed"}\n')
    assert pressed("typer", "sql", "--", "--json").stderr == "lethe: interrupted: nothing was changed\n"


def test_what_runs_behind_others_is_not_interrupted() -> None:
    done = pressed("typer", "--version", before="signal.SIG_IGN")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lethe ")


def test_a_command_that_has_begun_is_told_by_an_exception() -> None:
    """What it says then is its own: see `test_interrupted`."""
    code = (
        "import signal\n"
        "from lethe.console.cli import _early\n"
        "signal.signal(signal.SIGINT, _early._end)\n"
        "_early.command_begins()\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert signal.getsignal(signal.SIGINT) is not _early._end, (
        "nor does this process end so, whoever started it"
    )
