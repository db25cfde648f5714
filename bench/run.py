"""Lethe and its peers on the same topic in one run: `python -m bench.run`, or `make bench`.

Every round runs every peer, each in a process of its own: a slow minute of the machine hits all alike.
The table shows medians over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.environment import ROOT, EnvironmentUnavailableError, broker, machine, python_of, versions
from bench.peer import Request, Result
from bench.peers import PEERS, Peer
from bench.report import Conditions, Outcome, page, plain, rows
from bench.traffic import produce
from lethe.testing.brokers.process import spawn

TOPIC = "delivery-reports"


class RunFailedError(RuntimeError):
    """Raised when a peer ends without a result; the message is the last line it wrote."""


def run_peer(peer: Peer, request: Request) -> Result:
    """Run one peer in its own process and environment; nothing of it is left afterwards.

    Raises `RunFailedError`.
    """
    directory = Path(request.directory)
    asked, answer, log = (directory.with_suffix(suffix) for suffix in (".request", ".result", ".log"))
    asked.write_text(json.dumps(asdict(request)))
    try:
        python = python_of(peer.environment)
    except EnvironmentUnavailableError as error:
        raise RunFailedError(str(error)) from error
    process = spawn(
        [str(python), "-m", "bench.peer", peer.module, str(asked), str(answer)],
        log=log,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        # The peer gives up by itself with a better message; this is for one that cannot.
        process.wait(request.timeout + 60)
    except subprocess.TimeoutExpired:
        raise RunFailedError(f"no end within {request.timeout + 60:g} s") from None
    finally:
        _kill_session(process)
    if process.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise RunFailedError(lines[-1][:200] if lines else f"exit status {process.returncode}")
    return Result(**json.loads(answer.read_text()))


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End the peer and whatever it started: `spawn` gave it a session, hence a process group, of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measure(options: argparse.Namespace, peers: list[Peer], bootstrap: str) -> list[Outcome]:
    """Run all rounds and return what came of each peer, in the order of the table."""
    outcomes = {peer.name: Outcome(peer) for peer in peers}
    steps = [
        (number, peer) for number in range(options.runs) for peer in peers for _ in range(peer.per_round)
    ]
    for done, (number, peer) in enumerate(steps, start=1):
        prefix = f"[{done}/{len(steps)}] round {number + 1} {peer.name}:"
        _progress(f"{prefix} running", end="\r")
        with tempfile.TemporaryDirectory(prefix="lethe-bench-") as scratch:
            directory = Path(scratch) / "peer"
            directory.mkdir()
            request = Request(
                bootstrap=bootstrap,
                topic=TOPIC,
                count=options.count,
                partitions=options.partitions,
                directory=str(directory),
                group=f"bench-{uuid.uuid4().hex[:12]}",
                # Generous: time to join and start, then the slowest peer at a third of its usual speed.
                timeout=60 + options.count / 3000,
                options=peer.options,
            )
            try:
                result = run_peer(peer, request)
            except RunFailedError as error:
                outcomes[peer.name].failures.append(str(error))
                _progress(f"{prefix} failed: {error}")
                continue
        outcomes[peer.name].results.append(result)
        _progress(
            f"{prefix} {result.records / result.seconds:,.0f} records/s in {result.seconds:.1f} s,"
            f" {result.rss:,.0f} MB"
        )
    return list(outcomes.values())


def _progress(text: str, end: str = "\n") -> None:
    if end == "\r" and not sys.stderr.isatty():
        return
    print(f"\r\033[K{text}" if sys.stderr.isatty() else text, end=end, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="records in the topic")
    parser.add_argument("--runs", type=int, default=3, help="rounds; three or more for figures to keep")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument(
        "--only", default="", help=f"comma-separated: {', '.join(peer.name for peer in PEERS)}"
    )
    parser.add_argument("--broker", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "RESULTS.md")
    parser.add_argument("--json", type=Path, help="also write every single run to this file")
    options = parser.parse_args()
    known = {peer.name for peer in PEERS}
    options.only = [name for name in options.only.split(",") if name] or sorted(known)
    if unknown := set(options.only) - known:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    return options


def main() -> int:
    """Measure, print the table, write the page; exit status 1 if a run of any peer failed."""
    options = _options()
    # SIGTERM ends like Ctrl-C, so that broker and peers are cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    peers = [peer for peer in PEERS if peer.name in options.only]
    load = os.getloadavg()[0]
    with broker(options.broker, TOPIC, options.partitions) as started:
        _progress(f"{started.title}: writing {options.count:,} records")
        end_ms = time.time_ns() // 1_000_000
        total = produce(started.bootstrap, TOPIC, options.count, partitions=options.partitions, end_ms=end_ms)
        outcomes = measure(options, peers, started.bootstrap)
    conditions = Conditions(
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        load=load,
        broker=started.title,
        versions=versions(),
        command=" ".join(["python -m bench.run", *sys.argv[1:]]),
        count=options.count,
        record_bytes=total / options.count,
        partitions=options.partitions,
        runs=options.runs,
    )
    table = rows(outcomes)
    print(plain(table))
    options.output.write_text(page(table, conditions))
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    return 1 if any(outcome.failures for outcome in outcomes) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
