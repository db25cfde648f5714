"""Pathway: its Kafka connector parses the JSON in Rust, the engine counts the rows."""

from __future__ import annotations

import os
import threading
from typing import Any

# Read when the engine is loaded. One thread is the default; two are as many as the benchmark's machine has.
os.environ["PATHWAY_THREADS"] = "2"
import pathway as pw

from bench.peer import LIBRDKAFKA, Clock, Request, Result

# Pathway hands nothing on before a commit. The default of 1.5 s would hide that much of the work from the
# clock, which starts at the first count that comes out.
_AUTOCOMMIT_MS = 100


class Report(pw.Schema):
    """A delivery report; the nested objects stay JSON values."""

    bulkId: str  # noqa: N815 - the names of the records
    messageId: str  # noqa: N815
    to: str
    sender: str
    sentAt: str  # noqa: N815
    doneAt: str  # noqa: N815
    messageCount: int  # noqa: N815
    mccMnc: str  # noqa: N815
    callbackData: str  # noqa: N815
    price: pw.Json
    status: pw.Json
    error: pw.Json


def run(request: Request) -> Result:
    """Parse the topic until the count is reached; Pathway then has to be left behind, it has no stop."""
    clock, done, records = Clock(), threading.Event(), 0
    reports = pw.io.kafka.read(
        {
            "bootstrap.servers": request.bootstrap,
            "group.id": request.group,
            "auto.offset.reset": "earliest",
            **LIBRDKAFKA,
        },
        topic=request.topic,
        schema=Report,
        format="json",
        autocommit_duration_ms=_AUTOCOMMIT_MS,
        max_backlog_size=100_000,
    )

    def on_change(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:  # noqa: ARG001
        nonlocal records
        clock.start()
        if is_addition:
            records = row["records"]
        if records == request.count:
            clock.stop()
            done.set()

    pw.io.subscribe(reports.reduce(records=pw.reducers.count()), on_change=on_change)
    failed: list[BaseException] = []

    def engine() -> None:
        try:
            pw.run(monitoring_level=pw.MonitoringLevel.NONE)
        except BaseException as error:  # noqa: BLE001 - a thread's end must not look like a long wait
            failed.append(error)
            done.set()

    threading.Thread(target=engine, daemon=True).start()
    if not done.wait(request.timeout):
        raise TimeoutError(f"{records} of {request.count} records after {request.timeout:g} s")
    if failed:
        raise failed[0]
    return clock.result(records)
