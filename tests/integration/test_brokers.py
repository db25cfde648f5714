"""What Lethe relies on in a broker, tried on the broker of this session."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from brokers import Broker, unique_name
from confluent_kafka import Consumer, KafkaError, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from workers import until

from lethe.testing.brokers import topics
from lethe.testing.brokers.kafka.cluster import KafkaCluster


def admin(broker: Broker) -> AdminClient:
    # To be kept in a variable: an answer never arrives at a client that was collected meanwhile.
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def consume(consumer: Consumer, count: int, seconds: float = 20) -> list[Any]:
    messages: list[Any] = []
    until(
        lambda: len(messages) >= count or bool(messages.extend(consumer.consume(count, 0.1))),
        seconds,
        "consume",
    )
    return messages


def test_values_come_back_as_they_were_written_with_their_headers_and_times(broker: Broker) -> None:
    topic = broker.topic()
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    headers = [("source", b"smsc-1"), ("empty", None)]
    producer.produce(topic, b"\x00\xff\n", key=b"k", headers=headers, timestamp=1_700_000_000_123)
    producer.produce(topic, None, key=b"k")
    producer.produce(topic, b"")
    assert producer.flush(10) == 0

    record, tombstone, empty = broker.read(topic)

    assert (record.value(), record.key(), record.headers()) == (b"\x00\xff\n", b"k", headers)
    assert record.timestamp()[1] == 1_700_000_000_123
    assert tombstone.value() is None
    assert empty.value() == b""
    assert [message.offset() for message in (record, tombstone, empty)] == [0, 1, 2]


def test_the_end_of_every_partition_is_told_with_its_offset(broker: Broker) -> None:
    topic = broker.topic(partitions=2)
    broker.produce(topic, [b"a"] * 1000, partition=1)
    ends: dict[int, int] = {}
    with broker.consumer(**{"enable.partition.eof": True}) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0), TopicPartition(topic, 1, 0)])

        def both_ended() -> bool:
            for message in consumer.consume(2000, 0.1):
                if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
                    ends[message.partition()] = message.offset()
            return len(ends) == 2

        until(both_ended, 20, "end of both partitions")
        cached = consumer.get_watermark_offsets(TopicPartition(topic, 1), cached=True)
    assert ends == {0: 0, 1: 1000}
    assert cached == (0, 1000)


def test_a_value_of_one_megabyte_passes(broker: Broker) -> None:
    topic = broker.topic(config={"max.message.bytes": "2000000"})
    broker.produce(topic, [b"x" * 1_048_576], **{"message.max.bytes": 2_000_000})
    (message,) = broker.read(topic)
    assert len(message.value()) == 1_048_576


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read_whole(broker: Broker, codec: str) -> None:
    topic = broker.topic()
    values = [b"%d " % n * 50 for n in range(500)]
    broker.produce(topic, values, **{"compression.type": codec})
    assert [message.value() for message in broker.read(topic)] == values


def test_an_idempotent_producer_is_accepted(broker: Broker) -> None:
    topic = broker.topic()
    broker.produce(topic, [b"a", b"b"], **{"enable.idempotence": True})
    assert [message.value() for message in broker.read(topic)] == [b"a", b"b"]


def test_a_topic_created_again_has_another_id_in_the_same_cluster(broker: Broker) -> None:
    client = admin(broker)
    topic = broker.topic()

    def identity() -> tuple[str, str | None]:
        described = client.describe_topics(TopicCollection([topic]))[topic].result(10)
        return str(described.topic_id), client.describe_cluster().result(10).cluster_id

    first, cluster = identity()
    broker.runs.delete_topic(topic)
    broker.runs.create_topic(topic, 1)
    second, same_cluster = identity()
    assert first != second
    assert len(first) == 22
    assert cluster == same_cluster
    assert cluster


def test_a_read_committed_consumer_reads_a_topic_without_transactions(broker: Broker) -> None:
    topic = broker.topic()
    broker.produce(topic, [b"a", b"b"])
    assert len(broker.read(topic, **{"isolation.level": "read_committed"})) == 2


def test_committed_offsets_are_kept_for_the_group(broker: Broker) -> None:
    topic, group = broker.topic(), unique_name("group")
    with broker.consumer(**{"group.id": group}) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0)])
        consumer.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    with broker.consumer(**{"group.id": group}) as consumer:
        (position,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    assert position.offset == 7


def test_partitions_are_handed_over_cooperatively_and_start_where_they_are_told(broker: Broker) -> None:
    topic, group = broker.topic(partitions=2), unique_name("group")
    for partition in (0, 1):
        broker.produce(topic, [b"0", b"1", b"2"], partition=partition)
    settings = {"group.id": group, "partition.assignment.strategy": "cooperative-sticky"}
    held: dict[str, set[int]] = {"first": set(), "second": set()}
    read: dict[str, list[tuple[int, int]]] = {"first": [], "second": []}

    def join(consumer: Consumer, name: str) -> None:
        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            held[name] |= {p.partition for p in partitions}
            consumer.incremental_assign([TopicPartition(topic, p.partition, 2) for p in partitions])

        def revoked(_: Consumer, partitions: list[TopicPartition]) -> None:
            held[name] -= {p.partition for p in partitions}
            consumer.incremental_unassign(partitions)

        consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked)

    def turn(consumer: Consumer, name: str) -> None:
        read[name] += [(m.partition(), m.offset()) for m in consumer.consume(10, 0.1) if m.error() is None]

    with broker.consumer(**settings) as first:
        join(first, "first")
        until(
            lambda: turn(first, "first") or len(read["first"]) == 2, 30, "first member reads both partitions"
        )
        with broker.consumer(**settings) as second:
            join(second, "second")

            def shared() -> bool:
                turn(first, "first")
                turn(second, "second")
                return len(held["first"]) == 1 and len(read["second"]) == 1

            until(shared, 60, "second member reads one partition")
            assert held["first"] | held["second"] == {0, 1}
    assert sorted(read["first"]) == [(0, 2), (1, 2)]
    assert read["second"][0][1] == 2


@pytest.mark.needs_kafka
def test_only_committed_transactions_are_read(broker: Broker) -> None:
    topic = broker.topic()
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": unique_name("writer")})
    producer.init_transactions(20)
    for values, commit in (([b"1", b"2"], True), ([b"aborted"], False), ([b"3"], True)):
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=0)
        producer.flush(10)
        producer.commit_transaction(10) if commit else producer.abort_transaction(10)
    messages = broker.read(topic, **{"isolation.level": "read_committed"})
    # Markers and the aborted record leave holes in the offsets: a gap is not a loss.
    assert [(m.offset(), m.value()) for m in messages] == [(0, b"1"), (1, b"2"), (5, b"3")]


@pytest.mark.needs_kafka
def test_a_position_that_is_no_longer_there_is_an_error_and_never_skipped(broker: Broker) -> None:
    topic = broker.topic()
    broker.produce(topic, [b"a"] * 10)
    client = admin(broker)
    request = client.delete_records([TopicPartition(topic, 0, 4)])
    assert next(iter(request.values())).result(10).low_watermark == 4
    for offset in (0, 11):
        with broker.consumer() as consumer:
            consumer.assign([TopicPartition(topic, 0, offset)])
            (message,) = consume(consumer, 1)
            assert message.error().code() == KafkaError._AUTO_OFFSET_RESET


@pytest.mark.needs_kafka
def test_retention_removes_records(broker: Broker) -> None:
    topic = broker.topic(config={"retention.ms": "1000"})
    broker.produce(topic, [b"a"] * 10)
    with broker.consumer() as consumer:
        where = TopicPartition(topic, 0)
        until(lambda: consumer.get_watermark_offsets(where, timeout=5)[0] == 10, 30, "retention")


@pytest.mark.needs_kafka
def test_compaction_leaves_holes_in_the_offsets(broker: Broker) -> None:
    settings = {"cleanup.policy": "compact", "segment.ms": "500", "min.cleanable.dirty.ratio": "0.01"}
    topic = broker.topic(config={**settings, "max.compaction.lag.ms": "500"})
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for n in range(6):
        producer.produce(topic, b"%d" % n, key=b"same", partition=0)
        assert producer.flush(10) == 0
        time.sleep(0.6)  # a segment is closed by time only when a record arrives after it
    until(lambda: len(broker.read(topic)) < 6, 30, "compaction")
    assert broker.read(topic)[-1].offset() == 5


@pytest.mark.needs_kafka
def test_the_latest_offset_can_be_asked_for(broker: Broker) -> None:
    topic = broker.topic()
    broker.produce(topic, [b"a"] * 1000)
    where = TopicPartition(topic, 0)
    client = admin(broker)
    assert client.list_offsets({where: OffsetSpec.latest()})[where].result(10).offset == 1000


@pytest.mark.needs_kafka
def test_three_nodes_lose_one_and_no_record(private_kafka: Callable[[int], KafkaCluster]) -> None:
    cluster = private_kafka(3)
    broker = Broker("kafka3", cluster)
    topic = broker.topic(partitions=1)
    broker.produce(topic, [b"before"])
    leader = cluster.leader(topic, 0)

    cluster.kill(leader)
    broker.produce(topic, [b"while it is away"], acks="all")
    assert cluster.leader(topic, 0) != leader
    cluster.restart(leader)
    broker.produce(topic, [b"after"], acks="all")

    assert [message.value() for message in broker.read(topic)] == [b"before", b"while it is away", b"after"]


@pytest.mark.needs_kafka
def test_a_killed_node_comes_back_with_its_data(private_kafka: Callable[[int], KafkaCluster]) -> None:
    cluster = private_kafka(1)
    broker = Broker("kafka", cluster)
    topic = broker.topic()
    broker.produce(topic, [b"a", b"b"])
    cluster.kill(1)
    cluster.restart(1)
    assert [message.value() for message in broker.read(topic)] == [b"a", b"b"]


def test_deleting_a_topic_that_is_not_there_is_refused(broker: Broker) -> None:
    with pytest.raises(Exception, match="UNKNOWN_TOPIC_OR_PART"):
        topics.delete_topic(broker.bootstrap, unique_name("nothing"))
