"""Ctrl-C at a terminal, in the middle of what takes long: one line of words, status 130, nothing half done."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lethe.console.cli._interrupted import INTERRUPTED
from lethe.console.cli._root import COMMANDS
from lethe.operations.rights.export import write_files

SERVER = """
import json, os, pty, select, sys, threading, time
from importlib import import_module
from pathlib import Path

from lethe.console.cli import main as command
from lethe.console.cli._root import COMMANDS
from lethe.tiers.store import failpoint

reached = []

def pause(*_, **__):
    Path("paused").touch()
    if threading.current_thread() is threading.main_thread():
        time.sleep(60)
    while not Path("pressed").exists():
        time.sleep(0.1)
    time.sleep(1)

failpoint.fail_point = lambda name: pause() if name in reached else None
for module, _ in COMMANDS.values():
    if not module.endswith("demo"):
        import_module(f"lethe.console.cli.{module}")
for module in ("deltalake", "pyarrow.parquet", "lethe.operations.intake.ingest", "lethe.operations.proof.verify"):
    import_module(module)

def run(where, arguments):
    for mark in ("paused", "pressed"):
        Path(mark).unlink(missing_ok=True)
    process, terminal = pty.fork()
    if not process:
        if ":" in where:
            module, name = where.split(":")
            setattr(import_module(module), name, pause)
        else:
            reached.append(where)
        sys.argv = ["lethe", *arguments]
        command.main()
    shown, pressed = b"", None
    while True:
        if select.select([terminal], [], [], 0.02)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
        if pressed is None and Path("paused").exists():
            pressed = len(shown)
            os.write(terminal, b"\\x03")
            Path("pressed").touch()
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return status, shown[:pressed].decode(), None if pressed is None else shown[pressed:].decode()

for line in sys.stdin:
    print(json.dumps(run(*json.loads(line))), flush=True)
"""
"""Imports everything once, then runs each command it is given in a process of its own, at a terminal of its own."""
LETHE = str(Path(sys.executable).with_name("lethe"))
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Site:
    """A warehouse of its own, and the command over it at a terminal."""

    def __init__(self, home: Path) -> None:
        self.home = home
        env = {k: v for k, v in os.environ.items() if not k.startswith(("LETHE_", "PYTEST"))}
        env |= {"LETHE_ROOT": str(home / "warehouse"), "LETHE_KEYS_DIR": str(home / "keys"),
                "LETHE_METRICS_PORT": "0", "COLUMNS": "200"}  # fmt: skip
        self.env = env
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env=env,
            cwd=home,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        self._server.communicate("", timeout=120)

    def _ask(self, where: str, arguments: tuple[str, ...]) -> tuple[int, str, str | None]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([where, arguments]) + "\n")
        self._server.stdin.flush()
        status, before, after = json.loads(self._server.stdout.readline())
        return status, before, after

    def run(self, *arguments: str) -> str:
        status, shown, _ = self._ask("", arguments)
        assert status == 0, (arguments, shown[-1000:])
        return shown

    def interrupt(self, where: str, *arguments: str) -> str:
        """Press Ctrl-C when the command is at `where`: a point at which it may be killed, or a function it calls.

        Returns the one line that the terminal shows from then on.
        """
        status, before, after = self._ask(where, arguments)
        assert after is not None, (where, before[-2000:])
        return self._told(status, after)

    def interrupt_at(self, question: str, *arguments: str) -> str:
        """Press Ctrl-C when a command, in a process that was started for it, asks something. Returns as `interrupt`."""
        process, terminal = pty.fork()
        if not process:
            os.chdir(self.home)
            os.execve(LETHE, ["lethe", *arguments], self.env)
        shown, pressed = b"", 0
        while True:
            if select.select([terminal], [], [], 1)[0]:
                try:
                    shown += os.read(terminal, 65536)
                except OSError:
                    break
            elif not pressed and question.encode() in shown:  # it waits for the answer
                pressed = len(shown)
                os.write(terminal, b"\x03")
        os.close(terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert pressed, shown[-2000:]
        return self._told(status, shown[pressed:].decode())

    def _told(self, status: int, after: str) -> str:
        text = COLOURS.sub("", after).replace("\r", "")
        assert status == 130, (status, text)
        assert "Traceback" not in text
        (line,) = (line for line in text.splitlines() if line.startswith("lethe: "))
        assert line.startswith("lethe: interrupted: ")
        return line.removeprefix("lethe: interrupted: ")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def site(empty: Site) -> Site:
    site = empty
    for seed in ("3", "4"):
        site.run(
            "generate",
            "--format",
            "infobip/sms-report",
            "--count",
            "60",
            "--seed",
            seed,
            "--out",
            f"{seed}.ndjson",
        )
        site.run("ingest", f"{seed}.ndjson", "--format", "infobip/sms-report")
    return site


def whole(site: Site) -> None:
    site.run("ledger", "--check")
    site.run("verify")


def somebody(site: Site) -> str:
    found = re.search(rb'"to":"([0-9]{11,12})"', (site.home / "3.ndjson").read_bytes())
    assert found is not None
    return found[1].decode()


def test_what_was_begun_is_finished_by_the_same_command(site: Site) -> None:
    her = somebody(site)
    assert site.interrupt("lethe.operations.proof.verify:verify", "verify") == INTERRUPTED["verify"]
    assert "goes on with the rest" in site.interrupt("compact.performed", "compact", "--whole")
    site.run("compact", "--whole")
    assert "finishes what was begun" in site.interrupt("sweep.checked", "expire")
    told = site.interrupt("lethe.operations.rights.export:write_files", "export", her, "--out", "hers")
    assert told == "no file was written"
    assert not (site.home / "hers").exists()
    assert "writes the certificate" in site.interrupt("erase.rewritten.originals", "erase", her, "--yes")
    assert "certificate" in site.run("erase", her, "--yes")
    assert "Nothing about this person" in site.run("erase", her, "--dry-run")
    whole(site)


def test_a_file_goes_in_and_out_again(site: Site) -> None:
    site.run(
        "generate", "--format", "infobip/sms-report", "--count", "300", "--seed", "5", "--out", "5.ndjson"
    )
    into = ("ingest", "5.ndjson", "--format", "infobip/sms-report")
    assert "goes on behind them" in site.interrupt("metadata.written", *into)
    site.run(*into)
    assert "goes on" in site.interrupt("undo.noted", "ingest", "undo", "5.ndjson", "--yes")
    site.run("ingest", "undo", "5.ndjson", "--yes")
    whole(site)


def test_a_demo_says_what_it_has_made(empty: Site) -> None:
    """Its worker commits what it holds before it stops; a page that praises an empty ledger is not shown."""
    told = empty.interrupt("metadata.written", "demo", "--records", "300", "--dir", "d")
    assert "the same command begins anew" in told
    assert re.search(r"has taken in (nothing yet|[1-9][0-9]* record)", told)
    assert "Ctrl-C" not in told


def test_nobody_who_is_asked_has_agreed_by_pressing_ctrl_c(site: Site) -> None:
    her = somebody(site)
    told = site.interrupt("lethe.console.cli.people.rights:agree", "erase", her)
    assert "the same command" in told
    assert "Nothing about" not in site.run("erase", her, "--dry-run")


def test_at_a_question_nothing_is_done(site: Site) -> None:
    her = somebody(site)
    nothing = "nothing was changed"
    assert site.interrupt_at("Type erase to agree", "erase", her) == nothing
    assert site.interrupt_at("Value (not shown)", "erase", "-") == nothing
    assert site.interrupt_at("Type undo to agree", "ingest", "undo", "3.ndjson") == nothing
    assert "Nothing about" not in site.run("erase", her, "--dry-run")
    site.run(
        "hold",
        "place",
        "--authority",
        "court",
        "--reference",
        "HC-7",
        "--review",
        "2099-01-01",
        "--subject",
        her,
    )
    assert site.interrupt_at("Type HC-7 to agree", "hold", "release", "HC-7") == nothing
    assert "HC-7" in site.run("hold", "list")
    whole(site)


def test_an_export_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "hers"
    files = {"a.json": b"1", "b.csv": b"2", "c.csv": b"3"}
    opened, real = list[object](), os.fdopen

    def third(*arguments: object, **more: object) -> object:
        opened.append(arguments)
        if len(opened) == 3:
            os.close(int(str(arguments[0])))
            raise KeyboardInterrupt
        return real(*arguments, **more)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", third)
        with pytest.raises(KeyboardInterrupt):
            write_files(folder, files)
    assert list(folder.iterdir()) == []
    write_files(folder, files)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files
    write_files(folder, {"a.json": b"new"})
    assert (folder / "a.json").read_bytes() == b"new"


def test_what_is_said_belongs_to_commands_that_there_are() -> None:
    assert set(INTERRUPTED) <= set(COMMANDS)


POOL = """
import sys, time
from pathlib import Path
from lethe.operations.engines.local import Local

def work(text):
    Path(text).touch()
    time.sleep(60)

if __name__ == "__main__":
    try:
        list(Local(2).map(work, sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_processes_of_an_engine_end_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    marks = [tmp_path / "a", tmp_path / "b"]
    with subprocess.Popen(
        [sys.executable, "pool.py", *map(str, marks)], cwd=tmp_path, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        while not all(mark.exists() for mark in marks):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, 2)
        said, _ = process.communicate(timeout=120)
    assert said == "interrupted\n"
