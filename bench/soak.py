"""Kill workers at random, again and again, and count what is lost and what is doubled: `make soak N=500`.

Every kill is SIGKILL: half of them at a random step of the commit, the other half at a random moment. Each worker joins
a consumer group of its own, so that it need not wait for the session of the dead one to end; where it starts is said by
the tables alone. At the end one worker reads the rest, and the checker of the tests compares every record produced with
the tables. Status 1 if anything is lost, doubled or wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from brokers import chosen_kind, running_broker
from workers import Process, Site, traffic

POINTS = [
    "commit.begin", "identifiers.written", "identifiers.committed", "originals.written", "originals.committed",
    "quarantine.written", "quarantine.committed", "metadata.written", "metadata.committed", "ledger.written",
    "ledger.committed", "commit.end",
]  # fmt: skip
PARTITIONS = 3
_LONGEST = 30.0


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--records", type=int, help="messages in all; default: 600 for every kill")
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed kills at the same steps; 0: another each time"
    )
    options = parser.parse_args()
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 32)
    dice = random.Random(seed)
    per_partition = (options.records or 600 * max(5, options.kills)) // PARTITIONS
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lethe-soak-") as name, running_broker(chosen_kind()) as broker:
        site = Site(Path(name), broker)
        topic = site.topic("soak", PARTITIONS)
        for partition in range(PARTITIONS):
            site.produce(
                topic, traffic(per_partition, seed=partition, malformed=0.02, envelope=0.02), partition
            )
        site.variables |= {
            "LETHE_FLUSH__SECONDS": "0.1", "LETHE_FLUSH__BATCH": "100", "LETHE_FLUSH__RECORDS": "100",
        }  # fmt: skip
        print(f"{PARTITIONS * per_partition:,} messages, {options.kills} kills, seed {seed}", flush=True)
        try:
            ended = _kill_again_and_again(site, dice, options.kills)
            site.drain(seconds=240, LETHE_KAFKA__GROUP="last")
            verdict = site.checker().judge(site.produced)
            ledger = site.run("ledger", "--check", seconds=240)
        finally:
            site.close()
    print(f"{options.kills} kills ({ended} at a step of the commit) in {time.monotonic() - started:.0f} s")
    print(
        f"lost {len(verdict.lost)}, doubled {len(verdict.doubled)}, wrong {len(verdict.foreign) + len(verdict.wrong)}"
    )
    print(f"{verdict.archived:,} rows in the archive, {verdict.quarantined:,} in quarantine")
    print(f"ledger --check: {'adds up' if ledger.returncode == 0 else ledger.stdout + ledger.stderr}")
    return 0 if verdict.kept and ledger.returncode == 0 else 1


def _kill_again_and_again(site: Site, dice: random.Random, kills: int) -> int:
    """Kill that many workers; returns how many of them died at a step of the commit."""
    steps = 0
    for number in range(kills):
        more = {"LETHE_KAFKA__GROUP": f"soak-{number}"}
        at_step = dice.random() < 0.5
        if at_step:
            more["LETHE_FAIL_POINT"] = f"{dice.choice(POINTS)}:{dice.randint(1, 3)}"
        worker = site.worker(**more)
        steps += _end(worker, _LONGEST if at_step else dice.uniform(3, 9))
        site.processes.clear()
        print(f"\r{number + 1} kills, {site.archived():,} rows", end="", flush=True)
    print()
    return steps


def _end(worker: Process, seconds: float) -> bool:
    """Wait for it to die, or kill it when the time is over; returns whether it died by itself."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if worker.popen.poll() is not None:
            assert worker.popen.returncode == -9, worker.text()[-2000:]
            return True
        time.sleep(0.02)
    worker.kill()
    return False


if __name__ == "__main__":
    sys.exit(main())
