"""Who a topic is: the cluster, the topic's id, and the name its records go by in the warehouse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.cimpl import NewTopic

from lethe.operations.settings import Settings
from lethe.schemas.errors import ConfigurationError, GapError, TransientError
from lethe.streams.broker.client import ANSWER_SECONDS, Admin
from lethe.streams.transform.batch import Source
from lethe.tiers.ledger.accepted import AcceptedGap

_NOT_READ = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "is not there; `lethe topics create` makes it, or mend `sources`",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (
        "may not be described: the broker's user needs READ and DESCRIBE on it (docs/kafka.md)"
    ),
}
_MAY_NOT_CREATE = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
    }
)
_RENEWED = re.compile(r"\+\+([0-9]+)/[0-9]+$")


def identify(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """Ask the broker for the identity of topics: topic -> `cluster/topic id`.

    Raises `TransientError` when the broker does not answer and `ConfigurationError` when a topic is missing or may
    not be read, both with what to do.
    """
    admin = Admin(settings)
    admin.reach()
    wanted = sorted(topics)
    try:
        cluster = (
            admin.client.describe_cluster(request_timeout=ANSWER_SECONDS).result(ANSWER_SECONDS).cluster_id
        )
        described = admin.client.describe_topics(TopicCollection(wanted), request_timeout=ANSWER_SECONDS)
        found = {}
        for topic in wanted:
            try:
                found[topic] = f"{cluster}/{described[topic].result(ANSWER_SECONDS).topic_id}"
            except KafkaException as error:
                if (why := _NOT_READ.get(error.args[0].code())) is None:
                    raise
                raise ConfigurationError(f"topic {topic} of `sources` {why}") from None
        return found
    except (KafkaException, TimeoutError) as error:
        raise admin.failed(error) from None


def create(settings: Settings, topics: Sequence[NewTopic]) -> dict[str, bool]:
    """Make the topics that are not there: topic -> whether it was made now.

    What is there is left as it is, so that no right to create is needed where somebody else has made them. Raises
    `ConfigurationError` when a right is missing and `TransientError` when the broker does not answer.
    """
    admin = Admin(settings)
    admin.reach()
    try:
        names = [topic.topic for topic in topics]
        found = admin.client.describe_topics(TopicCollection(names), request_timeout=ANSWER_SECONDS)
        missing = {name for name in names if not _is_there(found[name])}
        wanted = [topic for topic in topics if topic.topic in missing]
        made = admin.client.create_topics(wanted, request_timeout=ANSWER_SECONDS) if wanted else {}
        for name, future in made.items():
            try:
                future.result(2 * ANSWER_SECONDS)
            except KafkaException as error:
                code = error.args[0].code()
                if code in _MAY_NOT_CREATE:
                    raise ConfigurationError(
                        f"topic {name} is not there, or may not be described, and the broker's user may not create it; "
                        "let somebody who may run `lethe topics create` (docs/kafka.md)"
                    ) from None
                if code == KafkaError.INVALID_REPLICATION_FACTOR:
                    raise ConfigurationError(
                        f"topic {name}: the cluster has too few brokers for kafka.replication "
                        f"{settings.kafka.replication}"
                    ) from None
                if code != KafkaError.TOPIC_ALREADY_EXISTS:  # by another worker, a moment ago
                    raise
        return {name: name in missing for name in names}
    except (KafkaException, TimeoutError) as error:
        raise admin.failed(error) from None


def _is_there(described: Any) -> bool:
    try:
        described.result(ANSWER_SECONDS)
    except KafkaException as error:
        if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            return False
        raise
    return True


class StillTheSame:
    """Makes sure that the topics are still those that were read from at the start. Safe to use from several threads.

    Asked after records were fetched and before they are committed: records of a topic that was made again under the
    same name are never taken for records of the old one.
    """

    def __init__(self, settings: Settings, identities: Mapping[str, str]) -> None:
        self._settings = settings
        self._admin: Admin | None = None
        self._identities = dict(identities)

    def check(self) -> None:
        """Raise `GapError` when a topic is another one now, `TransientError` when the broker does not answer."""
        wanted = TopicCollection(sorted(self._identities))
        try:
            # Made anew after a failure: it begins with the addresses and credentials that are given now, not with nodes
            # that may be gone.
            admin = self._admin = self._admin or Admin(self._settings)
        except ConfigurationError as error:
            raise TransientError(str(error)) from None  # a file that is being rotated
        try:
            # This one asks any node that answers, and so learns who the controller is now.
            cluster = admin.client.list_topics(timeout=ANSWER_SECONDS).cluster_id
            described = admin.client.describe_topics(wanted, request_timeout=ANSWER_SECONDS)
            for topic, identity in self._identities.items():
                try:
                    found = f"{cluster}/{described[topic].result(ANSWER_SECONDS).topic_id}"
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise
                    continue  # deleted and not made again: what was read of it was read of the old one
                if found != identity:
                    raise _recreated(topic)
        except (KafkaException, TimeoutError) as error:
            self._admin = None
            raise TransientError(str(admin.failed(error))) from None


def _recreated(topic: str) -> GapError:
    return GapError(
        f"topic {topic} is not the one that was read before: it was created again, or this is another cluster; "
        "records not read by then are gone. `lethe worker --accept-gap` notes that down and goes on"
    )


class Streams:
    """The names topics go by in the warehouse: the position of a record must name one record for ever.

    A topic keeps its name while its identity stays. Created again, on another cluster, or with a partition that lost
    records it had, offsets start over, and it goes on as `topic~2`.
    """

    def __init__(
        self,
        known: Mapping[str, str],
        settings: Settings,
        identities: Mapping[str, str],
        accepted: Mapping[str, AcceptedGap] | None = None,
    ) -> None:
        self._known = dict(known)  # source -> stream
        self.accepted = dict(accepted or {})
        """Gaps that were agreed to, by the identity of the topic; `check` adds to them."""
        self._formats = settings.sources
        self._identities = identities
        self._names: dict[str, str] = {}
        self._gaps: dict[str, str] = {}

    def check(self, accept_gap: bool) -> None:
        """Raise `GapError` when a topic is not the one that was read before, unless that is accepted."""
        for topic, identity in self._identities.items():
            mine = {source: stream for source, stream in self._known.items() if stream.split("~")[0] == topic}
            same = [stream for source, stream in mine.items() if _identity(source) == identity]
            if same or not mine:
                self._names[topic] = min(same, default=topic, key=len)
            elif accept_gap or identity in self.accepted:
                gap = "the topic was created again: records not read by then are gone"
                agreed = self.accepted.setdefault(
                    identity, AcceptedGap(identity, self._next_name(topic), gap)
                )
                self._names[topic], self._gaps[topic] = agreed.stream, agreed.gap
            else:
                raise _recreated(topic)

    def source(self, topic: str, partition: int) -> Source:
        """Return the source of a partition, in its newest incarnation."""
        identity = self._identities[topic]
        mine = [s for s in self._known if _identity(s) == identity and s.endswith(f"/{partition}")]
        if mine:
            newest = max(mine, key=_incarnation)
            return Source(self._known[newest], partition, newest, self._formats[topic])
        return Source(self._names[topic], partition, f"{identity}/{partition}", self._formats[topic])

    def gap(self, topic: str) -> str | None:
        """Return the gap to note down with the first records of a partition that was never read."""
        return self._gaps.get(topic)

    def renew(self, topic: str, partition: int) -> None:
        """Go on with a partition that lost records it had as a new stream."""
        name = self._next_name(topic)
        self._gaps[topic] = "the topic lost records that it had: offsets start over"
        self._known[f"{self._identities[topic]}++{name.rpartition('~')[2]}/{partition}"] = name

    def _next_name(self, topic: str) -> str:
        names = {stream for stream in self._known.values() if stream.split("~")[0] == topic}
        return f"{topic}~{len(names) + 1}"


def _identity(source: str) -> str:
    """Cut `cluster/topic id` out of a transaction id `cluster/topic id[++n]/partition`."""
    return _RENEWED.sub("", source) if _RENEWED.search(source) else source.rpartition("/")[0]


def _incarnation(source: str) -> int:
    match = _RENEWED.search(source)
    return int(match[1]) if match else 1
