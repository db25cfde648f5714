"""Topics on a broker that this package started: created, deleted and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from lethe.schemas.errors import TransientError

_ANSWER_SECONDS = 5.0
_QUIET = {"log_level": "0"}  # a broker that is still starting refuses connections: no news to anybody


def create_topic(
    bootstrap: str,
    name: str,
    partitions: int,
    config: Mapping[str, str] | None = None,
    *,
    replicas: int = 1,
    timeout: float = 20.0,
) -> None:
    """Create a topic and return once every partition of it has a leader.

    Raises `confluent_kafka.KafkaException` if the broker refuses (the topic exists, a setting is unknown) and
    `TransientError` if it is not usable within `timeout` seconds.
    """
    admin = _admin(bootstrap)
    topic = NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=dict(config or {}))
    admin.create_topics([topic])[name].result(timeout)
    _wait(lambda: _leaders(admin, name) == partitions, timeout, f"topic {name} has no leaders")


def delete_topic(bootstrap: str, name: str, *, timeout: float = 20.0) -> None:
    """Delete a topic and return once the broker no longer knows it."""
    admin = _admin(bootstrap)
    admin.delete_topics([name])[name].result(timeout)
    _wait(lambda: _leaders(admin, name) is None, timeout, f"topic {name} is still there")


def leader(bootstrap: str, name: str, partition: int) -> int:
    """Return the id of the broker that leads a partition; raise `TransientError` if none does."""
    admin = _admin(bootstrap)
    try:
        described = admin.describe_topics(TopicCollection([name]))[name].result(_ANSWER_SECONDS)
    except (KafkaException, TimeoutError) as error:
        raise TransientError(f"the leader of topic {name} cannot be asked for: {error!r}") from None
    broker = described.partitions[partition].leader
    if broker is None or broker.id < 0:
        raise TransientError(f"topic {name} partition {partition} has no leader")
    return int(broker.id)


def wait_until_ready(bootstrap: str, *, brokers: int = 1, timeout: float, alive: Callable[[], bool]) -> None:
    """Return once `brokers` brokers answer; raise `TransientError` after `timeout` or when not `alive`."""
    admin = _admin(bootstrap)

    def ready() -> bool:
        if not alive():
            raise TransientError(f"the broker at {bootstrap} ended while it was starting")
        try:
            return len(admin.list_topics(timeout=0.5).brokers) >= brokers
        except KafkaException:
            return False

    _wait(ready, timeout, f"the broker at {bootstrap} did not answer")


def _admin(bootstrap: str) -> AdminClient:
    # Short reconnects: the default back-off of up to 10 s would make every start that slow.
    return AdminClient({"bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 200, **_QUIET})


def _leaders(admin: AdminClient, name: str) -> int | None:
    """Return how many partitions have a leader, None if there is no such topic."""
    try:
        described = admin.describe_topics(TopicCollection([name]))[name].result(_ANSWER_SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise
    led = [partition for partition in described.partitions if partition.leader and partition.leader.id >= 0]
    return len(led)


def _wait(condition: Callable[[], bool], timeout: float, problem: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TransientError(f"{problem} within {timeout:g} s")
        time.sleep(0.05)
