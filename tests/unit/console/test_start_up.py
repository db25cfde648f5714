"""What a command imports before it works, and what its help says: counted in modules, not in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer
from audits import audit_entries
from typer.main import get_group
from typer.testing import CliRunner

from lethe.console.cli._root import COMMANDS, LazyGroup
from lethe.console.cli.main import app

HEAVY = (
    "polars",
    "pyarrow",
    "duckdb",
    "deltalake",
    "faust",
    "confluent_kafka",
    "phonenumbers",
    "numpy",
    "rich",
)
PROGRAM = """
import gc, json, os, sys
from lethe.console.cli import main, start
def end(status):
    if "lethe.operations.runtime" in sys.modules:
        assert gc.isenabled(), "a command that works collects its garbage"
    sys.stderr.write("\\n" + json.dumps([status, sorted(sys.modules)]))
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(0)  # as `leave` does: the end of the interpreter may say more
main.leave = end
sys.argv = ["lethe", *sys.argv[1:]]
start.main()
"""


def imported(*arguments: str, cwd: Path, **environment: str) -> tuple[int, set[str]]:
    """Run a command; return its status and the modules that were imported meanwhile."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, cwd=cwd, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    status, modules = json.loads(done.stderr.splitlines()[-1])
    return status, set(modules)


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("nope",)])
def test_help_imports_nothing_that_works_on_records(arguments: tuple[str, ...], tmp_path: Path) -> None:
    status, packages = imported(*arguments, cwd=tmp_path)
    assert status == (2 if arguments == ("nope",) else 0)
    assert packages & set(HEAVY) == set()


NOT_FOR_A_LOOK_UP = {
    "pyarrow.compute",
    "polars",
    "faust",
    "confluent_kafka",
    "duckdb",
    "aiokafka",
    "prometheus_client",
    "fsspec",
    "obstore",
    "pydantic",
    "pydantic_core",
    "email",
    "importlib.metadata",
    "lethe.schemas.declaration.format",
    "lethe.integrity.log.entries",
    "lethe.integrity.log.outside",
    "lethe.operations.lines",
    "lethe.operations.site_files",
    "lethe.tiers.holds",
    "lethe.tiers.maintenance",
    "lethe.tiers.window.mentions",
    "lethe.tiers.window.records",
}
MOST_OF_OUR_OWN = 130
ASK = ("--case", "C", "--purpose", "p")


def test_a_look_up_imports_no_stream_processor_and_no_query_engine(tmp_path: Path) -> None:
    status, packages = imported("lookup", "+923001234567", *ASK, cwd=tmp_path)
    assert status == 1
    assert packages & NOT_FOR_A_LOOK_UP == set()
    assert "pyarrow" in packages, "the table's library is what a look-up is made of"
    assert len({name for name in packages if name.startswith("lethe.")}) <= MOST_OF_OUR_OWN


def test_a_look_up_that_finds_something_imports_no_more_of_them(tmp_path: Path) -> None:
    (tmp_path / "lethe.toml").write_text('root = "warehouse"\nkeys_dir = "keys"\n')
    kind = ("--format", "infobip/sms-report")
    for made in (("generate", *kind, "--count", "20", "--seed", "3", "--out", "r.ndjson"),
                 ("ingest", "r.ndjson", *kind)):  # fmt: skip
        assert imported(*made, cwd=tmp_path)[0] == 0
    number = json.loads((tmp_path / "r.ndjson").read_bytes().splitlines()[0])["to"]
    status, packages = imported("--config", "lethe.toml", "lookup", number, *ASK, cwd=tmp_path)
    assert status == 0
    entry = audit_entries(tmp_path / "keys")[-1]
    assert (entry["action"], entry["count"] >= 1) == ("lookup", True), "it did find something"
    assert "phonenumbers" in packages, "the number was read"
    assert packages & NOT_FOR_A_LOOK_UP == set()


COLLECTING = """
import gc, sys
def during(phase, _):
    module = sys.modules.get("lethe.operations.window.lookup")
    if phase == "start" and module is not None and not hasattr(module, "lookup_each"):
        print("collected")
gc.callbacks.append(during)
"""


def test_no_garbage_is_collected_while_a_look_up_is_imported(tmp_path: Path) -> None:
    """Nearly all that is made meanwhile stays: looking for what does not took a look-up a twentieth of its start."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECTING + PROGRAM, "lookup", "+923001234567", *ASK],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert json.loads(done.stderr.splitlines()[-1])[0] == 1, (
        "it asserts also that garbage is collected afterwards"
    )
    assert done.stdout == ""


@pytest.mark.parametrize(("said", "starts"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_numpy_starts_no_threads_of_its_own_unless_somebody_wants_them(
    said: dict[str, str], starts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would for every processor, when it is imported; nothing of Lethe would use them."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    program = PROGRAM.replace(
        "def end(status):", 'def end(status):\n    print("set", os.environ["OPENBLAS_NUM_THREADS"])'
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "lookup", "+923001234567", *ASK],
        capture_output=True, text=True, cwd=tmp_path, check=False, env={**os.environ, **said},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"set {starts}", done.stderr[-2000:]


class Answering(BaseHTTPRequestHandler):
    """A service that knows one record of whoever is asked for."""

    def do_POST(self) -> None:
        """Answer with it."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Authorization"] == "Bearer token-1"
        record = {"event_time": "2026-01-02T03:04:05+00:00", "record": "s/0/1", "role": "recipient"}
        found = {"records": [record], "restricted": False, "missing": {}, "unread_number": False, "later": 1}
        data = json.dumps([found] * len(asked["texts"])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_look_up_through_the_service_imports_nothing_that_reads_tables(tmp_path: Path) -> None:
    """What a client has to bring in is half of how long its user waits."""
    with HTTPServer(("127.0.0.1", 0), Answering) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{service.server_port}"
        here = {"LETHE_SERVER": url, "XDG_CONFIG_HOME": str(tmp_path / "config")}
        session = tmp_path / "config" / "lethe" / f"session-{sha256(url.encode()).hexdigest()[:16]}.json"
        session.parent.mkdir(parents=True)
        session.write_text(json.dumps({"server": url, "name": "ada", "token": "token-1"}))
        session.chmod(0o600)
        for numbers in (["+923001234567"], ["+923001234567", "+923001234568"]):
            status, packages = imported("--json", "lookup", *numbers, *ASK, cwd=tmp_path, **here)
            assert status == 0
            assert packages & {*HEAVY, "pydantic", "pydantic_core"} == set()
            ours = {name for name in packages if name.startswith("lethe.")}
            assert not [name for name in ours if name.startswith(("lethe.tiers", "lethe.keys"))]
            assert len(ours) <= 40, sorted(ours)
        service.shutdown()


@pytest.mark.parametrize("arguments", [("lookup", "+923001234567", *ASK), ("formats", "list")])
def test_a_plug_in_of_the_validator_is_shown_nothing(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """One that happens to be installed beside Lethe would be called for every model, with what is validated."""
    seen, installed = tmp_path / "seen", tmp_path / "site"
    (installed / "snoop-1.dist-info").mkdir(parents=True)
    (installed / "snoop.py").write_text(f"open({str(seen)!r}, 'w').close()\nplugin = None\n")
    (installed / "snoop-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: snoop\nVersion: 1\n"
    )
    (installed / "snoop-1.dist-info" / "entry_points.txt").write_text("[pydantic]\nsnoop = snoop:plugin\n")
    done = subprocess.run(
        [sys.executable, "-m", "lethe.console.cli.main", *arguments],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == (arguments[0] == "lookup"), done.stderr
    assert not seen.exists()


def group() -> LazyGroup:
    found = get_group(app)
    assert isinstance(found, LazyGroup)
    return found


def test_every_command_that_is_listed_is_there_with_the_help_that_is_listed() -> None:
    root = group()
    with root.make_context("lethe", ["keys"]) as context:
        for name, (_, told) in COMMANDS.items():
            command = root.get_command(context, name)
            assert command is not None, name
            assert (command.help or "").partition("\n\n")[0].replace("\n", " ").strip() == told, name


def test_every_command_of_every_module_is_listed() -> None:
    for module in {module for module, _ in COMMANDS.values()}:
        alone = typer.Typer()
        alone.callback()(lambda: None)
        __import__(f"lethe.console.cli.{module}")
        sys.modules[f"lethe.console.cli.{module}"].register(alone)
        assert set(get_group(alone).commands) == {n for n, (m, _) in COMMANDS.items() if m == module}


def every_command() -> list[tuple[str, ...]]:
    root, found = group(), []
    with root.make_context("lethe", ["keys"]) as context:
        for name in COMMANDS:
            found.append((name,))
            found += [(name, sub) for sub in getattr(root.get_command(context, name), "commands", ())]
    return found


@pytest.mark.parametrize("command", every_command())
def test_the_help_of_every_command_is_shown_as_it_is_written(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.output.startswith(f"Usage: lethe {' '.join(command)}") or "Usage: " in result.output
    if command in (("evidence",), ("quarantine", "show"), ("reveal",)):
        assert "STREAM/PARTITION/OFFSET[/INDEX]" in " ".join(result.output.split())


NUMBER = "923001234567"


@pytest.mark.parametrize(
    "arguments",
    [
        ("lookup", "+92", "300", NUMBER, "--case", "C", "--purpose", "p"),
        ("lookup", f"-{NUMBER}", "--case", "C", "--purpose", "p"),
        ("lookup", f"--{NUMBER}"),
        (NUMBER,),
        (f"+{NUMBER}",),
        ("quarantine", NUMBER),
        ("quarantine", "list", "--limit", NUMBER),
        ("quarantine", "list", "--limit", f"+{NUMBER}"),
        ("lookup", "x", "--case", "C", "--purpose", "p", "--since", NUMBER),
        ("reveal", NUMBER, "--case", "C", "--purpose", "p"),
        ("evidence", NUMBER, "--case", "C", "--purpose", "p"),
        ("hold", "release", NUMBER),
        ("certificates", "show", NUMBER + "x"),
        ("policy", "explain", NUMBER, NUMBER),
        ("formats", "show", NUMBER),
    ],
)
def test_an_error_repeats_nothing_that_was_typed(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lethe"), *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode in (1, 2)
    assert done.stderr
    assert NUMBER not in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == [], "no warehouse, no keys, no audit log"
