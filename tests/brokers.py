"""The broker that the integration and fault tests run against: one per test session, chosen from outside.

`LETHE_TEST_BROKER` says which: `embedded` (default; in memory, ready in 0.1 s), `kafka` (Apache Kafka 4, one
node, 4 s) or `kafka3` (three nodes, 8 s). A test that the embedded broker cannot serve is marked
`needs_kafka`; it is deselected there, never skipped, and `make test-kafka` runs it.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from lethe.schemas.errors import ConfigurationError
from lethe.testing.brokers.embedded import EmbeddedBroker
from lethe.testing.brokers.kafka.cluster import KafkaCluster

VARIABLE = "LETHE_TEST_BROKER"
NODES = {"embedded": 0, "kafka": 1, "kafka3": 3}


class Runs(Protocol):
    """What an embedded broker and a Kafka cluster have in common."""

    @property
    def bootstrap(self) -> str: ...

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None: ...

    def delete_topic(self, name: str) -> None: ...


@dataclass(frozen=True)
class Broker:
    """A running broker and what tests do with it again and again."""

    kind: str
    runs: Runs
    # In the embedded broker a group waits for half the session time-out: with 6 s a join takes 3 s, not 23.
    # Shorter sessions would end whenever the machine is busy.
    group_settings: dict[str, Any] = field(
        default_factory=lambda: {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    )

    @property
    def bootstrap(self) -> str:
        """For `bootstrap.servers`."""
        return self.runs.bootstrap

    @property
    def is_kafka(self) -> bool:
        """Whether this is Apache Kafka itself."""
        return self.kind != "embedded"

    def topic(self, name: str = "topic", partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Create a topic that no other test has and return its name."""
        unique = unique_name(name)
        self.runs.create_topic(unique, partitions, config)
        return unique

    def produce(
        self,
        topic: str,
        values: Iterable[bytes | None],
        *,
        partition: int = 0,
        headers: Iterable[list[tuple[str, bytes | None]]] | None = None,
        **settings: Any,
    ) -> None:
        """Write the values, in order, to one partition and return once every one of them is acknowledged.

        `headers`: those of each value.
        """
        failures: list[KafkaError] = []
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5, **settings})

        def report(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        for value, heads in zip(values, repeat([]) if headers is None else headers, strict=False):
            while True:
                try:
                    producer.produce(topic, value, partition=partition, headers=heads, on_delivery=report)
                    break
                except BufferError:  # the client's queue is full: let it send
                    producer.poll(0.1)
            producer.poll(0)
        assert producer.flush(120) == 0, "some records were not acknowledged within 120 s"
        assert not failures, failures[0]

    def read(self, topic: str, partitions: Iterable[int] = (0,), **settings: Any) -> list[Message]:
        """Return all messages up to the end as it is now, ordered by partition and offset."""
        wanted = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions]
        messages: list[Message] = []
        with self.consumer(**{"enable.partition.eof": True, **settings}) as consumer:
            consumer.assign(wanted)
            ended: set[int] = set()
            deadline = time.monotonic() + 120
            while len(ended) < len(wanted):
                assert time.monotonic() < deadline, f"the end of {topic} was not reached within 120 s"
                for message in consumer.consume(10_000, 0.2):
                    error = message.error()
                    if error is None:
                        messages.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
                    else:
                        raise KafkaException(error)
        return sorted(messages, key=lambda message: (message.partition(), message.offset()))

    @contextmanager
    def consumer(self, **settings: Any) -> Iterator[Consumer]:
        """Open a consumer in a group of its own (unless `group.id` is given), closed at the end."""
        defaults = {
            "bootstrap.servers": self.bootstrap,
            "group.id": unique_name("group"),
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            **self.group_settings,
        }
        consumer = Consumer({**defaults, **settings})
        try:
            yield consumer
        finally:
            consumer.close()


def unique_name(name: str) -> str:
    """Return `name`, cut to what a topic may be called, with a suffix that nothing else has."""
    return f"{re.sub(r'[^a-zA-Z0-9._-]+', '-', name)[:60]}-{uuid.uuid4().hex[:8]}"


def chosen_kind() -> str:
    """Return the kind that `LETHE_TEST_BROKER` asks for; raise `ConfigurationError` if there is none such."""
    kind = os.environ.get(VARIABLE) or "embedded"
    if kind not in NODES:
        raise ConfigurationError(f"{VARIABLE}={kind}: expected one of {', '.join(NODES)}")
    return kind


@contextmanager
def running_broker(kind: str) -> Iterator[Broker]:
    """Run a broker of that kind for as long as the block lasts."""
    with EmbeddedBroker() if kind == "embedded" else KafkaCluster(NODES[kind]) as runs:
        yield Broker(kind, runs)
