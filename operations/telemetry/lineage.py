"""An OpenLineage event for each commit: which topics went into which tables, and how many rows.

Events name topics and tables and count rows; nothing of a record is in them. They are sent by a thread of their own
from a bounded queue: a receiver that is away, slow or wrong neither holds a commit up nor fails it. What does not fit
into the queue is dropped: lineage is a picture, the ledger is the account.
"""

from __future__ import annotations

import logging
import queue
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from lethe import __version__
from lethe.operations.lines import FILE
from lethe.operations.settings import Settings
from lethe.schemas.transformed import TransformedBatch

log = logging.getLogger("lethe.lineage")

PRODUCER: Final = f"https://pypi.org/project/lethe/{__version__}/"
SCHEMA: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS: Final = "https://openlineage.io/spec/facets"
_INPUT: Final = (
    f"{_FACETS}/1-0-0/InputStatisticsInputDatasetFacet.json#/$defs/InputStatisticsInputDatasetFacet"
)
_OUTPUT: Final = (
    f"{_FACETS}/1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet"
)
_WAITING: Final = 1_000
_SEND_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 2.0
_TABLES: Final = ("metadata", "identifiers", "quarantine", "usage")


class Lineage:
    """Sends the events of one process. `settings.telemetry.lineage_url`: where to; None: nothing is made or sent."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._clock = clock
        self._url = settings.telemetry.lineage_url
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    def committed(self, batches: Sequence[TransformedBatch]) -> None:
        """Take note of a commit that has landed. Never raises, never waits."""
        if self._url is None:
            return
        try:
            body = orjson.dumps(event(self._settings, batches, self._clock()))
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="lineage", daemon=True)
                self._thread.start()
            self._waiting.put_nowait(body)
        except queue.Full:
            self._note("more events wait than are kept: the newest are dropped")
        except Exception as error:  # noqa: BLE001  (the commit has landed: nothing here may say otherwise)
            self._note(f"an event could not be made ({type(error).__name__})")

    def close(self) -> None:
        """Send what waits, for two seconds at most."""
        if self._thread is not None:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                return
            self._thread.join(_LEAVE_SECONDS)

    def _send_all(self) -> None:
        while (body := self._waiting.get()) is not None:
            self._note(self._send(body))

    def _send(self, body: bytes) -> str | None:
        """Send an event; return what is wrong with the receiver, if anything."""
        request = urllib.request.Request(  # noqa: S310  (http or https, as the settings checked)
            str(self._url), body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_SEND_SECONDS):  # noqa: S310
                return None
        except urllib.error.HTTPError as error:
            error.close()
            return f"the receiver answers {error.code}"
        except Exception as error:  # noqa: BLE001  (whatever it is, the next event is tried)
            return f"the receiver does not answer ({type(error).__name__})"

    def _note(self, trouble: str | None) -> None:
        """Say once each thing that is wrong, and once that it is well again."""
        if trouble is None:
            if self._said:
                self._said.clear()
                log.info("lineage is sent again")
        elif trouble not in self._said:
            self._said.add(trouble)
            log.warning("lineage: %s; commits go on, check telemetry.lineage_url", trouble)


def event(settings: Settings, batches: Sequence[TransformedBatch], now: datetime) -> dict[str, Any]:
    """Describe a commit as a RunEvent of OpenLineage 2-0-2.

    The run's id follows from the offsets: a commit that is told twice is the same run. A file is named by the stream it
    became, as the ledger names it: what it was called could name somebody.
    """
    ranges = sorted(f"{batch.source}:{batch.first}-{batch.last}" for batch in batches)
    taken: dict[str, int] = {}
    for batch in batches:
        taken[batch.stream] = taken.get(batch.stream, 0) + batch.counts.records
    written = {name: sum(getattr(batch, name).num_rows for batch in batches) for name in _TABLES}
    namespace, root = _place(settings.root)
    return {
        "eventType": "COMPLETE",
        "eventTime": now.isoformat(),
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, "lethe:" + ",".join(ranges)))},
        "job": {"namespace": "lethe", "name": f"{settings.kafka.group}.commit"},
        "inputs": [
            {
                "namespace": "file"
                if stream.startswith(FILE)
                else f"kafka://{settings.bootstrap.partition(',')[0]}",
                "name": stream,
                "inputFacets": {"inputStatistics": _statistics(_INPUT, rows)},
            }
            for stream, rows in sorted(taken.items())
        ],
        "outputs": [
            {
                "namespace": namespace,
                "name": f"{root}/{table}",
                "outputFacets": {"outputStatistics": _statistics(_OUTPUT, rows)},
            }
            for table, rows in written.items()
            if rows
        ],
    }


def _statistics(schema: str, rows: int) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": schema, "rowCount": rows}


def _place(root: str) -> tuple[str, str]:
    """Split the warehouse's root as OpenLineage names data sets: (namespace, name)."""
    scheme, found, rest = root.partition("://")
    if not found or scheme == "file":
        return "file", str(Path(rest if found else root).absolute())
    bucket, _, prefix = rest.partition("/")
    return f"{scheme}://{bucket}", prefix.strip("/") or "/"
