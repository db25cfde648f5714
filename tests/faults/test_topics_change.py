"""Topics that grow, lose records, have holes, or are no longer the ones that were read."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from brokers import Broker, running_broker
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from plant import Writer
from test_groups import QUICK, all_done, checked
from workers import SMS, Process, Site, traffic, until

from lethe.operations.settings import Settings
from lethe.streams.broker.topics import identify
from lethe.streams.transform.batch import Source

kafka = pytest.mark.needs_kafka


def refused(site: Site, *words: str) -> Process:
    """A worker that stops with one clear line and has committed nothing."""
    before = site.archived()
    worker = site.worker("--stop-at-end")
    assert worker.wait() == 1, worker.text()
    last = worker.text().splitlines()[-1]
    for word in (*words, "lethe worker --accept-gap"):
        assert word in last, last
    assert site.archived() == before
    return worker


def gaps(site: Site) -> list[str]:
    return [row["gap"] for row in site.checker().rows("ledger", ["gap"]) if row["gap"]]


def streams(site: Site) -> set[str]:
    return {row["stream"] for row in site.checker().rows("metadata", ["stream"])}


def delete_before(broker: Broker, topic: str, offset: int) -> None:
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    request = client.delete_records([TopicPartition(topic, 0, offset)])
    assert next(iter(request.values())).result(10).low_watermark == offset


def test_the_cluster_is_made_again(tmp_path: Path, bare_site: Site) -> None:
    site = bare_site
    for turn, words in enumerate(["", "created again, or this is another cluster"]):
        with running_broker("embedded") as broker:
            site.broker = broker
            broker.runs.create_topic("cdr", 1)
            site.sources = {"cdr": SMS}
            values = traffic(300, seed=turn)
            broker.produce("cdr", [v for _, v in values])
            stream = "cdr" if turn == 0 else "cdr~2"
            for offset, (label, value) in enumerate(values):
                site.remember(stream, 0, offset, value, label)
            if words:
                refused(site, "topic cdr", words)
                site.drain("--accept-gap")
                site.drain()  # accepted once, it is not asked for again
            else:
                site.drain()
    assert gaps(site) == ["the topic was created again: records not read by then are gone"]
    assert streams(site) == {"cdr", "cdr~2"}
    checked(site)


def test_a_cluster_made_again_that_is_empty_is_agreed_to_once(tmp_path: Path, bare_site: Site) -> None:
    """There is no record yet to note the gap with; the agreement stands all the same, and the first one has it."""
    site = bare_site
    site.sources = {"cdr": SMS}
    with running_broker("embedded") as broker:
        site.broker = broker
        broker.runs.create_topic("cdr", 1)
        site.produce("cdr", traffic(300))
        site.drain()
    with running_broker("embedded") as broker:
        site.broker = broker
        broker.runs.create_topic("cdr", 1)
        refused(site, "topic cdr", "created again")
        site.drain("--accept-gap")
        site.drain()  # still nothing there, and nothing to agree to
        assert gaps(site) == []
        values = traffic(200, seed=2)
        broker.produce("cdr", [v for _, v in values])
        for offset, (label, value) in enumerate(values):
            site.remember("cdr~2", 0, offset, value, label)
        site.drain()
    assert gaps(site) == ["the topic was created again: records not read by then are gone"]
    assert streams(site) == {"cdr", "cdr~2"}
    checked(site)


@kafka
def test_a_topic_is_deleted_and_made_again_between_two_runs(site: Site) -> None:
    topic = site.topic()
    site.produce(topic, traffic(300))
    site.drain()
    assert site.broker is not None
    site.broker.runs.delete_topic(topic)
    site.broker.runs.create_topic(topic, 1)
    values = traffic(400, seed=2)
    site.broker.produce(topic, [v for _, v in values])
    for offset, (label, value) in enumerate(values):
        site.remember(f"{topic}~2", 0, offset, value, label)
    refused(site, f"topic {topic}", "created again")
    site.drain("--accept-gap")
    assert len(gaps(site)) == 1
    checked(site)


@kafka
@pytest.mark.parametrize("records", [100, 900], ids=["shorter than before", "longer than before"])
def test_a_topic_is_deleted_and_made_again_under_a_running_worker(site: Site, records: int) -> None:
    site.variables |= QUICK
    topic = site.topic()
    site.produce(topic, traffic(300))
    worker = site.worker()
    all_done(site)
    assert site.broker is not None
    site.broker.runs.delete_topic(topic)
    site.broker.runs.create_topic(topic, 1)
    values = traffic(records, seed=2)
    site.broker.produce(topic, [v for _, v in values])
    assert worker.wait() == 1, worker.text()
    assert worker.text().splitlines()[-1].startswith("lethe: "), worker.text()
    checked(site)  # nothing of the new topic is taken for the old one's
    for offset, (label, value) in enumerate(values):
        site.remember(f"{topic}~2", 0, offset, value, label)
    refused(site, f"topic {topic}", "created again")
    site.drain("--accept-gap")
    checked(site)


@kafka
def test_retention_passes_the_committed_position(site: Site) -> None:
    topic = site.topic()
    site.produce(topic, traffic(300))
    site.drain()
    site.produce(topic, traffic(300, seed=2))
    assert site.broker is not None
    delete_before(site.broker, topic, 450)
    site.produced = [m for m in site.produced if not 300 <= m.offset < 450]
    refused(site, "offsets 300 to 449 are gone")
    site.drain("--accept-gap")
    assert gaps(site) == ["offsets 300 to 449 were gone from the topic"]
    assert site.checker().ledger_covers({(topic, 0): (0, 600)}) == []
    site.drain()
    checked(site)


@kafka
def test_a_topic_whose_first_offset_is_not_0_is_read_from_its_first(site: Site) -> None:
    topic = site.topic()
    site.produce(topic, traffic(300))
    assert site.broker is not None
    delete_before(site.broker, topic, 120)
    site.produced = [m for m in site.produced if m.offset >= 120]
    site.drain()
    assert site.checker().ledger_covers({(topic, 0): (120, 300)}) == []
    checked(site)


def test_a_topic_with_a_single_record_at_offset_0(site: Site) -> None:
    """The last offset done is 0, which is not the same as none."""
    topic = site.topic()
    site.produce(topic, traffic(1))
    for _ in range(2):
        site.drain()
        checked(site)
    site.produce(topic, traffic(1, seed=2))
    site.drain()
    assert site.checker().ledger_covers({(topic, 0): (0, 2)}) == []
    checked(site)


@kafka
def test_a_topic_lost_records_that_were_read(site: Site) -> None:
    """As after an unclean election: the position lies behind the end of the topic."""
    topic = site.topic()
    values = traffic(500)
    assert site.broker is not None
    settings = Settings(bootstrap=site.broker.bootstrap, root=str(site.root), keys_dir=site.keys)
    identity = identify(settings, [topic])[topic]

    class Here:
        def runtime(self):
            from lethe.operations.runtime import Runtime

            return Runtime(settings)

    source = Source(topic, 0, f"{identity}/0", SMS)
    Writer(Here()).commit(source, [v for _, v in values], 0, 499)  # type: ignore[arg-type]
    for offset, (label, value) in enumerate(values):
        site.remember(topic, 0, offset, value, label)
    left = traffic(200, seed=7)
    site.broker.produce(topic, [v for _, v in left])
    refused(site, "ends before offset 500", "lost records")
    site.drain("--accept-gap")
    for offset, (label, value) in enumerate(left):
        site.remember(f"{topic}~2", 0, offset, value, label)
    site.drain()
    checked(site)


@kafka
def test_a_partition_added_to_a_live_topic_is_read_from_its_first_record(site: Site) -> None:
    site.variables |= QUICK
    topic = site.topic()
    site.produce(topic, traffic(200))
    worker = site.worker(altered={"consumer": {"topic.metadata.refresh.interval.ms": 1000}})
    all_done(site)
    assert site.broker is not None
    client = AdminClient({"bootstrap.servers": site.broker.bootstrap})
    client.create_partitions([NewPartitions(topic, 2)])[topic].result(10)
    site.produce(topic, traffic(200, seed=2), 1)
    all_done(site)
    assert worker.stop() == 0
    checked(site)


@kafka
def test_holes_of_aborted_transactions_are_accounted_for(site: Site) -> None:
    site.variables["LETHE_FLUSH__BATCH"] = "20"  # holes within batches and between them
    topic = site.topic()
    assert site.broker is not None
    site.transactions(topic, 6, 50)
    read = site.broker.read(topic, **{"isolation.level": "read_committed"})
    for message in read:
        site.remember(topic, 0, message.offset(), message.value())
    assert len(read) == 150
    assert read[-1].offset() > 200
    site.drain()
    assert site.checker().ledger_covers({(topic, 0): (0, read[-1].offset() + 1)}) == []
    checked(site)
    site.drain()  # the topic ends with a hole: nothing more to do, nothing to wait for
    checked(site)


@kafka
def test_holes_of_compaction_are_accounted_for(site: Site) -> None:
    settings = {"cleanup.policy": "compact", "segment.ms": "500", "min.cleanable.dirty.ratio": "0.01"}
    site.variables["LETHE_FLUSH__BATCH"] = "5"
    topic = site.topic(config={**settings, "max.compaction.lag.ms": "500"})
    assert site.broker is not None
    # Each ten are sent at once and begin a segment, of which all but the last are compacted.
    producer = Producer({"bootstrap.servers": site.broker.bootstrap, "linger.ms": 60_000})
    values = traffic(40)
    # Every third stays, so that there are holes at the beginning, in the middle, and long ones.
    stays = {number for number in range(30) if number % 3 == 2 and not 12 < number < 20}
    for number, (_, value) in enumerate(values):
        key = b"%d" % number if number in stays else b"again"
        producer.produce(topic, value, key=key, partition=0)
        if number % 10 == 9:
            assert producer.flush(60) == 0
            time.sleep(0.7)
    broker, left = site.broker, sorted({*stays, 28, *range(30, 40)})
    until(lambda: [m.offset() for m in broker.read(topic)] == left, 60, "compaction")
    read = broker.read(topic)
    for message in read:
        site.remember(topic, 0, message.offset(), message.value())
    site.drain()
    assert site.checker().ledger_covers({(topic, 0): (0, read[-1].offset() + 1)}) == []
    checked(site)
