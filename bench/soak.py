"""Kill workers at random, again and again, and count what is lost and what is doubled: `make soak N=500`.

Every kill is SIGKILL: half of them at a random step of the commit, the other half at a random moment. Each worker joins
a consumer group of its own, so that it need not wait for the session of the dead one to end; where it starts is said by
the tables alone.

A long run is made of rounds, each with a broker and a warehouse of its own. At the end of a round one worker reads the
rest, and the checker of the tests compares every record produced with the tables. Status 1 if anything is lost, doubled
or wrong, or if the run ended before the kills that were asked for.

With `--journal FILE` every finished round is noted down, and the same command goes on where the last one stopped (or
was stopped; a round that was under way then is not counted). `--minutes` ends a run early, but judges its last rounds.
`--at-once 3` makes three rounds side by side: a worker is mostly waited for, and a busy machine kills at other moments.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
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
_FINDINGS = 1_000  # characters of what `lethe ledger --check` says


@dataclass(frozen=True)
class Round:
    """What one warehouse went through, and what was found in it at the end."""

    seed: int
    kills: int
    at_step: int  # kills that hit a step of the commit
    messages: int
    archived: int
    quarantined: int
    lost: int
    doubled: int
    wrong: int
    findings: str  # of `lethe ledger --check`
    seconds: int

    @property
    def kept(self) -> bool:
        """Whether the promise was."""
        return not (self.lost or self.doubled or self.wrong or self.findings)


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--round", type=int, default=50, help="kills in one round")
    parser.add_argument("--records", type=int, default=600, help="messages produced before every kill")
    parser.add_argument("--at-once", type=int, default=1, help="rounds side by side")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no kill after that long")
    parser.add_argument("--journal", type=Path, help="where finished rounds are noted down, as JSON lines")
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed kills at the same steps; 0: another each time"
    )
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 32)
    rounds = _noted_down(options.journal)
    if rounds:
        print(f"going on after {sum(r.kills for r in rounds)} kills in {len(rounds)} rounds", flush=True)
    left = options.kills - sum(r.kills for r in rounds)
    sizes = [min(options.round, left - at) for at in range(0, max(0, left), options.round)]
    with ThreadPoolExecutor(options.at_once) as pool:
        coming = [
            pool.submit(_round, seed + number, kills, options.records, deadline)
            for number, kills in enumerate(sizes, len(rounds))
        ]
        for one in as_completed(coming):
            try:
                done = one.result()
            except Exception as error:  # noqa: BLE001  (a busy machine ends a round in many ways; the others count)
                print(
                    f"a round ended without a verdict, its kills are not counted: {error!r}"[:500], flush=True
                )
                continue
            if done is None:
                continue
            rounds.append(done)
            if options.journal:
                _note_down(options.journal, done)
            _print(f"round {len(rounds)} (seed {done.seed}, {done.seconds} s)", [done])
    _print("altogether", rounds)
    if (left := options.kills - sum(r.kills for r in rounds)) > 0:
        print(f"{left} kills are left: the time is over")
    return 0 if left <= 0 and all(r.kept for r in rounds) else 1


def _noted_down(journal: Path | None) -> list[Round]:
    """The rounds of a journal. A line whose end is missing was torn by a crash: its round is made again."""
    if journal is None or not journal.exists():
        return []
    whole, _, torn = journal.read_text().rpartition("\n")
    if torn:
        journal.write_text(f"{whole}\n" if whole else "")
    return [Round(**json.loads(line)) for line in whole.splitlines()]


def _note_down(journal: Path, done: Round) -> None:
    with journal.open("a") as file:
        file.write(json.dumps(asdict(done)) + "\n")


def _print(what: str, rounds: list[Round]) -> None:
    kills, steps = sum(r.kills for r in rounds), sum(r.at_step for r in rounds)
    print(
        f"{what}: {kills} kills ({steps} at a step of the commit), {sum(r.messages for r in rounds):,} messages\n"
        f"  lost {sum(r.lost for r in rounds)}, doubled {sum(r.doubled for r in rounds)}, "
        f"wrong {sum(r.wrong for r in rounds)}; {sum(r.archived for r in rounds):,} rows in the archive, "
        f"{sum(r.quarantined for r in rounds):,} in quarantine\n"
        f"  ledger --check: {'; '.join(r.findings for r in rounds if r.findings) or 'adds up'}",
        flush=True,
    )


def _round(seed: int, kills: int, records: int, deadline: float) -> Round | None:
    """Kill that many workers of one warehouse, fewer if the time is over, and judge it; None if it was over before."""
    if time.monotonic() >= deadline:
        return None
    dice = random.Random(seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lethe-soak-") as name, running_broker(chosen_kind()) as broker:
        site = Site(Path(name), broker)
        site.variables |= {
            "LETHE_FLUSH__SECONDS": "0.1", "LETHE_FLUSH__BATCH": "100", "LETHE_FLUSH__RECORDS": "100",
            "LETHE_KAFKA__SESSION_TIMEOUT_MS": "2000",
        }  # fmt: skip
        topic = site.topic("soak", PARTITIONS)
        number = at_step = 0
        try:
            while number < kills and time.monotonic() < deadline:
                _produce(site, topic, records, dice)
                at_step += _kill_one(site, number, dice)
                number += 1
                print(f"  {seed}: {number} of {kills} killed, {site.archived():,} rows", flush=True)
            site.drain(seconds=240, LETHE_KAFKA__GROUP="last")
            verdict = site.checker().judge(site.produced)
            ledger = site.run("ledger", "--check", seconds=240)
        finally:
            site.close()
    return Round(
        seed=seed,
        kills=number,
        at_step=at_step,
        messages=len(site.produced),
        archived=verdict.archived,
        quarantined=verdict.quarantined,
        lost=len(verdict.lost),
        doubled=len(verdict.doubled),
        wrong=len(verdict.foreign) + len(verdict.wrong),
        findings="" if ledger.returncode == 0 else (ledger.stdout + ledger.stderr).strip()[:_FINDINGS],
        seconds=round(time.monotonic() - started),
    )


def _produce(site: Site, topic: str, records: int, dice: random.Random) -> None:
    """Work for the next worker, whatever the last one left."""
    for partition in range(PARTITIONS):
        some = traffic(records // PARTITIONS, seed=dice.getrandbits(31), malformed=0.02, envelope=0.02)
        site.produce(topic, some, partition)


def _kill_one(site: Site, number: int, dice: random.Random) -> bool:
    """Start a worker and kill it; returns whether it died at a step of the commit."""
    more = {"LETHE_KAFKA__GROUP": f"soak-{number}"}
    if at_step := dice.random() < 0.5:
        more["LETHE_FAIL_POINT"] = f"{dice.choice(POINTS)}:{dice.randint(1, 3)}"
    # A moment of its start is worth a try now and then; most are to hit it at work.
    starting, working = dice.random() < 0.2, dice.uniform(0, 3)
    worker = site.worker(**more)
    if at_step:
        died = _ends(worker, _LONGEST)
    else:
        died = _ends(worker, dice.uniform(0, 6)) if starting else _ends_at_work(site, worker, working)
    if not died:
        worker.kill()
    site.processes.clear()
    return died


def _ends_at_work(site: Site, worker: Process, seconds: float) -> bool:
    """As `_ends`, from the worker's first commit on."""
    before, deadline = site.archived(), time.monotonic() + _LONGEST
    while site.archived() == before and time.monotonic() < deadline:
        if _ends(worker, 0.2):
            return True
    return _ends(worker, seconds)


def _ends(worker: Process, seconds: float) -> bool:
    """Whether it dies by itself within that time."""
    try:
        status = worker.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    assert status == -signal.SIGKILL, worker.text()[-2000:]
    return True


if __name__ == "__main__":
    sys.exit(main())
