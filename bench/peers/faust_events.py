"""A Faust agent on the topic itself, one event at a time, that only counts: what the framework costs."""

from __future__ import annotations

import faust

from bench.peer import Clock, Request, Result
from bench.peers.faust_host import Done, make_app


def run(request: Request) -> Result:
    """Count the events."""
    clock, done, records = Clock(), Done(), 0
    app = make_app(request)
    topic = app.topic(request.topic, value_type=bytes, value_serializer="raw")

    @app.agent(topic)
    async def count(stream: faust.StreamT) -> None:
        nonlocal records
        with done.or_failed():
            async for _ in stream:
                clock.start()
                records += 1
                if records == request.count:
                    clock.stop()
                    done.set()

    done.wait(app, request.timeout)
    return clock.result(records)
