"""What the broker keeps of the source topics: from which offset on, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo, OffsetSpec

from lethe.operations.settings import Settings
from lethe.streams.broker.client import Admin
from lethe.tiers.commit.clock_check import time_of_stamp

_SECONDS: Final = 5.0
earliest_of: Final[Callable[[], OffsetSpec]] = OffsetSpec.earliest
latest_of: Final[Callable[[], OffsetSpec]] = OffsetSpec.latest
newest_of: Final[Callable[[], OffsetSpec]] = OffsetSpec.max_timestamp


def kept(settings: Settings, places: Collection[str]) -> dict[str, dict[str, int | None]]:
    """Ask for the earliest offset and the retention (ms; None: not told, -1: for ever) of `stream/partition`s.

    Those of no configured source are left out. Raises `TransientError` when the broker does not answer.
    """
    wanted = {}
    for place in places:
        stream, _, partition = place.rpartition("/")
        topic = stream.partition("~")[0]
        if topic in settings.sources:
            wanted[place] = TopicPartition(topic, int(partition))
    if not wanted:
        return {}
    admin = Admin(settings)
    admin.reach()
    try:
        asked = {(p.topic, p.partition): p for p in wanted.values()}
        offsets = admin.client.list_offsets(
            {p: earliest_of() for p in asked.values()}, request_timeout=_SECONDS
        )
        earliest = {(p.topic, p.partition): int(f.result(_SECONDS).offset) for p, f in offsets.items()}
        retention = _retention(admin, sorted({p.topic for p in asked.values()}))
    except (KafkaException, TimeoutError) as error:
        raise admin.failed(error) from None
    return {
        place: {"earliest_offset": earliest[p.topic, p.partition], "retention_ms": retention.get(p.topic)}
        for place, p in wanted.items()
    }


def ends(settings: Settings) -> dict[tuple[str, int], int]:
    """Ask for the offset that the next message gets, of each partition of the configured source topics.

    A topic that there is not (yet) is left out. Raises `TransientError` when the broker does not answer.
    """
    return {place: int(info.offset) for place, info in _of_each(settings, latest_of).items()}


def newest_stamp(settings: Settings) -> datetime | None:
    """Ask for the latest time stamp of a message in the configured source topics; None where none is told.

    Raises `TransientError` when the broker does not answer.
    """
    stamps = [time_of_stamp(int(info.timestamp)) for info in _of_each(settings, newest_of).values()]
    return max((stamp for stamp in stamps if stamp is not None), default=None)


def _of_each(
    settings: Settings, what: Callable[[], OffsetSpec]
) -> dict[tuple[str, int], ListOffsetsResultInfo]:
    admin = Admin(settings)
    admin.reach()
    try:
        known = admin.client.list_topics(timeout=_SECONDS).topics
        places = [
            TopicPartition(topic, number)
            for topic in sorted(settings.sources)
            if topic in known
            for number in known[topic].partitions
        ]
        offsets = admin.client.list_offsets({place: what() for place in places}, request_timeout=_SECONDS)
        return {(p.topic, p.partition): f.result(_SECONDS) for p, f in offsets.items()}
    except (KafkaException, TimeoutError) as error:
        raise admin.failed(error) from None


def retention_of(settings: Settings) -> dict[str, int]:
    """Ask how long each configured source topic keeps its messages, in ms, -1 for ever; those not told are left out."""
    admin = Admin(settings)
    admin.reach()
    return _retention(admin, sorted(settings.sources))


def _retention(admin: Admin, topics: list[str]) -> dict[str, int]:
    """Return what may be described: the right to is none that a worker needs."""
    found = {}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    for resource, future in admin.client.describe_configs(resources, request_timeout=_SECONDS).items():
        try:
            found[resource.name] = int(future.result(_SECONDS)["retention.ms"].value)
        except (KafkaException, TimeoutError, KeyError, TypeError, ValueError):
            continue
    return found
