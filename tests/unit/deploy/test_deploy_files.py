"""The container file, the compose file and the unit agree with the code and keep key material safe."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from lethe.operations.runtime import Runtime
from lethe.operations.settings import DEFAULT_SOURCES, Settings, load
from lethe.testing.brokers.kafka import artifacts

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
PORT = Settings().metrics_port


def instructions() -> list[tuple[str, str]]:
    """The Containerfile as (instruction, rest), continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def last_stage() -> list[tuple[str, str]]:
    everything = instructions()
    start = max(i for i, (word, _) in enumerate(everything) if word == "FROM")
    return everything[start:]


def image_environment() -> dict[str, str]:
    pairs = [rest for word, rest in last_stage() if word == "ENV"]
    return dict(pair.split("=", 1) for rest in pairs for pair in shlex.split(rest))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


UNITS = {"lethe-worker": "worker", "lethe-serve": "serve"}
USERS = {"lethe-worker": "lethe", "lethe-serve": "lethe-serve"}


def unit(name: str = "lethe-worker") -> dict[str, list[str]]:
    """A unit's settings, each with its values in order (systemd lets a setting be repeated)."""
    values: dict[str, list[str]] = defaultdict(list)
    for line in (DEPLOY / "systemd" / f"{name}.service").read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            values[name].append(value)
    return values


def environment_file(name: str) -> dict[str, str]:
    lines = (DEPLOY / "systemd" / f"{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def accepted(environment: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that a worker reads from this environment: unknown names and wrong values are refused."""
    chosen = {name: str(value) for name, value in environment.items() if name.startswith("LETHE_")}
    assert chosen
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    empty = tmp_path / "lethe.toml"
    empty.write_text("")
    return load(empty, chosen)


class TestContainer:
    def test_every_base_is_pinned_by_a_full_version(self) -> None:
        for word, rest in instructions():
            if word == "FROM":
                assert re.match(
                    r"docker\.io/library/python:3\.11\.\d+-(slim-bookworm|bookworm AS build)$", rest
                )

    def test_everything_that_is_copied_is_there(self) -> None:
        for word, rest in instructions():
            if word == "COPY" and not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    assert (ROOT / source).exists(), source

    def test_every_room_of_the_package_is_in_it(self) -> None:
        rooms = {link.name for link in (ROOT / "lethe").iterdir() if link.is_symlink()} | {"lethe", "native"}
        assert {"schemas", "streams", "console", "operations"} <= rooms
        copied = {rest.split()[0] for word, rest in instructions() if word == "COPY"}
        assert rooms <= copied
        allowed = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
        assert copied - {"--from=build", "deploy/build.lock"} <= {
            line[1:] for line in allowed if line[0:1] == "!"
        }

    def test_nothing_is_installed_without_its_hash(self) -> None:
        commands = " ".join(rest for word, rest in instructions() if word == "RUN")
        for command in re.findall(r"pip (?:--python \S+ )?install [^&]*", commands):
            assert "--no-deps" in command
            assert "--require-hashes" in command or "--no-index" in command

    def test_the_build_lock_has_a_hash_for_every_line(self) -> None:
        lines = [
            line for line in (DEPLOY / "build.lock").read_text().splitlines() if not line.startswith("#")
        ]
        assert lines
        for line in lines:
            assert re.fullmatch(r"[a-z0-9-]+==\S+( --hash=sha256:[0-9a-f]{64})+", line)

    def test_it_does_not_run_as_root(self) -> None:
        users = [rest for word, rest in last_stage() if word == "USER"]
        assert users == ["10001:10001"]

    def test_its_health_is_asked_on_the_port_that_the_worker_serves(self) -> None:
        values = dict(last_stage())
        assert values["EXPOSE"] == str(PORT)
        command = json.loads(values["HEALTHCHECK"].partition("CMD ")[2])
        assert command == ["python", "-m", "lethe.deploy.health", "/live"]
        assert json.loads(values["ENTRYPOINT"]) + json.loads(values["CMD"]) == ["lethe", "worker"]
        assert values["STOPSIGNAL"] == "SIGTERM"

    def test_its_environment_is_one_that_the_worker_accepts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = accepted(image_environment(), tmp_path, monkeypatch)
        assert settings.metrics_host == "0.0.0.0"
        made = next(rest for word, rest in last_stage() if word == "RUN" and "install -d -o lethe" in rest)
        for folder in (settings.root, settings.keys_dir, settings.audit_dir):
            assert str(folder) in made.split()


class TestCompose:
    def workers(self, compose: dict[str, Any]) -> list[dict[str, Any]]:
        return [service for name, service in compose["services"].items() if name.startswith("worker")]

    def test_the_service_reads_what_the_workers_write_and_keeps_its_own_state_apart(
        self, compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service = compose["services"]["serve"]
        settings = accepted(service["environment"], tmp_path, monkeypatch)
        shared = set(self.workers(compose)[0]["volumes"]) - {f"exports:{settings.keys_dir.parent}/exports"}
        assert shared < set(service["volumes"])
        assert settings.serve.url(settings.keys_dir) == "sqlite:////var/lib/lethe/service/service.db"
        assert "service:/var/lib/lethe/service" in service["volumes"]
        assert service["command"] == ["serve"]
        assert service["ports"] == [f"127.0.0.1:{PORT + 2}:{settings.serve.port}"]
        assert service["healthcheck"]["test"][-1] == str(settings.serve.port)
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])

    def test_two_workers_share_one_warehouse(self, compose: dict[str, Any]) -> None:
        first, second = self.workers(compose)
        assert first["volumes"] == second["volumes"]
        assert first["environment"] == second["environment"]

    def test_keys_audit_and_warehouse_are_volumes_of_their_own(
        self, compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for worker in self.workers(compose):
            mounts = dict(reversed(volume.split(":")) for volume in worker["volumes"])
            settings = accepted(worker["environment"], tmp_path, monkeypatch)
            named = [mounts[str(place)] for place in (settings.root, settings.keys_dir, settings.audit_dir)]
            assert len(set(named)) == 3
            assert set(named) <= set(compose["volumes"])

    def test_workers_cannot_write_elsewhere_gain_rights_or_leak_memory_to_disk(
        self, compose: dict[str, Any]
    ) -> None:
        for worker in self.workers(compose):
            assert worker["read_only"] is True
            assert worker["cap_drop"] == ["ALL"]
            assert worker["security_opt"] == ["no-new-privileges:true"]
            assert worker["ulimits"]["core"] == 0
            assert worker["mem_limit"] == worker["memswap_limit"]
            assert "user" not in worker  # the image's own, which is not root

    def test_workers_can_write_the_exports_that_are_asked_for_by_message(
        self, compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for worker in self.workers(compose):
            mounts = [volume.partition(":")[2] for volume in worker["volumes"]]
            settings = accepted(worker["environment"], tmp_path, monkeypatch)
            assert str(Runtime(settings).exports) in mounts

    def test_every_service_is_limited(self, compose: dict[str, Any]) -> None:
        for service in compose["services"].values():
            assert {"mem_limit", "logging", "cap_drop"} <= service.keys()

    def test_a_worker_has_time_to_commit_before_it_is_killed(self, compose: dict[str, Any]) -> None:
        for worker in self.workers(compose):
            assert int(worker["stop_grace_period"].rstrip("s")) > Settings().flush.seconds

    def test_metrics_are_published_on_this_machine_alone_each_on_its_port(
        self, compose: dict[str, Any]
    ) -> None:
        ports = [port for worker in self.workers(compose) for port in worker["ports"]]
        assert ports == [f"127.0.0.1:{PORT}:{PORT}", f"127.0.0.1:{PORT + 1}:{PORT}"]

    def test_workers_start_when_the_topics_that_they_read_have_been_made(
        self, compose: dict[str, Any]
    ) -> None:
        for worker in self.workers(compose):
            assert worker["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
        topics = compose["services"]["topics"]
        assert topics["depends_on"] == {"kafka": {"condition": "service_healthy"}}
        (made,) = re.findall(r"for topic in (.+); do", topics["command"][0])
        assert set(made.split()) == set(DEFAULT_SOURCES)

    def test_the_broker_is_the_one_that_the_tests_run(self, compose: dict[str, Any]) -> None:
        image = f"docker.io/apache/kafka:{artifacts.version()}"
        services = compose["services"]
        assert services["kafka"]["image"] == services["topics"]["image"] == image
        broker = services["kafka"]["environment"]
        bootstrap = self.workers(compose)[0]["environment"]["LETHE_BOOTSTRAP"]
        assert broker["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{bootstrap}"
        assert re.fullmatch(r"[A-Za-z0-9_-]{22}", broker["CLUSTER_ID"])

    def test_a_record_of_the_largest_size_that_lethe_takes_fits_into_the_topic(
        self, compose: dict[str, Any]
    ) -> None:
        (limit,) = re.findall(r"max\.message\.bytes=(\d+)", compose["services"]["topics"]["command"][0])
        assert int(limit) > Settings().limits.record_bytes


@pytest.mark.parametrize("name", UNITS)
class TestUnit:
    def test_it_runs_as_a_fixed_user_that_is_nobody(self, name: str) -> None:
        values = unit(name)
        assert values["ExecStart"] == [f"/opt/lethe/bin/lethe {UNITS[name]}"]
        assert (values["User"], values["Group"]) == ([USERS[name]], ["lethe"])
        assert "DynamicUser" not in values
        made = (DEPLOY / "systemd" / "lethe.sysusers.conf").read_text()
        assert f"u {values['User'][0]} -:lethe " in made
        assert values["Restart"] == ["on-failure"]

    def test_key_material_reaches_no_disk(self, name: str) -> None:
        values = unit(name)
        assert values["LimitCORE"] == ["0"]
        assert values["MemorySwapMax"] == ["0"]

    @pytest.mark.parametrize(
        "setting",
        [
            "NoNewPrivileges",
            "PrivateTmp",
            "PrivateDevices",
            "ProtectHome",
            "ProtectClock",
            "ProtectControlGroups",
            "ProtectHostname",
            "ProtectKernelLogs",
            "ProtectKernelModules",
            "ProtectKernelTunables",
            "LockPersonality",
            "MemoryDenyWriteExecute",
            "RestrictNamespaces",
            "RestrictRealtime",
            "RestrictSUIDSGID",
            "RemoveIPC",
        ],
    )
    def test_it_is_confined(self, setting: str, name: str) -> None:
        assert unit(name)[setting] == ["yes"]

    def test_it_has_no_capability_and_only_the_system_calls_of_a_service(self, name: str) -> None:
        values = unit(name)
        assert values["CapabilityBoundingSet"] == values["AmbientCapabilities"] == [""]
        assert values["SystemCallFilter"] == ["@system-service", "~@privileged"]
        assert values["RestrictAddressFamilies"] == ["AF_INET AF_INET6 AF_UNIX"]

    def test_it_writes_only_where_its_settings_say(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = unit(name)
        assert values["ProtectSystem"] == ["strict"]
        assert values["EnvironmentFile"] == [f"/etc/lethe/{UNITS[name]}.env"]
        settings = accepted(environment_file(UNITS[name]), tmp_path, monkeypatch)
        (writable,) = values["ReadWritePaths"]
        # The worker makes them: systemd gives what a unit names there to its user, with all that is in it.
        made = {f"/var/lib/{name}" for name in unit()["StateDirectory"][0].split()}
        assert unit()["StateDirectoryMode"] == ["2770"]
        for folder in (settings.root, settings.keys_dir, settings.audit_dir):
            assert Path(str(folder)).is_relative_to(writable)
            assert str(folder) in made

    def test_the_two_share_what_is_made_and_nobody_else_does(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = unit(name)
        assert values["UMask"] == ["0007"]
        assert accepted(environment_file(UNITS[name]), tmp_path, monkeypatch).keys_group == values["Group"][0]
        if name == "lethe-serve":
            assert (values["StateDirectory"], values["StateDirectoryMode"]) == (["lethe/service"], ["0700"])

    def test_it_leaves_the_broker_to_the_configuration_file(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The environment wins: a broker named there would be the one, whatever the file says."""
        for variable, value in environment_file(UNITS[name]).items():
            monkeypatch.setenv(variable, value)
        file = tmp_path / "lethe.toml"
        file.write_text('bootstrap = "kafka-1:9093"\n')
        assert load(file).bootstrap == "kafka-1:9093"

    def test_it_is_given_time_to_finish(self, name: str) -> None:
        needed = Settings().flush.seconds
        assert int(unit(name)["TimeoutStopSec"][0]) > needed

    def test_systemd_has_nothing_to_say_against_it(self, name: str, tmp_path: Path) -> None:
        """The unit's command is put where this machine has one: the rest is looked at as it is."""
        assert shutil.which("systemd-analyze"), "systemd-analyze is not there: apt-get install systemd"
        file = tmp_path / f"{name}.service"
        text = (DEPLOY / "systemd" / f"{name}.service").read_text()
        text = text.replace("/opt/lethe/bin/lethe", "/bin/true").replace(f"User={USERS[name]}", "User=root")
        file.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        rated = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(file)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert rated.returncode == 0, rated.stdout[-500:]  # at most 2.0 of 10, the lower the safer
