"""Every command shown in the README and the guides is run, as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Broker

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
OWN_TEST = "operations.md"  # test_operations_guide.py: its commands build on each other
DOCS = [path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != OWN_TEST]
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
FENCE = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUNS_ON = ("worker", "serve")
MAIL = (
    b"Mar 30 17:44:53 mx1 postfix/smtp[1]: 4XyZ1A2b3C: to=<jane.doe@example.org>, relay=mx.example.org[192.0.2.7]:25, "
    b"delay=1.2, delays=0.1/0/0.5/0.6, dsn=2.0.0, status=sent (250 2.0.0 Ok)\n"
)
ELSEWHERE = (
    "lethe case-file verify",  # test_case_file.py: it takes a case, its targets and a second person
    *(
        f"lethe {name}" for name in ("login", "logout", "whoami", "case ", "approvals")
    ),  # test_signed_in_commands.py
)


def shown(guide: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Commands of a guide's fenced blocks, continuation lines joined, with the variables set above them."""
    for block in FENCE.findall(guide.read_text("utf-8")):
        env: dict[str, str] = {}
        for line in block.replace("\\\n", " ").splitlines():
            if not re.match(r"(lethe|make|LETHE_[A-Z_]+=)", line):
                continue
            words = shlex.split(line, comments=True)
            if words and re.fullmatch(r"LETHE_[A-Z_]+=.*", words[0]) and len(words) == 1:
                name, _, value = words[0].partition("=")
                env[name] = value
            elif words and words[0] in ("lethe", "make"):
                yield shlex.join(words), dict(env)


COMMANDS = [(guide.name, *command) for guide in GUIDES for command in shown(guide)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small warehouse that has had some traffic."""
    home = tmp_path_factory.mktemp("guide")
    env = environment(home)
    for command in (
        "lethe generate --format infobip/sms-report --count 300 --seed 1 --malformed 0.02 --out records.ndjson",
        "lethe ingest records.ndjson --format infobip/sms-report",
    ):
        subprocess.run(shlex.split(command), cwd=home, env=env, check=True, capture_output=True, timeout=90)
    (home / "mail.log").write_bytes(MAIL)
    return home


def environment(home: Path) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_")}
    return env | {
        "PATH": f"{BIN}:{env['PATH']}",
        "LETHE_ROOT": str(home / "warehouse"),
        "LETHE_KEYS_DIR": str(home / "keys"),
        "LETHE_METRICS_PORT": "0",
        "LETHE_KAFKA__SESSION_TIMEOUT_MS": "6000",
    }


def test_the_readme_shows_its_two_commands() -> None:
    assert [c for name, c, _ in COMMANDS if name == "README.md"][:2] == ["make demo", "make test"]


def test_every_make_target_shown_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shown_targets = {shlex.split(c)[1] for _, c, _ in COMMANDS if c.startswith("make ")}
    assert shown_targets <= targets


@pytest.mark.parametrize(
    ("guide", "command", "variables"),
    [c for c in COMMANDS if c[1].startswith("lethe ") and not c[1].startswith(ELSEWHERE)],
    ids=lambda v: str(v)[:60],
)
def test_a_command_shown_works(
    guide: str, command: str, variables: dict[str, str], home: Path, broker: Broker
) -> None:
    env = environment(home)
    topic = broker.topic("cdr.sms-report", 1)
    shown_here = {
        k: v for k, v in variables.items() if k not in ("LETHE_ROOT", "LETHE_KEYS_DIR", "LETHE_SOURCES")
    }
    env |= shown_here | {
        "LETHE_BOOTSTRAP": broker.bootstrap,
        "LETHE_SOURCES": f'{{"{topic}": "infobip/sms-report"}}',
    }
    env["LETHE_KAFKA__GROUP"] = topic
    words = shlex.split(command.replace("FILE", "records.ndjson").replace("NAME", "infobip/sms-report"))
    if words[1] in RUNS_ON and "--stop-at-end" not in words:
        process = subprocess.Popen(
            words, cwd=home, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _until_it_can_be_ended(process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()[-2000:]
        return
    asked = b"+923005550142\n"  # for those that read what to look for from standard input
    done = subprocess.run(words, cwd=home, env=env, input=asked, capture_output=True, timeout=180)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def _until_it_can_be_ended(process: subprocess.Popen[bytes]) -> None:
    """Wait until a program has said what it does at SIGTERM, and then until it works."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text("ascii")
        caught = int(re.findall(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            break
        time.sleep(0.2)
    time.sleep(3)
