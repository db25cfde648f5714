"""What a real broker keeps of the source topics: certificates and `doctor` say it as the broker has it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from brokers import Broker
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from workers import Site, traffic

from lethe.operations.settings import Settings
from lethe.streams.broker.kept import kept, newest_stamp, retention_of

pytestmark = pytest.mark.needs_kafka
WEEK = 604_800_000


def cut(broker: Broker, topic: str, partition: int, before: int) -> None:
    """Have the broker remove what comes before an offset, as its retention does."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    for done in client.delete_records([TopicPartition(topic, partition, before)]).values():
        done.result(20)


def test_the_broker_tells_its_earliest_offsets_and_its_retention(broker: Broker, tmp_path: Path) -> None:
    weekly = broker.topic(partitions=2, config={"retention.ms": str(WEEK)})
    for_ever = broker.topic(config={"retention.ms": "-1"})
    for partition in (0, 1):
        broker.produce(weekly, [b"x"] * 10, partition=partition)
    cut(broker, weekly, 0, 4)
    sources = {weekly: "infobip/sms-report", for_ever: "infobip/sms-report"}
    settings = Settings(
        root=str(tmp_path / "warehouse"),
        keys_dir=tmp_path / "keys",
        bootstrap=broker.bootstrap,
        sources=sources,
    )
    places = [f"{weekly}/0", f"{weekly}/1", f"{for_ever}/0", "of-no-source/0"]
    assert kept(settings, places) == {
        f"{weekly}/0": {"earliest_offset": 4, "retention_ms": WEEK},
        f"{weekly}/1": {"earliest_offset": 0, "retention_ms": WEEK},
        f"{for_ever}/0": {"earliest_offset": 0, "retention_ms": -1},
    }
    assert retention_of(settings) == {weekly: WEEK, for_ever: -1}
    newest = newest_stamp(settings)
    assert newest is not None
    assert abs(datetime.now(UTC) - newest) < timedelta(minutes=10)


def test_a_certificate_and_doctor_say_what_the_broker_has(site: Site) -> None:
    weekly = site.topic("weekly", config={"retention.ms": str(WEEK)})
    for_ever = site.topic("ever", config={"retention.ms": "-1"})
    site.produce(weekly, traffic(40, 1))
    site.produce(for_ever, traffic(40, 2))
    site.drain()
    assert site.broker is not None
    cut(site.broker, weekly, 0, 7)
    somebody = next(v for label, v in traffic(40, 1) if label == "good" and v is not None)
    number = str(json.loads(somebody)["to"])
    erased = site.run("--json", "erase", number, "--yes")
    assert erased.returncode == 0, erased.stderr
    certificate = json.loads(erased.stdout)["certificate"]
    shown = json.loads(site.run("--json", "certificates", "show", str(certificate)).stdout)
    (topics,) = (one for one in _reach(shown) if one["place"] == "source topics")
    assert topics["state"] == "not reached"
    assert topics["kept"][f"{weekly}/0"] == {"earliest_offset": 7, "retention_ms": WEEK}
    checks = json.loads(site.run("--json", "doctor").stdout)
    told = {c["what"]: (c["state"], c["found"]) for c in checks if c["what"].startswith("topic ")}
    assert told == {f"topic {for_ever}": ("warning", "kept for ever, the window is 12 months")}


def _reach(document: object) -> list[dict[str, object]]:
    """The part of a certificate that says of each place how far it reaches."""
    if isinstance(document, dict):
        if isinstance(document.get("reach"), list):
            return list(document["reach"])
        return [one for value in document.values() for one in _reach(value)]
    return []
