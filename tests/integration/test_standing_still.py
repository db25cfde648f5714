"""A worker that fetches nothing while messages wait says so and mends it; one at rest or behind markers does not."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest
from workers import Site, traffic, until

kafka = pytest.mark.needs_kafka


def test_a_partition_that_is_not_fetched_from_is_seen(site: Site, tmp_path: Path) -> None:
    topic = site.topic()
    site.produce(topic, traffic(50))
    again = tmp_path / "again"
    worker = site.worker(
        altered={"unfetched": {"patience": 2, "look": 0.3, "for": "ever", "until": str(again)}}
    )
    until(lambda: site.archived() >= 50, 60, "what was there is in")
    until(lambda: "not fetched" in worker.text(), 20, "nothing is fetched from here on")
    until(lambda: worker.ready()[0] == 200, 40, "it is ready")
    # Nothing waits: at rest it is well, for however long.
    time.sleep(5)
    assert worker.ready()[0] == 200
    site.produce(topic, traffic(30, seed=2))
    says = rf"503 {topic} partition 0: ([0-9]+) messages wait in Kafka and none was read"
    waiting = until(
        lambda: re.match(says, "{} {}".format(*worker.ready())), 40, "it says that it stands still"
    )
    # The embedded broker counts of the last batch the first message alone; how many batches there are, time decides.
    assert site.broker is not None
    assert int(waiting[1]) in ([30] if site.broker.kind == "kafka" else range(1, 31))
    for shown in ("lethe_partition_stands_still", "lethe_lag"):
        line = f'{shown}{{partition="0",stream="{topic}"}} {waiting[1] if shown == "lethe_lag" else 1}.0'
        until(lambda line=line: line in worker.metrics(), 20, line)
    again.touch()
    until(lambda: worker.ready()[0] == 200, 40, "it reads again")
    until(lambda: site.archived() >= 80, 40, "what waited is in")
    until(lambda: "lethe_partition_stands_still{" not in worker.metrics(), 20, "it is shown no longer")
    assert worker.stop() == 0
    site.judge()


@pytest.mark.parametrize(
    ("lasts", "mended"),
    [("partition", {"assigned": True, "joined": False}), ("consumer", {"assigned": True, "joined": True})],
)
def test_it_is_begun_anew_and_nothing_is_lost_or_doubled(
    site: Site, lasts: str, mended: dict[str, bool]
) -> None:
    topic = site.topic(partitions=2)
    # The patience is also how long it may take until one that was begun anew is read.
    worker = site.worker(altered={"unfetched": {"patience": 6, "look": 0.5, "for": lasts}})
    site.produce(topic, traffic(50))
    until(lambda: site.archived() >= 50, 60, "what was there is in")
    worker.says("not fetched")
    for partition in range(2):
        site.produce(topic, traffic(30, seed=2 + partition), partition)
    until(lambda: site.archived() >= 110, 60, "what waited is in")
    for how, tried in mended.items():
        # Of two partitions that a look came between each is begun anew by itself.
        found = re.search(rf'lethe_standstills_begun_anew_total{{how="{how}"}} ([0-9.]+)', worker.metrics())
        assert found is not None
        assert (0 < float(found[1]) <= 2) is tried
    until(lambda: worker.ready()[0] == 200, 40, "it is ready again")
    assert worker.stop() == 0
    site.judge()


def test_a_slow_store_is_no_standstill(site: Site) -> None:
    site.variables["LETHE_FLUSH__RECORDS"] = "100"
    site.variables["LETHE_FLUSH__BATCH"] = "50"
    topic = site.topic(partitions=2)
    altered = {"slow_commit": 2.0, "unfetched": {"patience": 2, "look": 0.3}}
    worker = site.worker(altered=altered)
    for partition in range(2):
        site.produce(topic, traffic(600, seed=partition), partition)
    seen = []
    until(lambda: seen.append(worker.ready()) or site.archived() >= 400, 90, "a third of it is in")
    assert [said for _, said in seen if "wait in Kafka" in said] == []


@kafka
def test_markers_of_transactions_do_not_wait(site: Site) -> None:
    topic = site.topic()
    worker = site.worker(altered={"unfetched": {"patience": 2, "look": 0.3}})
    until(lambda: "metrics on port" in worker.text() and worker.ready()[0] == 200, 40, "it has its share")
    site.transactions(topic, 4, 5)
    until(lambda: site.archived() >= 10, 40, "what was committed is in")
    until(lambda: worker.ready()[0] == 200, 40, "it is ready")
    threading.Event().wait(5)
    assert worker.ready()[0] == 200
    assert worker.stop() == 0
