"""A Faust agent counting batches from a channel, fed by a confluent consumer: Faust without its transport."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import faust
from confluent_kafka import Consumer, KafkaException, Message
from mode import Service

from bench.peer import Clock, Request, Result
from bench.peers.bare import BATCH, consumer_settings
from bench.peers.faust_host import Done, make_app


def run(request: Request) -> Result:
    """Count the records in the batches."""
    clock, done, records = Clock(), Done(), 0
    app = make_app(request)
    channel = app.channel(maxsize=8)

    @app.service
    class Feed(Service):
        """Hands on what `consume` returns; the call waits in a thread."""

        @Service.task
        async def _feed(self) -> None:
            # Not in Faust's own group: its members would not agree on an assignor.
            consumer = Consumer(consumer_settings(replace(request, group=f"{request.group}-feed")))
            consumer.subscribe([request.topic], on_assign=lambda *_: clock.start())
            while not self.should_stop:
                batch = await asyncio.to_thread(consumer.consume, BATCH, 0.5)
                if batch:
                    await channel.put(batch)

    @app.agent(channel)
    async def count(stream: faust.StreamT[list[Message]]) -> None:
        nonlocal records
        with done.or_failed():
            async for batch in stream:
                for message in batch:
                    if message.error():
                        raise KafkaException(message.error())
                records += len(batch)
                if records >= request.count:
                    clock.stop()
                    done.set()

    done.wait(app, request.timeout)
    return clock.result(records)
