"""Bytewax with one worker: its Kafka source, one JSON parse a record, and a sink that only counts."""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from bench.peer import LIBRDKAFKA, Clock, Request, Result


class _Counter(StatelessSinkPartition[Any]):
    def __init__(self, clock: Clock) -> None:
        self.records = 0
        self._clock = clock

    def write_batch(self, items: list[Any]) -> None:
        self.records += len(items)
        self._clock.stop()


class _CountingSink(DynamicSink[Any]):
    def __init__(self, counter: _Counter) -> None:
        self._counter = counter

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Counter:
        return self._counter


def run(request: Request) -> Result:
    """Parse the topic up to its end, which Bytewax finds by itself."""
    clock = Clock()
    counter = _Counter(clock)

    def parse(message: KafkaSourceMessage[bytes, bytes]) -> Any:
        clock.start()
        return orjson.loads(message.value)

    flow = Dataflow("bench")
    source = KafkaSource(
        [request.bootstrap], [request.topic], tail=False, add_config=dict(LIBRDKAFKA), batch_size=10_000
    )
    messages = op.input("kafka", flow, source)
    op.output("count", op.map("parse", messages, parse), _CountingSink(counter))
    run_main(flow)
    return clock.result(counter.records)
