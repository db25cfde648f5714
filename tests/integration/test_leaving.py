"""SIGTERM while records pour in: what is in hand is committed, and the worker is gone within ten seconds."""

from __future__ import annotations

import re
import threading

from workers import Site, traffic, until


def test_a_worker_told_to_stop_as_soon_as_it_says_that_it_is_there_stops(site: Site) -> None:
    site.topic()
    worker = site.worker(altered={"told": True})
    assert worker.wait() == 0, worker.text()


def test_a_worker_told_to_stop_under_load_commits_what_it_has_and_leaves_within_ten_seconds(
    site: Site,
) -> None:
    topic = site.topic(partitions=2)
    values, enough = traffic(3_000), threading.Event()

    def pour() -> None:
        partition = 0
        while not enough.wait(0.1) and len(site.produced) < 90_000:
            site.produce(topic, values, partition)
            partition = 1 - partition

    worker = site.worker(
        LETHE_FLUSH__SECONDS="10"
    )  # as it is delivered: more is in hand than with a short one
    until(lambda: worker.ready()[0] == 200, 60, "the worker is ready")
    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        until(
            lambda: not re.search(r"^lethe_records_waiting 0", worker.metrics(), re.M), 60, "records pour in"
        )
        produced_before = len(site.produced)
        status = worker.stop()
    finally:
        enough.set()
        pouring.join(60)
    assert status == 0, worker.text()  # after ten seconds it would have ended with 1
    assert 0 < site.archived() < len(site.produced), "it committed what it had, and there was more to take"
    assert len(site.produced) > produced_before, "records came while it was leaving"
    site.drain(seconds=120)
    site.judge()
