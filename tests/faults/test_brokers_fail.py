"""A broker that restarts, dies, or hands its partitions to another one, while a worker reads from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from brokers import Broker
from test_groups import QUICK, all_done, checked
from workers import SMS, Site, sites, traffic, until

from lethe.schemas.errors import TransientError
from lethe.testing.brokers import topics
from lethe.testing.brokers.kafka.cluster import KafkaCluster

pytestmark = pytest.mark.needs_kafka


@pytest.fixture
def on(tmp_path: Path, private_kafka: Callable[[int], KafkaCluster]):
    """An installation on a cluster of its own."""
    stack = []

    def make(nodes: int) -> tuple[Site, KafkaCluster]:
        cluster = private_kafka(nodes)
        generator = sites(tmp_path, Broker(f"kafka{nodes}", cluster))
        stack.append(generator)
        found = next(generator)
        found.variables |= QUICK
        return found, cluster

    yield make
    for generator in stack:
        next(generator, None)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_only_broker_goes_and_comes_back(on, how: str) -> None:
    site, cluster = on(1)
    topic = site.topic(partitions=2)
    site.produce(topic, traffic(6_000), 0)
    worker = site.worker(altered={"slow_commit": 0.5})
    until(lambda: site.archived() > 300, 40, "something is archived")
    cluster.kill(1) if how == "killed" else cluster.node(1).stop()
    worker.says("a commit failed, try 1")  # it is away for longer than a commit waits for it
    cluster.restart(1)
    site.produce(topic, traffic(1_000, seed=2), 1)
    all_done(site)
    assert worker.stop() == 0
    checked(site)


def test_the_leader_of_a_partition_dies_and_another_node_takes_over(on) -> None:
    site, cluster = on(3)
    topic = site.topic(partitions=3)
    for partition in range(3):
        site.produce(topic, traffic(1_500, seed=partition), partition)
    worker = site.worker(altered={"slow_commit": 0.2})
    until(lambda: site.archived() > 300, 40, "something is archived")
    leader = cluster.leader(topic, 0)
    cluster.kill(leader)
    for partition in range(3):
        site.produce(topic, traffic(500, seed=10 + partition), partition)
    all_done(site)
    cluster.restart(leader)
    site.produce(topic, traffic(500, seed=20), 0)
    all_done(site)
    assert worker.stop() == 0
    checked(site)


def kill_leader(cluster: KafkaCluster, topic: str, partition: int) -> int:
    """Kill the only node that has a partition, and return it once the others know that nobody leads it."""
    leader = cluster.leader(topic, partition)
    cluster.kill(leader)

    def is_known() -> bool:
        try:
            cluster.leader(topic, partition)
        except TransientError as error:
            return "has no leader" in str(error)
        return False

    until(is_known, 60, "the others know that it is gone")
    return leader


def test_a_worker_that_is_given_a_partition_without_a_leader_waits_for_one(on) -> None:
    site, cluster = on(3)
    topics.create_topic(cluster.bootstrap, "alone", 3, None, replicas=1)
    site.sources["alone"] = SMS
    for partition in range(3):
        site.produce("alone", traffic(300, seed=partition), partition)
    leader = kill_leader(cluster, "alone", 1)
    worker = site.worker()
    worker.says("no broker answers for topic alone partition")
    missing = 503, "no broker answers for topic alone partition 1"
    until(lambda: worker.ready() == missing, 40, "the others are read, and this one is named")
    cluster.restart(leader)
    all_done(site)
    until(lambda: worker.ready() == (200, "ready"), 40, "nothing is missing")
    assert worker.stop() == 0
    checked(site)


def test_a_worker_that_waits_for_a_leader_stops_when_it_is_asked_to(on) -> None:
    site, cluster = on(3)
    topics.create_topic(cluster.bootstrap, "alone", 1, None, replicas=1)
    site.sources["alone"] = SMS
    kill_leader(cluster, "alone", 0)
    worker = site.worker()
    worker.says("no broker answers for topic alone partition")
    assert worker.stop() == 0
