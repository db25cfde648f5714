"""Apache Kafka for tests, without starting one: how it is had, and what its nodes are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lethe.schemas.errors import ConfigurationError
from lethe.testing.brokers.kafka import __main__ as command
from lethe.testing.brokers.kafka import artifacts
from lethe.testing.brokers.kafka.cluster import KafkaCluster
from lethe.testing.brokers.kafka.node import Address, settings


def script(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, and an empty cache."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv(artifacts.CACHE_VARIABLE, str(tmp_path / "cache"))
    return folder


def test_no_java_is_said_with_what_to_install(programs: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs Java, and there is none: install Java 17"):
        artifacts.java()


def test_an_old_java_is_refused(programs: Path) -> None:
    script(programs, "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    with pytest.raises(ConfigurationError, match="not new enough"):
        artifacts.java()


def test_a_java_that_can_run_it_is_taken(programs: Path) -> None:
    script(programs, "java", "echo 'openjdk version \"21\" 2023-09-19' >&2")
    assert artifacts.java() == str(programs / "java")


def test_no_maven_is_said_with_what_to_install(programs: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no Maven to fetch it: install .*maven"):
        artifacts.libraries()


def test_a_download_that_fails_is_one_line_and_leaves_nothing(programs: Path, tmp_path: Path) -> None:
    script(programs, "mvn", "echo '[ERROR] Could not transfer artifact'; echo '[ERROR] -> [Help 1]'; exit 1")
    with pytest.raises(ConfigurationError, match=r"cannot be had: Could not transfer artifact$"):
        artifacts.libraries()
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_download_happens_once_and_asks_for_strict_checksums(programs: Path, tmp_path: Path) -> None:
    counted = tmp_path / "calls"
    # The last argument says where to; the shell's own words only, for there is no other program on this PATH.
    fill = "import pathlib, sys; jars = pathlib.Path(sys.argv[1]); jars.mkdir(); (jars / 'kafka.jar').touch()"
    body = f"""echo "$@" >> {counted}
for last in "$@"; do :; done
{sys.executable} -c "{fill}" "${{last#-DoutputDirectory=}}"
"""
    script(programs, "mvn", body)
    assert [artifacts.libraries(), artifacts.libraries()] == [
        tmp_path / "cache" / f"kafka-{artifacts.version()}"
    ] * 2
    assert (artifacts.libraries() / "kafka.jar").exists()
    calls = counted.read_text().splitlines()
    assert len(calls) == 1
    assert "--strict-checksums" in calls[0]


def test_the_command_fails_with_one_line_and_status_1(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "PATH": str(empty), artifacts.CACHE_VARIABLE: str(tmp_path / "cache")}
    environment.pop("JAVA_HOME", None)
    run = subprocess.run(
        [sys.executable, "-m", "lethe.testing.brokers.kafka", "--dir", str(tmp_path / "kafka"), "start"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "kafka").exists()


def test_wiping_takes_only_what_is_a_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x")
    assert command.main(["--dir", str(tmp_path), "wipe"]) == 1
    assert "nothing removed" in capsys.readouterr().err
    assert precious.exists()
    cluster = tmp_path / "kafka"
    cluster.mkdir()
    (cluster / "cluster.json").write_text("{}")
    assert command.main(["--dir", str(cluster), "wipe"]) == 0
    assert not cluster.exists()


def test_a_process_id_that_belongs_to_another_program_now_is_left_alone(tmp_path: Path) -> None:
    node = tmp_path / "node-1"
    node.mkdir()
    (node / "pid").write_text(str(os.getpid()))
    assert command.main(["--dir", str(tmp_path), "stop"]) == 0  # we are still here to see it


@pytest.mark.parametrize(("count", "replicas", "in_sync"), [(1, "1", "1"), (3, "3", "2")])
def test_nodes_listen_on_loopback_alone_and_keep_what_they_acknowledged(
    count: int, replicas: str, in_sync: str
) -> None:
    everyone = [Address(n, 9000 + n, 9100 + n) for n in range(1, count + 1)]
    for address in everyone:
        text = settings(address, everyone, Path("/data"))
        values = dict(line.split("=", 1) for line in text.splitlines())
        assert values["node.id"] == str(address.node)
        for listener in values["listeners"].split(",") + values["advertised.listeners"].split(","):
            assert "://127.0.0.1:" in listener
        assert len(values["controller.quorum.voters"].split(",")) == count
        for topic in ("offsets.topic", "transaction.state.log"):
            assert values[f"{topic}.replication.factor"] == replicas
        assert values["min.insync.replicas"] == values["transaction.state.log.min.isr"] == in_sync
        assert values["auto.create.topics.enable"] == "false"


def test_a_cluster_has_one_node_or_three() -> None:
    with pytest.raises(ConfigurationError, match="1 or 3 nodes, not 2"):
        KafkaCluster(2)
    with pytest.raises(ConfigurationError, match="not been started"):
        _ = KafkaCluster(1).bootstrap
