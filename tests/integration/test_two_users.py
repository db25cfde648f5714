"""Worker and service under two system users with one group: each does its work, and nobody else opens a key.

Three users of numbers that no account has: the worker's, the service's, and a person's, who is in no group of theirs.
Root starts their processes; anybody else needs `sudo` without a password for that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from brokers import Broker
from workers import LETHE, SMS, traffic

from lethe.operations.access.signed_requests import new_key, private_key, sign
from lethe.streams.worker.control_topic import REQUESTS, RESPONSES
from lethe.testing.brokers.process import free_ports, port_is_open

GROUP, WORKER, SERVICE, PERSON = 61_200, 61_201, 61_202, 61_203
ROOT = Path(__file__).parents[2]
NEEDED = sorted({str(ROOT), sys.base_prefix, sys.prefix})
# The checkout and the interpreter may lie in somebody's home: in a name space of its own the process finds
# nothing else there, and may look at that.
_REACHABLE = """
set -eu
for needed in $NEEDED; do
    closed=$needed
    for above in $(p=$needed; while [ "$p" != / ]; do p=$(dirname "$p"); echo "$p"; done); do
        case $(stat -c %A "$above") in *x|*t) ;; *) closed=$above;; esac
    done
    [ "$closed" != "$needed" ] || continue
    mkdir -p "$STASH$needed"; mount --bind "$needed" "$STASH$needed"; shut="${shut:-} $closed"
done
for closed in ${shut:-}; do mountpoint -q "$closed" || mount -t tmpfs -o mode=755 tmpfs "$closed"; done
for needed in $NEEDED; do
    [ ! -d "$STASH$needed" ] || { mkdir -p "$needed"; mount --bind "$STASH$needed" "$needed"; }
done
exec setpriv --reuid="$AS" --regid="$WITH" --clear-groups "$@"
"""


def as_root(*command: str) -> list[str]:
    return list(command) if os.geteuid() == 0 else ["sudo", "-n", *command]


@dataclass
class Machine:
    """A place that several users work in, and what is running there."""

    home: Path
    broker: Broker
    settings: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, user: int, *arguments: str, **more: str) -> list[str]:
        """What starts `lethe` for a user: its group is that of worker and service, unless it is a person."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8",
            **self.settings, **more,
        }  # fmt: skip
        own = {
            "NEEDED": " ".join(NEEDED), "STASH": str(self.home / "stash"), "AS": str(user),
            "WITH": str(PERSON if user == PERSON else GROUP),
        }  # fmt: skip
        words = [f"{name}={value}" for name, value in (own | environment).items()]
        start = ["unshare", "--mount", "--propagation", "private", "bash", "-c", _REACHABLE, "-"]
        return as_root("env", "-i", *words, *start, LETHE, *arguments)

    def run(self, user: int, *arguments: str, status: int = 0, **more: str) -> str:
        """Run a command as a user, for at most two minutes; it must end with this status."""
        done = subprocess.run(
            self.command(user, *arguments, **more), capture_output=True, text=True, timeout=120, cwd="/",
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == status, (
            f"{arguments}: {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        )
        return done.stdout + done.stderr

    def worker(self) -> None:
        """Run a worker to the end of what there is."""
        self.run(WORKER, "worker", "--stop-at-end")

    def start(self, user: int, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start a command as a user; it is ended with the machine."""
        process = subprocess.Popen(
            self.command(user, *arguments, **more), cwd="/", text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.running.append(process)
        return process

    def serve(self, port: int) -> None:
        """Start the service and wait until it answers."""
        process = self.start(SERVICE, "serve", LETHE_SERVE__PORT=str(port))
        deadline = time.monotonic() + 120
        while not port_is_open(port):
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service does not answer"
            time.sleep(0.2)

    def close(self) -> None:
        for process in self.running:
            subprocess.run(as_root("kill", "-TERM", str(process.pid)), check=False)
            process.wait(120)
        subprocess.run(as_root("rm", "-rf", str(self.home)), check=True)


@pytest.fixture
def machine(broker: Broker) -> Iterator[Machine]:
    """What the operations guide makes: folders for both users, one of the service alone."""
    if subprocess.run(as_root("true"), check=False, capture_output=True).returncode != 0:
        pytest.fail("this test starts processes of two users: run it as root, or allow sudo", pytrace=False)
    home = Path(tempfile.mkdtemp(prefix="lethe-users-", dir="/tmp"))
    home.chmod(0o755)
    for name, mode, owner in (
        ("warehouse", "2770", WORKER), ("keys", "2770", WORKER), ("audit", "2770", WORKER), ("exports", "0700", WORKER),
        ("service", "0700", SERVICE),
    ):  # fmt: skip
        place = ["-m", mode, "-o", str(owner), "-g", str(GROUP)]
        subprocess.run(as_root("install", "-d", *place, str(home / name)), check=True)
    topic = broker.topic("users", 1)
    broker.produce(topic, [value for _, value in traffic(300, malformed=0)])
    settings = {
        "LETHE_ROOT": f"{home}/warehouse", "LETHE_KEYS_DIR": f"{home}/keys", "LETHE_AUDIT_DIR": f"{home}/audit",
        "LETHE_EXPORTS_DIR": f"{home}/exports", "LETHE_SERVE__DATABASE": f"sqlite:///{home}/service/service.db",
        "LETHE_KEYS_GROUP": str(GROUP), "LETHE_SERVE__SECOND_FACTOR": "choice", "LETHE_BOOTSTRAP": broker.bootstrap,
        "LETHE_SOURCES": json.dumps({topic: SMS}), "LETHE_KAFKA__SESSION_TIMEOUT_MS": "6000",
        "LETHE_KAFKA__GROUP": topic, "LETHE_METRICS_PORT": "0",
    }  # fmt: skip
    found = Machine(home, broker, settings)
    try:
        yield found
    finally:
        found.close()


def ask(port: int, path: str, what: dict[str, Any], token: str = "", method: str = "POST") -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{path}", json.dumps(what).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}, method=method,
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def somebody() -> str:
    record = json.loads(traffic(300, malformed=0)[0][1])
    return "+" + str((record.get("results") or [record])[0]["to"]).lstrip("+")


def modes(folder: Path) -> dict[str, int]:
    listed = subprocess.run(
        as_root("find", str(folder), "-printf", "%m %P\\n"), check=True, capture_output=True, text=True
    )
    return {
        name: int(mode, 8) for mode, _, name in (line.partition(" ") for line in listed.stdout.splitlines())
    }


def test_worker_and_service_work_under_users_of_their_own(machine: Machine) -> None:
    """The service answers what the worker took in, before and after; its entries stand in the worker's audit."""
    number = somebody()
    machine.worker()
    first = json.loads(machine.run(SERVICE, "users", "add", "amal", "--role", "investigator", "--json"))
    (port,) = free_ports(1)
    machine.serve(port)
    token = ask(port, "sessions", {"name": first["name"], "password": first["password"]})["token"]
    own = {"password": first["password"], "new": "three lanterns of the harbour"}
    ask(port, "account/password", own, token, "PUT")
    case = ask(port, "cases", {"reference": "F-2041", "purpose": "fraud"}, token)["id"]
    before = ask(port, "search", {"case": case, "values": [number]}, token)["total"]
    assert before >= 1
    (topic,) = json.loads(machine.settings["LETHE_SOURCES"])
    machine.broker.produce(topic, [value for _, value in traffic(300, malformed=0)])
    machine.worker()  # anchors the audit, whose first entries the service wrote
    assert ask(port, "search", {"case": case, "values": [number]}, token)["total"] == 2 * before

    # Each of them writes where the other wrote first.
    machine.run(WORKER, "lookup", number, "--case", "F-2041", "--purpose", "fraud")
    machine.run(WORKER, "audit", "rotate")
    ask(port, "search", {"case": case, "values": [number]}, token)
    for user in (WORKER, SERVICE):
        machine.run(user, "audit", "verify")
        machine.run(user, "keys", "check")
        machine.run(user, "ledger", "--check")
        said = json.loads(machine.run(user, "doctor", "--json", status=0))
        assert not [c for c in said if c["state"] == "wrong"], said
        own = [c for c in said if c["what"] in ("key directory", "audit log", "store") and c["state"] != "ok"]
        assert own == []
    for name in ("warehouse", "keys", "audit", "service"):
        for file, mode in modes(machine.home / name).items():
            assert mode & 0o007 == 0, (name, file, oct(mode))

    # A person is neither of them.
    assert "Permission denied" in machine.run(PERSON, "keys", "check", status=1)
    said = machine.run(PERSON, "lookup", number, "--case", "F-2041", "--purpose", "fraud", status=1)
    assert "Permission denied" in said


def test_the_worker_does_what_is_signed_by_an_account_of_the_service(machine: Machine) -> None:
    """The database lies in a folder for both: the service keeps accounts, cases and keys, the worker checks by them."""
    shared = machine.home / "accounts"
    subprocess.run(
        as_root("install", "-d", "-m", "2770", "-o", str(SERVICE), "-g", str(GROUP), str(shared)), check=True
    )
    machine.settings["LETHE_SERVE__DATABASE"] = f"sqlite:///{shared}/service.db"
    number = somebody()
    machine.worker()
    added = machine.run(SERVICE, "users", "add", "dsr-desk", "--role", "privacy officer", "--json")
    password = json.loads(added)["password"]
    pem, public = new_key()
    machine.run(SERVICE, "users", "keys", "add", "dsr-desk", public)
    (port,) = free_ports(1)
    machine.serve(port)
    token = ask(port, "sessions", {"name": "dsr-desk", "password": password})["token"]
    own = {"password": password, "new": "three lanterns of the harbour"}
    ask(port, "account/password", own, token, "PUT")
    ask(port, "cases", {"reference": "DSR-1", "purpose": "person"}, token)
    machine.start(WORKER, "worker")
    request = {
        "id": str(uuid.uuid4()),
        "command": "restrict",
        "subject": number,
        "case": "DSR-1",
        "purpose": "asked",
    }
    signed = sign(request, private_key(pem), datetime.now(UTC))
    machine.broker.produce(REQUESTS, [json.dumps(signed).encode()])
    deadline = time.monotonic() + 240
    while not (
        told := [
            a for m in machine.broker.read(RESPONSES) if (a := json.loads(m.value()))["id"] == signed["id"]
        ]
    ):
        assert time.monotonic() < deadline, "no answer"
        time.sleep(0.5)
    assert (told[0]["state"], told[0].get("changed")) == ("done", True), told
    # The service still writes where the worker wrote.
    ask(port, "cases", {"reference": "DSR-2", "purpose": "person"}, token)
    assert {name: oct(mode) for name, mode in modes(shared).items() if mode & 0o007} == {}
    assert "Permission denied" in machine.run(PERSON, "users", "list", status=1)


def test_a_directory_of_a_group_is_refused_unless_the_settings_name_it(machine: Machine) -> None:
    """What is open by accident, or to the wrong ones, stays shut."""
    machine.worker()
    del machine.settings["LETHE_KEYS_GROUP"]
    assert "name its group in `keys_group`" in machine.run(WORKER, "keys", "check", status=1)
    machine.settings["LETHE_KEYS_GROUP"] = str(PERSON)
    assert f"chgrp {PERSON}" in machine.run(WORKER, "keys", "check", status=1)
    machine.settings["LETHE_KEYS_GROUP"] = str(GROUP)
    for mode, advice in (("2771", "chmod 2770"), ("2774", "chmod 2770"), ("0770", "chmod 2770")):
        subprocess.run(as_root("chmod", mode.rjust(5, "0"), str(machine.home / "keys")), check=True)
        assert advice in machine.run(WORKER, "keys", "check", status=1)
        assert advice in machine.run(WORKER, "doctor", status=1)
    subprocess.run(as_root("chmod", "02770", str(machine.home / "keys")), check=True)
    machine.run(WORKER, "keys", "check")
    (key,) = [name for name in modes(machine.home / "keys") if name.endswith("log.signing")][:1]
    subprocess.run(as_root("chmod", "0664", str(machine.home / "keys" / key)), check=True)
    assert "chmod 660" in machine.run(WORKER, "keys", "rotate", status=1)


def test_what_each_of_them_can_do_to_the_keys(machine: Machine) -> None:
    """A person: nothing. Either of the two could delete one: that is seen at once, and a copy undoes it."""
    number, keys = somebody(), machine.home / "keys"
    asked = ("lookup", number, "--case", "F-2041", "--purpose", "fraud")
    machine.worker()
    (key, *_) = sorted(name for name in modes(keys) if ".w12.key" in name)
    copy = machine.home / "copy"
    subprocess.run(as_root("cp", "-a", str(keys), str(copy)), check=True)

    def shell(user: int, words: str) -> int:
        groups = ["--regid", str(PERSON if user == PERSON else GROUP), "--clear-groups"]
        command = as_root("setpriv", "--reuid", str(user), *groups, "sh", "-c", words)
        return subprocess.run(command, check=False, capture_output=True).returncode

    for attempt in (
        f"cat {keys}/{key}",
        f"rm {keys}/{key}",
        f": > {keys}/{key}",
        f": > {keys}/new",
        f"ls {keys}",
    ):
        assert shell(PERSON, attempt) != 0, attempt
    assert shell(SERVICE, f"cat {keys}/{key}") == 0  # it has to open what it looks up
    assert shell(SERVICE, f"rm {keys}/{key}") == 0  # docs/keys.md says so
    for user in (WORKER, SERVICE):
        name = key.removesuffix(".key")
        assert f"the key {name} is not in" in machine.run(user, "keys", "check", status=1)
        assert f"keys {name}" in machine.run(user, "doctor", status=1)
        assert f"the key {name} is not in" in machine.run(user, *asked)
        machine.run(user, "keys", "list")
    assert key not in modes(keys), "nothing makes another key in its place"
    subprocess.run(as_root("cp", "-a", str(copy / key), str(keys)), check=True)
    machine.run(WORKER, "keys", "check")
    assert "is not in" not in machine.run(SERVICE, *asked)
