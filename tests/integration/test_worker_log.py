"""The integrity log of a worker: published beside its commits, and by the next one when it was killed before."""

from __future__ import annotations

import json
import signal

from workers import Site, traffic


def test_a_worker_killed_while_it_publishes_and_the_next_one(site: Site) -> None:
    topic = site.topic(partitions=2)
    site.produce(topic, traffic(3000), 0)
    site.produce(topic, traffic(2000, seed=3), 1)
    assert site.worker("--stop-at-end", LETHE_FAIL_POINT="log.swap").wait() == -signal.SIGKILL
    site.drain()
    said = json.loads(site.run("verify", "--json").stdout)
    assert said["ok"], said
    assert said["logs"] == 2
    assert said["rows"] > 500
    site.judge()
