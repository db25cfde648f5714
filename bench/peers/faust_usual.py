"""The job in Faust, the way its documentation teaches: an agent over events that Faust has parsed."""

from __future__ import annotations

import asyncio
from typing import Any

import faust

from bench.peer import Clock, Request, Result
from bench.peers.faust_host import Done, make_app
from bench.usual import FLUSH, Halves, Job


def run(request: Request) -> Result:
    """Split every event, write both halves each `FLUSH` records and at the end."""
    clock, done, records = Clock(), Done(), 0
    job = Job(request.directory)
    app = make_app(request)
    topic = app.topic(request.topic, value_serializer="json")

    @app.agent(topic)
    async def separate(stream: faust.StreamT[dict[str, Any]]) -> None:
        nonlocal records
        rows: list[Halves] = []
        with done.or_failed():
            async for record in stream:
                clock.start()
                rows.append(job.split(record))
                records += 1
                if len(rows) == FLUSH or records == request.count:
                    await asyncio.to_thread(job.write, rows)
                    rows = []
                    if records == request.count:
                        clock.stop()
                        done.set()

    done.wait(app, request.timeout)
    return clock.result(records, detail=job.check(request.count))
