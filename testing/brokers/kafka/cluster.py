"""A Kafka cluster of one or three nodes on loopback ports, for as long as a test or a person needs it."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.testing.brokers import topics
from lethe.testing.brokers.kafka import artifacts
from lethe.testing.brokers.kafka.node import Address, Node
from lethe.testing.brokers.process import free_ports

_FORMAT_SECONDS = 60.0
_READY_SECONDS = 60.0


class KafkaCluster:
    """Apache Kafka 4 in KRaft mode, every node broker and controller, from `start` (or `with`) to `stop`.

    Without `directory` it lives in a temporary one, removed with `stop`. With one, its data, ports and
    cluster id are kept there, and the next `KafkaCluster` on that directory goes on with them. `joining_ms`: how
    long a new consumer group waits for more members (3,000 on a broker as it is delivered). `more`: settings of a
    node beyond those that `node.settings` gives it.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        directory: Path | None = None,
        joining_ms: int = 0,
        more: Callable[[Address], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        if nodes not in (1, 3):
            raise ConfigurationError(f"a cluster has 1 or 3 nodes, not {nodes}")
        self._count = nodes
        self._kept = directory
        self._joining_ms = joining_ms
        self._more = more
        self._directory: Path | None = None
        self._nodes: dict[int, Node] = {}
        self.cluster_id = ""

    @property
    def directory(self) -> Path:
        """Return where the nodes keep their settings, data and logs; raise `ConfigurationError` before `start`."""
        if self._directory is None:
            raise ConfigurationError("the Kafka cluster has not been started")
        return self._directory

    @property
    def bootstrap(self) -> str:
        """Return `host:port` of every node, for `bootstrap.servers`; raise `ConfigurationError` before `start`."""
        if not self._nodes:
            raise ConfigurationError("the Kafka cluster has not been started")
        return ",".join(node.address.bootstrap for node in self._nodes.values())

    def start(self, *, detached: bool = False) -> Self:
        """Start all nodes and return once each of them answers and knows the others.

        1. Find Java and the jars, fetched if need be.
        2. Write each node's settings; format its data directory unless that was done before.
        3. Start the processes; with `detached` they outlive this one.
        4. Wait for all brokers to be registered.

        Raises `ConfigurationError` if Java or the jars cannot be had and `TransientError` if a node does not
        start; nothing keeps running then.
        """
        java, libraries = artifacts.java(), artifacts.libraries()  # 1
        self._directory = self._kept or Path(tempfile.mkdtemp(prefix="lethe-kafka-"))
        try:
            addresses = self._layout()
            for address in addresses:
                folder = self.directory / f"node-{address.node}"
                self._nodes[address.node] = Node(
                    address, folder, java, libraries, self._joining_ms, self._more(address)
                )
            self._format(addresses)  # 2
            for node in self._nodes.values():
                node.start(detached=detached)  # 3
            self._wait_until_ready()  # 4
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop every node, and remove the data unless it lives in a directory that was given."""
        for node in self._nodes.values():
            node.stop() if self._kept else node.kill()
        if self._directory is not None and not self._kept:
            shutil.rmtree(self._directory, ignore_errors=True)

    def node(self, number: int) -> Node:
        """Return node `number` (from 1): to stop, kill, pause, resume or look at its log."""
        try:
            return self._nodes[number]
        except KeyError:
            raise ConfigurationError(f"there is no node {number} in this cluster") from None

    def kill(self, number: int) -> None:
        """End node `number` with SIGKILL."""
        self.node(number).kill()

    def restart(self, number: int) -> None:
        """Start node `number` again, after an orderly stop if it still runs, and return once it answers."""
        node = self.node(number)
        if node.running:
            node.stop()
        node.start()
        self._wait_until_ready()

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Create a topic, on every node, and return once it can be used."""
        topics.create_topic(self.bootstrap, name, partitions, config, replicas=self._count)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and return once it is gone."""
        topics.delete_topic(self.bootstrap, name)

    def leader(self, topic: str, partition: int) -> int:
        """Return the number of the node that leads a partition; raise `TransientError` if none does."""
        return topics.leader(self.bootstrap, topic, partition)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _layout(self) -> list[Address]:
        """Return the nodes' addresses: those of this directory, new ones if it is new."""
        saved = self.directory / "cluster.json"
        if saved.exists():
            known = json.loads(saved.read_text(encoding="utf-8"))
            self.cluster_id = known["cluster_id"]
            addresses = [Address(**entry) for entry in known["nodes"]]
            if len(addresses) != self._count:
                raise ConfigurationError(
                    f"{self.directory} holds a cluster of {len(addresses)} nodes: wipe it first"
                )
            return addresses
        # "A": the id is base64, and one that begins with a dash would be read as an option.
        self.cluster_id = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        ports = free_ports(2 * self._count)
        addresses = [Address(n + 1, ports[2 * n], ports[2 * n + 1]) for n in range(self._count)]
        self.directory.mkdir(parents=True, exist_ok=True)
        layout = {"cluster_id": self.cluster_id, "nodes": [vars(address) for address in addresses]}
        saved.write_text(json.dumps(layout, indent=2) + "\n", encoding="utf-8")
        return addresses

    def _format(self, addresses: list[Address]) -> None:
        begun = [(node, node.prepare(self.cluster_id, addresses)) for node in self._nodes.values()]
        for node, process in begun:
            if process is not None and process.wait(_FORMAT_SECONDS) != 0:
                raise TransientError(f"Kafka node {node.address.node} could not be formatted: see {node.log}")

    def _wait_until_ready(self) -> None:
        running = [node for node in self._nodes.values() if node.running]

        def alive() -> bool:
            for node in running:
                node.check()
            return True

        deadline = time.monotonic() + _READY_SECONDS
        for node in running:  # each must answer itself and have heard of all that run
            topics.wait_until_ready(
                node.address.bootstrap,
                brokers=len(running),
                timeout=max(1.0, deadline - time.monotonic()),
                alive=alive,
            )
