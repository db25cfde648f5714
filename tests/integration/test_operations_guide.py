"""docs/operations.md from an empty folder to a restored system: every block of it is run, in order, as it stands there.

Programs that change the operating system are stand-ins: `systemctl` starts and stops what the shipped units start, with
their environment files; `install` and the like leave owners alone; `aws` copies files to and from an S3 API.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packages import beside_needed
from secured import least_rights
from workers import until

from lethe.testing.brokers.kafka.certificates import Authority
from lethe.testing.brokers.kafka.secured import SecuredKafka
from lethe.testing.brokers.process import free_ports, port_is_open, spawn, stop

pytestmark = [pytest.mark.needs_kafka, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "operations.md"
BLOCK = re.compile(r"^```sh\n# (as root|as lethe|anybody)\n(.*?)^```", re.MULTILINE | re.DOTALL)
(SHELL_OF_LETHE,) = re.findall(r"^    (cd /etc/lethe && runuser .+)$", GUIDE.read_text("utf-8"), re.MULTILINE)
PLACES = ("/etc/lethe", "/etc/systemd", "/usr/lib/sysusers.d", "/var/lib/lethe", "/opt/lethe", "/backup")
TOPIC = "cdr.sms-report"
SERVICE_READY = """timeout 90 sh -c 'until curl --fail --silent --cacert tls/service-ca.pem https://127.0.0.1:9465/ready
do sleep 1; done'"""
USER = "operator"  # of the broker

STAND_INS = {
    "apt-get": "exit 0",
    "systemd-sysusers": "exit 0",
    "chown": "exit 0",
    "runuser": 'shift 3; exec "$@"',
    "install": """
words=(); while [ $# -gt 0 ]; do case "$1" in -o|-g) shift 2;; *) words+=("$1"); shift;; esac; done
exec /usr/bin/install "${words[@]}"
""",
    "systemctl": """
verb=$1; shift; [ "${1:-}" != --now ] || shift
for name in "$@"; do
    unit=%HOME%/etc/systemd/system/$name.service
    pid=%HOME%/$name.pid
    case $verb in
    enable|start)
        set -a; . "$(sed -n 's/^EnvironmentFile=//p' "$unit")"; set +a
        cd "$(sed -n 's/^WorkingDirectory=//p' "$unit")"
        setsid $(sed -n 's/^ExecStart=//p' "$unit") >> "%HOME%/$name.log" 2>&1 < /dev/null &
        echo $! > "$pid";;
    stop)
        [ -e "$pid" ] || continue
        kill -TERM "$(cat "$pid")" || true
        for _ in $(seq 300); do readlink "/proc/$(cat "$pid")/exe" > /dev/null || break; sleep 0.1; done
        ! readlink "/proc/$(cat "$pid")/exe"; rm "$pid";;
    esac
done
""",
    "aws": 'exec "$PYTHON" %HOME%/bin/aws.py "$@"',
}
SYNC = """
import os, sys, boto3
from pathlib import Path
assert sys.argv[1:3] == ["s3", "sync"], sys.argv
source, target = [word for word in sys.argv[3:] if not word.startswith("--")]
s3 = boto3.client("s3")
parts = lambda url: url.removeprefix("s3://").partition("/")[::2]
if target.startswith("s3://"):
    bucket, prefix = parts(target)
    for file in filter(Path.is_file, Path(source).rglob("*")):
        s3.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(source)}")
else:
    bucket, prefix = parts(source)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/"):
        for one in page.get("Contents", []):
            file = Path(target) / one["Key"].removeprefix(prefix + "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, one["Key"], str(file))
"""


@dataclass
class Machine:
    """A folder that stands for the root of a machine, and who runs commands there."""

    home: Path
    environment: dict[str, str]
    said: dict[str, str]  # what the guide calls things -> what they are called here
    made: int = 1  # batches of records, each with a seed of its own

    def put(self, text: str) -> str:
        """Put a text of the guide, or of a unit, onto this machine."""
        for name, here in self.said.items():
            text = text.replace(name, here)
        return text

    def run(self, who: str, script: str) -> str:
        """Run a block as the guide says it is run; it must succeed in each of its lines."""
        shell = SHELL_OF_LETHE if who == "as lethe" else "bash"
        done = subprocess.run(
            ["bash", "-c", self.put(shell)], cwd=self.home / "release", env=self.environment,
            input=f"set -eu -o pipefail\n{self.put(script)}", capture_output=True, text=True, timeout=400,
        )  # fmt: skip
        logs = "".join(log.read_text()[-1500:] for log in self.home.glob("*.log"))
        assert done.returncode == 0, f"{who}:\n{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}\n{logs}"
        return done.stdout

    def fails(self, command: str) -> str:
        """Run a command that has to end with status 1, and return what it says."""
        return self.run("as lethe", f"! {command} 2>&1")

    def take_in(self, count: int) -> None:
        """Produce that many records, which nobody has seen before."""
        self.made += 1
        said = f"--count {count} --seed {self.made} --topic {TOPIC}"
        self.run("as lethe", f"lethe generate --format infobip/sms-report {said}")

    def wait_for(self, count: int) -> None:
        """Wait until the ledger has that many records."""
        counted = f'lethe ledger --json | jq --exit-status "map(.records) | add == {count}"'
        self.run("as lethe", f"timeout 90 sh -c 'until {counted}; do sleep 1; done'")

    def close(self) -> None:
        """End what is still running, as a machine ends that is gone."""
        for file in self.home.glob("*.pid"):
            subprocess.run(["kill", "-KILL", file.read_text().strip()], check=False, capture_output=True)
            file.unlink()


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """An S3 API with the bucket of the guide in it."""
    (port,) = free_ports(1)
    server = spawn([str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)])
    until(lambda: port_is_open(port), 30, "the S3 server answers")
    endpoint = f"http://127.0.0.1:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/cdr-lake", method="PUT"), timeout=10).close()
    yield {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
    }  # fmt: skip
    stop(server)


@pytest.fixture
def machine(tmp_path: Path, secured: SecuredKafka, bucket: dict[str, str], wheel: Path) -> Iterator[Machine]:
    """An empty machine with a release, certificates of the site's authorities, and a broker to log in to."""
    home = tmp_path / "machine"
    for place in (*PLACES, "/bin", "/release/tls/renewed", "/etc/systemd/system"):
        if place not in ("/etc/lethe", "/opt/lethe", "/var/lib/lethe", "/backup"):
            (home / place[1:]).mkdir(parents=True, exist_ok=True)
    shutil.copy(wheel, home / "release")
    shutil.copytree(ROOT / "deploy", home / "release/deploy", ignore=shutil.ignore_patterns("__pycache__"))
    certificates(home / "release/tls", secured)
    stand_ins(home)
    metrics, service = free_ports(2)
    said = {place: f"{home}{place}" for place in PLACES} | {
        'keys_group = "lethe"': f'keys_group = "{os.getgid()}"', "KEYS_GROUP=lethe": f"KEYS_GROUP={os.getgid()}",
        "kafka-1:9093": secured.address("MUTUAL"), "9464": str(metrics), "9465": str(service),
    }  # fmt: skip
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("LETHE_", "PYTHON", "AWS_", "PIP_"))
    }
    environment = inherited | bucket | {
        "PATH": f"{home}/bin:{Path(sys.executable).parent}:{inherited['PATH']}",
        "HOME": str(home), "PYTHON": sys.executable,
        "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "LETHE_KAFKA__SESSION_TIMEOUT_MS": "6000", "LETHE_FLUSH__SECONDS": "1",
    }  # fmt: skip
    running = Machine(home, environment, said)
    for file in (home / "release/deploy/systemd").iterdir():
        file.write_text(running.put(file.read_text()))
    try:
        yield running
    finally:
        running.close()


def certificates(folder: Path, secured: SecuredKafka) -> None:
    """What the authorities of a site hand over: for the broker, for the service, and later a renewed one."""
    shutil.copy(secured.authority.file, folder / "kafka-ca.pem")
    for target in (folder / "renewed", folder):
        certificate, key = secured.authority.issue(USER)
        shutil.copy(certificate, target / "client.pem")
        shutil.copy(key, target / "client.key")
    authority = Authority(folder.parent.parent / "authority")
    certificate, key = authority.issue("service")
    shutil.copy(authority.file, folder / "service-ca.pem")
    shutil.copy(certificate, folder / "service.pem")
    shutil.copy(key, folder / "service.key")


def stand_ins(home: Path) -> None:
    for name, body in STAND_INS.items():
        file = home / "bin" / name
        file.write_text("#!/bin/bash\nset -eu\n" + body.replace("%HOME%", str(home)))
        file.chmod(0o755)
    (home / "bin/aws.py").write_text(SYNC)


def test_the_guide_from_an_empty_folder_to_a_restored_system(machine: Machine, secured: SecuredKafka) -> None:
    """What came between backup and restore is read again, and a look-up finds what it found before."""
    text = GUIDE.read_text("utf-8")
    assert len(BLOCK.findall(text)) == text.count("```sh\n") > 20
    whole, _, disasters = text.partition("\n## Disaster\n")
    blocks, log = BLOCK.findall(whole), machine.home / "lethe-worker.log"
    secured.allow(
        [*least_rights("lethe", TOPIC), ("CLUSTER", "kafka-cluster", "CREATE"), ("TOPIC", TOPIC, "WRITE")],
        USER,
    )
    try:
        for who, script in blocks:
            head, made, rest = script.partition("python3 -m venv /opt/lethe\n")
            said = machine.run(who, head + made)
            if made:
                beside_needed(machine.home / "opt/lethe", machine.home / "needed")
                assert "lethe 0" in machine.run(who, rest)
            if "lethe generate" in script:
                machine.said["+923001234567"] = somebody(machine)
            if "api search" in script:
                look, found = script, said
                assert int(found) >= 1
            if "renewed/client.pem" in script:
                until(lambda: "have changed" in log.read_text(), 30, "the new certificate is used")
            if "keys.tar.new" in script:
                back_up = script
                machine.take_in(200)
        machine.wait_for(1_200)
        machine.run("as lethe", "lethe ledger --check; lethe verify; lethe doctor")
        assert int(machine.run("anybody", look.replace("F-2041", "F-2042"))) >= int(found)
        # What was restored is what is copied from now on.
        machine.run("as root", back_up.replace("cdr-lake/lethe", "cdr-lake/restored"))
        walk_the_disasters(machine, secured, disasters, look)
        machine.run("as root", "systemctl stop lethe-worker lethe-serve")
    finally:
        secured.withdraw_all(USER)
        secured.delete_topics(TOPIC)
    shown = "".join(log.read_text() for log in machine.home.glob("*.log"))
    assert (machine.home / "etc/lethe/pin").read_text().strip() not in shown
    assert machine.said["+923001234567"].lstrip("+") not in shown


def walk_the_disasters(machine: Machine, secured: SecuredKafka, text: str, look: str) -> None:
    """Each loss is made first; then its steps are walked, and what is promised of it is looked at."""
    sections = re.split(r"^### (.+)$", text, flags=re.MULTILINE)[1:]
    walked = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(walked) == [
        "The machine of a worker", "The broker", "The service's database", "The module", "The audit",
        "The key directory",
    ]  # fmt: skip
    state, verified = machine.home / "var/lib/lethe", "lethe ledger --check; lethe verify"
    search = iter(look.replace("F-2041", f"D-{number}") for number in range(9))

    def walk(what: str) -> None:
        for who, script in BLOCK.findall(walked[what]):
            if "verify --key" in script:
                shutil.rmtree(state / "keys")  # now there is no copy either
            if script.startswith("lethe doctor"):
                machine.wait_for(150)  # what Kafka still had, in a new warehouse
            machine.run(who, script)
        machine.run("as root", SERVICE_READY)

    machine.take_in(100)
    machine.wait_for(1_300)
    machine.close()
    for place in ("etc/lethe", "var/lib/lethe"):
        shutil.rmtree(machine.home / place)
        (machine.home / place).mkdir()
    walk("The machine of a worker")
    machine.run("as lethe", f"{verified}; lethe audit verify; lethe keys check")

    secured.delete_topics(TOPIC)
    walk("The broker")
    machine.take_in(150)
    machine.wait_for(1_450)

    for file in (state / "service").iterdir():
        file.unlink()
    walk("The service's database")
    found = int(machine.run("anybody", next(search)))
    assert found >= 1

    shutil.rmtree(state / "softhsm")
    (state / "softhsm").mkdir()
    assert "NoSuchToken" in machine.fails("lethe keys check")
    walk("The module")
    assert int(machine.run("anybody", next(search))) == found

    shutil.rmtree(state / "audit")
    assert "finding" in machine.fails("lethe audit verify")
    walk("The audit")
    assert int(machine.run("anybody", next(search))) == found
    assert "not as it was signed" in machine.fails("lethe audit verify")  # the look-ups since the copy

    shutil.rmtree(state / "keys")
    assert "key directory" in machine.fails("lethe doctor")
    walk("The key directory")
    assert int(machine.run("anybody", next(search))) >= 0


def somebody(machine: Machine) -> str:
    """Somebody who is in the records that the guide generates."""
    out = "lethe generate --format infobip/sms-report --count 1000 --seed 1 --out ../../records.ndjson"
    machine.run("as lethe", out)
    first = json.loads((machine.home / "records.ndjson").read_text().splitlines()[0])
    return "+" + str((first.get("results") or [first])[0]["to"]).lstrip("+")
