"""The limit of any Python consumer: `confluent_kafka` (librdkafka), thousands of messages a call, no work."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException

from bench.peer import LIBRDKAFKA, Clock, Request, Result

BATCH = 10_000


def consumer_settings(request: Request) -> dict[str, str | int | bool]:
    """Return librdkafka's settings of all peers that use it directly."""
    return {
        "bootstrap.servers": request.bootstrap,
        "group.id": request.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **LIBRDKAFKA,
    }


def run(request: Request) -> Result:
    """Consume the topic and count."""
    clock = Clock()
    consumer = Consumer(consumer_settings(request))
    consumer.subscribe([request.topic], on_assign=lambda *_: clock.start())
    deadline = time.monotonic() + request.timeout
    records = 0
    while records < request.count:
        messages = consumer.consume(BATCH, timeout=0.5)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        records += len(messages)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{records} of {request.count} records after {request.timeout:g} s")
    clock.stop()
    return clock.result(records)
