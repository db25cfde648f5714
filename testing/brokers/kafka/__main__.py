"""`python -m lethe.testing.brokers.kafka start|stop|status|wipe|fetch`: Apache Kafka 4 beside your shell."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lethe.schemas.errors import ConfigurationError, LetheError
from lethe.testing.brokers.kafka import artifacts
from lethe.testing.brokers.kafka.cluster import KafkaCluster

_DEFAULT = Path("var") / "kafka"
_STOP_SECONDS = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; return 0, or 1 after one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m lethe.testing.brokers.kafka", description=__doc__)
    parser.add_argument(
        "--dir", type=Path, default=_DEFAULT, help="where its data is kept (default: %(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="format if new, start in the background, wait until it answers")
    start.add_argument("--nodes", type=int, choices=(1, 3), default=1)
    commands.add_parser("stop", help="stop it; the data stays")
    commands.add_parser("status", help="say which nodes run")
    commands.add_parser("wipe", help="stop it and remove its data")
    commands.add_parser("fetch", help="download the jars into the cache, once")
    options = parser.parse_args(arguments)
    try:
        if options.command == "start":
            _start(options.dir, options.nodes)
        elif options.command == "fetch":
            print(artifacts.libraries())
        elif options.command == "status":
            _status(options.dir)
        else:
            _stop(options.dir)
            if options.command == "wipe":
                _wipe(options.dir)
    except LetheError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _start(directory: Path, nodes: int) -> None:
    if running := _running(directory):
        raise ConfigurationError(
            f"a cluster already runs in {directory} ({len(running)} nodes): stop it first"
        )
    cluster = KafkaCluster(nodes, directory=directory.absolute()).start(detached=True)
    print(f"Kafka ready at {cluster.bootstrap}")


def _status(directory: Path) -> None:
    running = _running(directory)
    for folder, pid in running.items():
        print(f"{folder.name} runs as process {pid}, log {folder / 'server.log'}")
    if not running:
        print(f"no node runs in {directory}")


def _stop(directory: Path) -> None:
    running = _running(directory)
    for pid in running.values():
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while running and time.monotonic() < deadline:
        time.sleep(0.1)
        running = _running(directory)
    for pid in running.values():
        os.kill(pid, signal.SIGKILL)


def _wipe(directory: Path) -> None:
    if directory.exists() and not (directory / "cluster.json").exists():
        raise ConfigurationError(f"{directory} holds no Kafka cluster: nothing removed")
    shutil.rmtree(directory, ignore_errors=True)


def _running(directory: Path) -> dict[Path, int]:
    """Return the folders of the nodes that run, with their process ids."""
    found = {}
    for file in sorted(directory.glob("node-*/pid")):
        pid = int(file.read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/cmdline")
        # The id may have gone to another program since: only one that was started with our settings counts.
        if (
            command.exists()
            and str(file.with_name("server.properties").absolute()).encode() in command.read_bytes()
        ):
            found[file.parent] = pid
    return found


if __name__ == "__main__":
    sys.exit(main())
