"""Has Lethe become slower? `python -m bench.check`: a ratio within one run, so that the machine does not matter.

Lethe, from Kafka to committed tables, against a consumer that does nothing with the same records, in turns, on the
embedded broker. The floor is generous: it is there for a mistake that costs half of the speed, not for a percent.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from statistics import median

from bench.environment import broker
from bench.peer import Result
from bench.peers import BARE, PEERS
from bench.run import TOPIC, measure
from bench.traffic import produce

FLOOR = 0.04
"""Least processor time of a bare consumer over that of Lethe, per record. Measured: 0.08 to 0.09."""


def main() -> int:
    """Measure, say the ratio; exit status 1 below the floor."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--floor", type=float, default=FLOOR)
    options = parser.parse_args()
    options.partitions = 4
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    peers = [peer for peer in PEERS if peer.name in (BARE, "lethe")]
    with broker("embedded", TOPIC, options.partitions) as started:
        end_ms = time.time_ns() // 1_000_000
        produce(started.bootstrap, TOPIC, options.count, partitions=options.partitions, end_ms=end_ms)
        outcomes = {one.peer.name: one for one in measure(options, peers, started.bootstrap)}
    if failures := [text for one in outcomes.values() for text in one.failures]:
        print(f"a run failed: {failures[0]}", file=sys.stderr)
        return 1
    bare, lethe = (median(map(_work, outcomes[name].results)) for name in (BARE, "lethe"))
    ratio = bare / lethe
    print(f"Lethe {lethe:.1f} µs a record, bare consumer {bare:.1f} µs: {ratio:.3f} (floor {options.floor})")
    return 0 if ratio >= options.floor else 1


def _work(result: Result) -> float:
    """Processor time a record in microseconds: a busy machine changes it far less than the clock."""
    return result.cpu / result.records * 1e6


if __name__ == "__main__":
    sys.exit(main())
