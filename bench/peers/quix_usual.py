"""The job in Quix Streams, the way its documentation teaches: a dataframe over the topic, a batching sink."""

from __future__ import annotations

import threading
from typing import Any

from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from bench.peer import LIBRDKAFKA, Clock, Request, Result
from bench.usual import FLUSH, Halves, Job


class ParquetSink(BatchingSink):
    """Writes both halves of each partition at every checkpoint, before its offsets are committed."""

    def __init__(self, job: Job, clock: Clock) -> None:
        super().__init__()
        self._job = job
        self._clock = clock

    def write(self, batch: SinkBatch) -> None:
        """Write one checkpoint of one partition."""
        self._job.write(item.value for item in batch)
        self._clock.stop()


def run(request: Request) -> Result:
    """Split every record, with a checkpoint each `FLUSH` records per partition and at the end."""
    clock, records = Clock(), 0
    job = Job(request.directory)
    app = Application(
        broker_address=request.bootstrap,
        consumer_group=request.group,
        auto_offset_reset="earliest",
        commit_every=FLUSH * request.partitions,
        state_dir=request.directory,
        consumer_extra_config=LIBRDKAFKA,
        loglevel="ERROR",
    )
    dataframe = app.dataframe(app.topic(request.topic, value_deserializer="json"))

    def separate(record: dict[str, Any]) -> Halves:
        nonlocal records
        clock.start()
        records += 1
        if records == request.count:
            app.stop()  # ends after this record, with a last checkpoint
        return job.split(record)

    dataframe.apply(separate).sink(ParquetSink(job, clock))
    watchdog = threading.Timer(request.timeout, app.stop)
    watchdog.start()
    app.run()
    watchdog.cancel()
    if records < request.count:
        raise TimeoutError(f"{records} of {request.count} records after {request.timeout:g} s")
    return clock.result(records, detail=job.check(request.count))
