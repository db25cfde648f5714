"""Several workers on a real broker: zombies, rebalances under load, callbacks that fail, flags that never arrive."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from workers import Site, traffic, until

pytestmark = pytest.mark.needs_kafka

QUICK = {
    "LETHE_KAFKA__SESSION_TIMEOUT_MS": "2000",
    "LETHE_FLUSH__SECONDS": "0.2",
    "LETHE_FLUSH__BATCH": "200",
    "LETHE_FLUSH__RECORDS": "400",
}


@pytest.fixture
def loaded(site: Site) -> Site:
    """An installation whose workers commit often and notice each other soon."""
    site.variables |= QUICK
    return site


@contextmanager
def producing(site: Site, topic: str, partitions: int) -> Iterator[None]:
    """Keep writing to every partition as long as the block lasts."""
    over = threading.Event()
    failed: list[BaseException] = []

    def produce() -> None:
        seed = 100
        try:
            while not over.wait(0.2):
                seed += 1
                site.produce(topic, traffic(100, seed=seed, malformed=0.02), seed % partitions)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failed, failed


def all_done(site: Site, seconds: float = 60) -> None:
    """Wait until everything produced so far is in one of the two tables; a worker that gives up ends the wait."""

    def count() -> int:
        for process in site.processes:
            assert process.popen.poll() in (None, 0, -signal.SIGKILL), process.text()[-2000:]
        return sum(site.checker().arrow(t, ["offset"]).num_rows for t in ("metadata", "quarantine"))

    until(lambda: count() >= len(site.produced), seconds, f"{len(site.produced)} records are done")


def checked(site: Site) -> None:
    site.judge()
    done = site.run("ledger", "--check", "--json")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "altered", [None, {"no_revoke": True}], ids=["told", "the lost flag is never delivered"]
)
def test_a_worker_paused_past_its_session_and_continued(loaded: Site, altered: object) -> None:
    topic = loaded.topic(partitions=2)
    for partition in (0, 1):
        loaded.produce(topic, traffic(4_000, seed=partition), partition)
    zombie = loaded.worker(altered={"slow_commit": 0.3, **(altered or {})})  # type: ignore[dict-item]
    until(lambda: loaded.archived() > 400, 40, "the zombie-to-be commits")
    zombie.pause()
    owner = loaded.worker()
    all_done(loaded)
    zombie.resume()
    loaded.produce(topic, traffic(500, seed=3), 0)
    loaded.produce(topic, traffic(500, seed=4), 1)
    all_done(loaded)
    assert owner.stop() == 0
    assert zombie.stop() == 0
    checked(loaded)


def test_a_partition_that_went_without_a_word_is_let_go_when_its_commit_is_fenced(loaded: Site) -> None:
    topic = loaded.topic(partitions=2)
    loaded.produce(topic, traffic(300, seed=1), 0)
    loaded.produce(topic, traffic(300, seed=2), 1)
    unaware = loaded.worker(altered={"no_revoke": "fenced"})
    all_done(loaded)
    owner = loaded.worker()
    unaware.says("not told")
    for partition in (0, 1):
        loaded.produce(topic, traffic(300, seed=3), partition)
    all_done(loaded)
    assert [w.stop() for w in (unaware, owner)] == [0, 0]
    checked(loaded)


def test_workers_join_leave_and_are_restarted_one_after_the_other_under_load(loaded: Site) -> None:
    topic = loaded.topic(partitions=6)
    with producing(loaded, topic, 6):
        workers = [loaded.worker() for _ in range(2)]
        until(lambda: loaded.archived() > 0, 40, "something is archived")
        workers.append(loaded.worker())  # one joins
        time.sleep(4)
        for number in range(3):  # each is replaced
            assert workers[number].port  # by then it can be told to stop
            assert workers[number].stop() == 0
            workers[number] = loaded.worker()
            time.sleep(3)
        workers.pop().kill()  # one leaves without a word
        time.sleep(3)
    all_done(loaded)
    assert [w.stop() for w in workers] == [0, 0]
    checked(loaded)


def test_a_worker_that_was_too_slow_to_poll_reads_again(loaded: Site) -> None:
    topic = loaded.topic(partitions=2)
    for partition in (0, 1):
        loaded.produce(topic, traffic(3_000, seed=partition), partition)
    altered = {"consumer": {"max.poll.interval.ms": 2500}, "stall": 5}
    slow = loaded.worker(altered=altered)
    slow.says("_MAX_POLL_EXCEEDED")
    all_done(loaded)
    assert slow.stop() == 0
    checked(loaded)


def test_an_exception_in_a_rebalance_callback_stops_the_worker(loaded: Site) -> None:
    topic = loaded.topic()
    loaded.produce(topic, traffic(100))
    worker = loaded.worker("--stop-at-end", altered={"first_assignment": True})
    assert worker.wait() == 1
    assert worker.text().splitlines()[-1] == "lethe: assignment failed: RuntimeError; start again"
    assert "a stranger's text" not in worker.text()
    assert loaded.archived() == 0
    loaded.drain()
    checked(loaded)


def test_an_exception_when_a_partition_is_taken_away_stops_the_worker(loaded: Site) -> None:
    topic = loaded.topic(partitions=2)
    loaded.produce(topic, traffic(300, seed=1), 0)
    first = loaded.worker(altered={"revocation": True})
    all_done(loaded)
    other = loaded.worker()  # takes one of the two partitions away
    assert first.wait() == 1
    assert first.text().splitlines()[-1] == "lethe: revocation failed: RuntimeError; start again"
    assert "a stranger's text" not in first.text()
    loaded.processes.remove(first)
    for partition in (0, 1):
        loaded.produce(topic, traffic(200, seed=2), partition)
    all_done(loaded)
    assert other.stop() == 0
    checked(loaded)
