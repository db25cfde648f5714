"""Which of a worker's rights at the broker are missing: asked of the broker, and tried by reading as a worker does."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # not in its `__all__`

from lethe.operations.settings import Settings
from lethe.streams.broker.client import Admin, client_options, make_client

_SECONDS: Final = 4.0
_READ_SECONDS: Final = 1.5
_DENIED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_ELECTING: Final = frozenset(
    {
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)
_TRIES: Final = 4
_PAUSE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Needed:
    """What a worker does at the broker: topics it reads and writes, groups it joins, topics it makes if it may."""

    reads: Sequence[str]
    writes: Sequence[str]
    groups: Sequence[str]
    makes: Sequence[str]


def missing(settings: Settings, needed: Needed) -> Iterator[str]:
    """Yield each right that is missing, in one line.

    Raises `ConfigurationError` and `TransientError` as `identify` does when the broker cannot be reached. A broker that
    does not say what its user may do is only read from.
    """
    admin = Admin(settings)
    admin.reach()
    try:
        there = yield from _topics(admin, needed)
        yield from _groups(admin, needed)
        yield from _reading(settings, [topic for topic in needed.reads if topic in there], needed.groups[0])
    except (KafkaException, TimeoutError) as error:
        raise admin.failed(error) from None


def _topics(admin: Admin, needed: Needed) -> Generator[str, None, set[str]]:
    """Yield what is missing on topics; returns those that may be described."""
    topics = sorted({*needed.reads, *needed.writes, *needed.makes})
    found = admin.client.describe_topics(
        TopicCollection(topics), include_authorized_operations=True, request_timeout=_SECONDS
    )
    there = set[str]()
    for topic in topics:
        described, code = _answer(found[topic])
        if code is None:
            there.add(topic)
            for named, operation in ((needed.reads, AclOperation.READ), (needed.writes, AclOperation.WRITE)):
                if topic in named and not _may(described, operation):
                    yield f"the broker's user lacks {operation.name} on the topic {topic}"
        elif topic in needed.makes:
            yield from _unmade(admin, topic, code)
    return there


def _unmade(admin: Admin, topic: str, code: int) -> Iterator[str]:
    if code != KafkaError.UNKNOWN_TOPIC_OR_PART:
        yield f"topic {topic} is not there, or the broker's user may not describe it"
        return
    cluster, _ = _answer(
        admin.client.describe_cluster(include_authorized_operations=True, request_timeout=_SECONDS)
    )
    allowed = cluster.authorized_operations
    if allowed is not None and AclOperation.CREATE not in allowed:
        yield f"topic {topic} is not there, and the broker's user may not create it; see `lethe topics create`"


def _groups(admin: Admin, needed: Needed) -> Iterator[str]:
    for group in needed.groups:
        described, code = _described(admin, group)
        if code in _DENIED or (described is not None and not _may(described, AclOperation.READ)):
            yield f"the broker's user lacks READ on the group {group}"


def _described(admin: Admin, group: str) -> tuple[Any, int | None]:
    """Describe a group, once more while its coordinator is being found: the first question of a cluster makes one."""
    for left in reversed(range(_TRIES)):
        try:
            asked = admin.client.describe_consumer_groups(
                [group], include_authorized_operations=True, request_timeout=_SECONDS
            )
            return _answer(asked[group])
        except KafkaException as error:
            if not left or error.args[0].code() not in _ELECTING:
                raise
            time.sleep(_PAUSE)
    raise AssertionError


def _reading(settings: Settings, topics: Sequence[str], group: str) -> Iterator[str]:
    """Read the end of the first partition of each topic; nothing is committed, and what comes is dropped unread."""
    options = {**client_options(settings), "group.id": group, "enable.auto.commit": False}
    consumer = make_client(Consumer, options)
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_END) for topic in topics])
        for message in consumer.consume(len(topics), _READ_SECONDS) if topics else ():
            error = message.error()
            if error is not None and error.code() in _DENIED:
                yield f"the broker's user lacks READ on the topic {message.topic()}: it refuses to be read"
    finally:
        consumer.close()


def _answer(future: Any) -> tuple[Any, int | None]:
    """Return what was described, or the code it was refused with when that says something of the thing itself."""
    try:
        return future.result(_SECONDS + 1), None
    except KafkaException as error:
        code = error.args[0].code()
        if code in _DENIED | {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND}:
            return None, code
        raise


def _may(described: Any, operation: AclOperation) -> bool:
    """Tell whether an operation is allowed; yes where the broker does not say."""
    allowed = described.authorized_operations
    return not allowed or operation in allowed
