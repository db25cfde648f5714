"""Who a topic is: the cluster, the topic's id, and the name its records go by in the warehouse."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from schemas.errors import ConfigurationError, GapError, TransientError
from streams.settings import Settings
from tiers.warehouse import Warehouse

_SECONDS = 15.0


def client_options(settings: Settings) -> dict[str, Any]:
    """What every client of the broker is configured with."""
    kafka = settings.kafka
    options: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "security.protocol": kafka.security_protocol,
        "sasl.mechanism": kafka.sasl_mechanism,
        "sasl.username": kafka.sasl_username,
        "sasl.password": None if kafka.sasl_password is None else kafka.sasl_password.get_secret_value(),
        "ssl.ca.location": None if kafka.ssl_ca_file is None else str(kafka.ssl_ca_file),
        "ssl.certificate.location": None if kafka.ssl_certificate_file is None else str(kafka.ssl_certificate_file),
        "ssl.key.location": None if kafka.ssl_key_file is None else str(kafka.ssl_key_file),
        "client.id": "lethe",
        "logger": logging.getLogger("librdkafka"),
    }
    return {name: value for name, value in options.items() if value is not None}


def identify(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """Topic -> `cluster/topic id`, for topics that are there.

    Raises `TransientError` when the broker does not answer and `ConfigurationError` when a topic is missing or may
    not be read, both with what to do.
    """
    admin = AdminClient({**client_options(settings), "socket.timeout.ms": int(_SECONDS * 1000)})
    wanted = sorted(topics)
    try:
        admin.list_topics(timeout=_SECONDS)
        cluster = admin.describe_cluster(request_timeout=_SECONDS).result(_SECONDS).cluster_id
        described = admin.describe_topics(TopicCollection(wanted), request_timeout=_SECONDS)
        return {topic: f"{cluster}/{described[topic].result(_SECONDS).topic_id}" for topic in wanted}
    except KafkaException as error:
        cause: KafkaError = error.args[0]
        if cause.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED):
            raise ConfigurationError(
                f"a topic of `sources` ({', '.join(wanted)}) is missing or may not be read: {cause.name()}; "
                "create it or mend `sources`"
            ) from None
        raise TransientError(
            f"no answer from the broker at {settings.bootstrap} ({cause.name()}); is it running, is `bootstrap` right?"
        ) from None


def stream_names(
    warehouse: Warehouse, identities: dict[str, str], accept_gap: bool
) -> dict[str, tuple[str, str | None]]:
    """Topic -> (stream, gap): the name its records go by, and what to note down if the topic is not the one known.

    A topic keeps its name while its identity stays; created again (or on another cluster) it goes on as `topic~2`,
    because offsets start over and a position must name one record for ever. Raises `GapError` unless that is accepted.
    """
    known = warehouse.incarnations()
    names: dict[str, tuple[str, str | None]] = {}
    for topic, identity in identities.items():
        mine = {stream: ids for stream, ids in known.items() if stream.split("~")[0] == topic}
        same = [stream for stream, ids in mine.items() if identity in ids]
        if same or not mine:
            names[topic] = (same[0] if same else topic, None)
        elif accept_gap:
            names[topic] = (f"{topic}~{len(mine) + 1}", "the topic was created again: records not read by then are gone")
        else:
            raise GapError(
                f"topic {topic} is not the one that was read before: it was created again, or this is another cluster; "
                "records not read by then are gone. `lethe worker --accept-gap` notes that down and goes on"
            )
    return names
