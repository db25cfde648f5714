"""A real worker on a real broker: requests are answered, the control topic forgets soon, the leader sweeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from brokers import Broker
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from retention_world import World, report

from lethe.streams.worker.control_topic import REQUESTS, RESPONSES, RETENTION_MS
from lethe.tiers.retention import clock_guard as clockguard

HER = "+923001234567"


@contextmanager
def worker(world: World, broker: Broker, topic: str) -> Iterator[Path]:
    """`lethe worker` in a process of its own; yields its log."""
    config = world.folder / "lethe.toml"
    config.write_text(
        f'root = "{world.root}"\nkeys_dir = "{world.keys}"\nbootstrap = "{broker.bootstrap}"\nmetrics_port = 0\n'
        f'[sources]\n"{topic}" = "infobip/sms-report"\n[kafka]\nsession_timeout_ms = 6000\n[flush]\nseconds = 0.5\n'
    )
    log = world.folder / "worker.log"
    lethe = str(Path(sys.executable).with_name("lethe"))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [lethe, "--config", str(config), "worker"],
            stdout=out,
            stderr=out,
            cwd=world.folder,
            env=os.environ,
        )
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def until(condition: Callable[[], Any], log: Path, what: str, seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s; {log.read_text()[-1500:]}"
        time.sleep(0.3)
    return found


def test_a_worker_answers_requests_and_its_leader_sweeps(tmp_path: Path, broker: Broker) -> None:
    world = World(tmp_path)
    world.now = datetime.now(UTC)
    yesterday = world.now - timedelta(hours=20)
    world.ingest([report(1, HER, yesterday), report(2, "+4915112345678", yesterday)])
    topic = broker.topic("cdr")
    good, again = str(uuid4()), {"command": "erase", "subject": HER, "case": "DSR-1"}
    requests = [{"id": good, **again}, {"id": "no uuid", **again}, {"id": good, **again}]
    with worker(world, broker, topic) as log:
        until(lambda: "metrics on port" in log.read_text(), log, "the worker starts")
        broker.produce(REQUESTS, [json.dumps(r).encode() for r in requests])
        answers = until(lambda: len(found := broker.read(RESPONSES)) >= 3 and found, log, "three answers")
        read = [json.loads(a.value()) for a in answers]
        mine = [a for a in read if a["id"] == good]
        assert [a["state"] for a in mine] == ["done", "done"]
        assert mine[0] == mine[1]
        assert any(a["state"] == "refused" and a["id"] is None for a in read)
        assert all(HER[1:].encode() not in a.value() for a in answers)
        until(lambda: clockguard.last_run(world.runtime.objects), log, "the leader's sweep")
    assert world.found(HER) == []
    assert HER[1:] not in log.read_text()


def test_the_control_topic_is_made_to_forget_soon(tmp_path: Path, broker: Broker) -> None:
    from lethe.streams.worker.control_topic import make_topics

    world = World(tmp_path, bootstrap=broker.bootstrap)
    make_topics(world.runtime)
    make_topics(world.runtime)  # racing workers
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, REQUESTS)
    if broker.is_kafka:
        (described,) = admin.describe_configs([resource]).values()
        assert int(described.result(20)["retention.ms"].value) == RETENTION_MS
    assert REQUESTS in admin.list_topics(timeout=10).topics
