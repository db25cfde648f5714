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

from audits import audit_entries
from brokers import Broker
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from retention_world import World, report

from lethe.console.web.service import Service
from lethe.operations.access.roles import Role
from lethe.operations.access.signed_requests import new_key, private_key, public_key, sign
from lethe.streams.worker.control_topic import REQUESTS, RESPONSES, RETENTION_MS, make_topics
from lethe.tiers.retention import clock_guard as clockguard

HER, HIM = "+923001234567", "+4915112345678"


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
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def until(condition: Callable[[], Any], log: Path, what: str, seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s; {log.read_text()[-1500:]}"
        time.sleep(0.3)
    return found


def test_a_worker_does_what_is_signed_and_approved_and_its_leader_sweeps(
    tmp_path: Path, broker: Broker
) -> None:
    world = World(tmp_path, bootstrap=broker.bootstrap)
    make_topics(world.runtime)
    world.now = datetime.now(UTC)
    yesterday = world.now - timedelta(hours=20)
    world.ingest([report(1, HER, yesterday), report(2, HIM, yesterday)])
    service = Service.open(world.runtime)
    desk = service.accounts.add("dsr-desk", "", [Role.PRIVACY_OFFICER], None)
    bela = service.accounts.add("bela", "", [Role.APPROVER], None)
    service.cases.open(desk, "DSR-1", "", "person")
    pem, public = new_key()
    key = service.request_keys.add(desk.id, public_key(public), "tickets")
    revoked, revoked_public = new_key()
    service.request_keys.revoke(service.request_keys.add(desk.id, public_key(revoked_public), "old").id)

    def signed(subject: str = HER, pem: bytes = pem, ago: float = 0, **fields: str) -> dict[str, Any]:
        request = {"id": str(uuid4()), "command": "erase", "subject": subject, "case": "DSR-1", **fields}
        return sign(request, private_key(pem), world.now - timedelta(seconds=ago))

    good = signed()
    stranger, _ = new_key()
    attacks = {
        "unsigned": {n: v for n, v in signed().items() if n not in ("key", "signature")},
        "altered": {**signed(), "subject": HIM},
        "another's id": {**signed(HIM), "id": good["id"]},
        "an id twice": signed(HIM, id=good["id"]),
        "another key": {**signed(pem=stranger), "key": key.id},
        "a stranger's key": signed(pem=stranger),
        "a revoked key": signed(pem=revoked),
        "a day old": signed(ago=86_401),
        "of the future": signed(ago=-3_600),
        "somebody else": signed(who="bela"),
        "no such case": signed(case="DSR-2"),
        "no uuid": {**signed(), "id": "no uuid"},
    }
    topic, read, asked = broker.topic("cdr"), list[dict[str, Any]](), set[Any]({None})

    def ask(log: Path, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        # The broker is shared, and requests of another test may be answered again: by a refusal that names its id.
        asked.update(r["id"] for r in requests)
        before = len(read)
        broker.produce(REQUESTS, [json.dumps(r).encode() for r in requests])
        wanted = before + len(requests)

        def answers() -> list[dict[str, Any]]:
            values = [message.value() for message in broker.read(RESPONSES)]
            assert all(number[1:].encode() not in value for value in values for number in (HER, HIM))
            return [a for value in values if (a := json.loads(value))["id"] in asked]

        read[:] = until(lambda: len(a := answers()) >= wanted and a, log, f"{wanted} answers")
        return read[before:]

    with worker(world, broker, topic) as log:
        until(lambda: "metrics on port" in log.read_text(), log, "the worker starts")
        answers = ask(log, good, *attacks.values())
        assert answers[0]["state"] == "waiting"
        told = dict(zip(attacks, answers[1:], strict=True))
        assert {name: a["state"] for name, a in told.items()} == dict.fromkeys(attacks, "refused")
        assert "lethe users keys add" in told["unsigned"]["reason"]
        same = {
            told[name]["reason"] for name in ("altered", "another key", "a stranger's key", "a revoked key")
        }
        assert len(same) == 1, "what exactly is wrong with a signature is not told"
        assert len(world.found(HER)) == len(world.found(HIM)) == 1
        [waiting] = service.desk.waiting(bela)
        assert (waiting.values, waiting.person, waiting.case) == ((HER,), "dsr-desk", "DSR-1")
        service.desk.approve(bela, waiting.grant.id, waiting.digest)
        first, second = ask(log, good, good)
        assert (first["id"], first["state"]) == (good["id"], "done")
        assert first == second, "a replay is answered again, and nothing is done again"
        assert service.desk.waiting(bela) == []
        until(lambda: clockguard.last_run(world.runtime.objects), log, "the leader's sweep")
    assert world.found(HER) == []
    assert len(world.found(HIM)) == 1
    assert HER[1:] not in log.read_text()
    entries = [e for e in audit_entries(world.keys) if e["action"].startswith(("erase", "grant"))]
    assert {e["who"] for e in entries} == {"dsr-desk", "bela"}
    service.database.engine.dispose()


def test_the_control_topic_is_made_to_forget_soon(tmp_path: Path, broker: Broker) -> None:
    world = World(tmp_path, bootstrap=broker.bootstrap)
    make_topics(world.runtime)
    make_topics(world.runtime)  # racing workers
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, REQUESTS)
    if broker.is_kafka:
        (described,) = admin.describe_configs([resource]).values()
        assert int(described.result(20)["retention.ms"].value) == RETENTION_MS
    assert REQUESTS in admin.list_topics(timeout=10).topics
