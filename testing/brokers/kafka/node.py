"""One Kafka node: its settings, its data directory and its process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.testing.brokers.process import LOOPBACK, spawn, stop

# Small and quick to start rather than fast for long: the nodes share a machine with the tests.
_JVM = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
_LOGGING = Path(__file__).with_name("log4j2.properties")


@dataclass(frozen=True)
class Address:
    """A node's number (from 1) and its two loopback ports."""

    node: int
    broker_port: int
    controller_port: int

    @property
    def bootstrap(self) -> str:
        """Return `host:port` that clients connect to."""
        return f"{LOOPBACK}:{self.broker_port}"


def settings(
    address: Address,
    everyone: Sequence[Address],
    data: Path,
    joining_ms: int = 0,
    more: Mapping[str, Any] | None = None,
) -> str:
    """Return the `server.properties` of one node of the cluster `everyone`.

    `joining_ms`: how long a new consumer group waits for more members before it is given its shares.
    `more`: settings that are added, or stand in place of these.
    """
    replicas = min(3, len(everyone))
    in_sync = max(1, replicas - 1)
    voters = ",".join(f"{a.node}@{LOOPBACK}:{a.controller_port}" for a in everyone)
    lines = {
        "process.roles": "broker,controller",
        "node.id": address.node,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{address.bootstrap},CONTROLLER://{LOOPBACK}:{address.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{address.bootstrap}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        # As on a well-kept cluster: no topic by misspelling one, no acknowledged record lost with one node.
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        # Internal topics: few partitions, so that the first group and the first transaction start at once.
        "offsets.topic.num.partitions": 3,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": 3,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # What happens after minutes in production happens within the seconds that a test can wait.
        "group.initial.rebalance.delay.ms": joining_ms,
        "group.min.session.timeout.ms": 1000,
        "group.consumer.min.session.timeout.ms": 1000,
        "group.consumer.min.heartbeat.interval.ms": 200,
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 3000,
        "controller.quorum.election.timeout.ms": 500,
        "controller.quorum.fetch.timeout.ms": 1500,
        "replica.lag.time.max.ms": 5000,
        "log.initial.task.delay.ms": 500,
        "log.retention.check.interval.ms": 500,
        "log.segment.delete.delay.ms": 500,
        "log.cleaner.backoff.ms": 500,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # One cluster serves a whole test run: no thread or buffer more than a small one needs.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    return "".join(f"{name}={value}\n" for name, value in {**lines, **(more or {})}.items())


class Node:
    """One node under `directory`, which holds its settings, data, log and, while it runs, its process id."""

    def __init__(
        self,
        address: Address,
        directory: Path,
        java: str,
        libraries: Path,
        joining_ms: int = 0,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.address = address
        self._joining_ms = joining_ms
        self._more = more
        self.directory = directory
        self.log = directory / "server.log"
        self._properties = directory / "server.properties"
        self._data = directory / "data"
        self._pid = directory / "pid"
        self._java = [java, *_JVM, f"-Dlog4j2.configurationFile={_LOGGING}", "-cp", f"{libraries}/*"]
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, cluster_id: str, everyone: Sequence[Address]) -> subprocess.Popen[bytes] | None:
        """Write the settings and begin to format the data directory; None if it was formatted before."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(
            settings(self.address, everyone, self._data, self._joining_ms, self._more), encoding="utf-8"
        )
        if (self._data / "meta.properties").exists():
            return None
        arguments = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties)]
        return spawn([*self._java, *arguments], log=self.log)

    def start(self, *, detached: bool = False) -> None:
        """Start the process; it may take seconds until it answers. `detached`: it outlives this process."""
        if self.running:
            raise ConfigurationError(f"node {self.address.node} is already running")
        command = [*self._java, "kafka.Kafka", str(self._properties)]
        self._process = spawn(command, log=self.log, detached=detached)
        self._pid.write_text(str(self._process.pid), encoding="ascii")

    @property
    def running(self) -> bool:
        """Tell whether the process that `start` began is still there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Return the process id while it runs; raise `ConfigurationError` otherwise."""
        if self._process is None or self._process.poll() is not None:
            raise ConfigurationError(f"node {self.address.node} is not running")
        return self._process.pid

    def stop(self, *, grace: float = 20.0) -> None:
        """Shut down in order: leaders move away first, then the logs are flushed."""
        self._end(signal.SIGCONT, grace)

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL, 20.0)

    def pause(self) -> None:
        """Stop its process: connections stay open, nothing answers, sessions run out."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def check(self) -> None:
        """Raise `TransientError`, naming the log, if the process has ended by itself."""
        if not self.running:
            raise TransientError(
                f"Kafka node {self.address.node} ended while it was starting: see {self.log}"
            )

    def _end(self, first: signal.Signals, grace: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            # A frozen process would never look at SIGTERM: SIGCONT first, unless it is to be killed anyway.
            process.send_signal(first)
        stop(process, grace=grace)
        self._pid.unlink(missing_ok=True)
