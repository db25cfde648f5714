"""A worker with just the rights that docs/kafka.md names; rights that are missing, or withdrawn while it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from brokers import Broker
from secured import least_rights, log_in
from workers import Site, sites, traffic, until

from lethe.streams.worker.control_topic import REQUESTS, RESPONSES
from lethe.testing.brokers.kafka.secured import SecuredKafka

pytestmark = pytest.mark.needs_kafka


@pytest.fixture
def limited(tmp_path: Path, secured: SecuredKafka, secured_broker: Broker) -> Iterator[tuple[Site, str]]:
    """An installation whose topics were made by somebody else, and whose user has the least rights."""
    for site in sites(tmp_path, secured_broker):
        topic = site.topic()
        site.produce(topic, traffic(200))
        made = site.run("topics", "create", "--json")  # on the plain listener, where everything is allowed
        assert made.returncode == 0, made.stderr
        site.variables |= log_in(secured, "PLAIN", site.directory / "secrets")
        secured.allow(least_rights(site.group, topic))
        yield site, topic
    secured.withdraw_all()


def ask(site: Site) -> str:
    request = str(uuid4())
    body = {"id": request, "command": "erase.preview", "subject": "+923001234567"}
    assert site.broker is not None
    site.broker.produce(REQUESTS, [json.dumps(body).encode()])
    return request


def answered(site: Site, request: str, seconds: float = 60) -> None:
    assert site.broker is not None
    broker = site.broker
    until(
        lambda: any(json.loads(m.value())["id"] == request for m in broker.read(RESPONSES)),
        seconds,
        "the request is answered",
    )


def test_a_worker_runs_with_the_least_rights_and_outlives_their_withdrawal(
    limited: tuple[Site, str], secured: SecuredKafka
) -> None:
    """Requests are answered again once the right is back, and readiness says what is wrong until then."""
    site, topic = limited
    worker = site.worker()
    until(lambda: site.root.exists() and site.archived() >= 200, 60, "records are archived")
    answered(site, ask(site))
    until(lambda: worker.ready()[1] == "ready", 40, "ready")
    requests, group = ("TOPIC", REQUESTS, "READ"), ("GROUP", f"{site.group}-control", "READ")
    for number, right in enumerate((requests, group)):
        secured.withdraw([right])
        try:
            time.sleep(8)
            asked = ask(site)
            site.produce(topic, traffic(100, seed=5 + number))
            until(lambda n=number: site.archived() >= 300 + 100 * n, 40, "records go on")
        finally:
            secured.allow([right])
        answered(site, asked, 90)
    until(lambda: worker.ready()[1] == "ready", 40, "ready again")
    lines = worker.text().count("\n")
    assert lines < 80, worker.text()
    secured.cluster.restart(1)
    site.produce(topic, traffic(100, seed=9))
    until(lambda: site.archived() >= 500, 60, "records are read after the broker came back")
    answered(site, ask(site), 90)
    assert worker.text().count("\n") - lines < 40, worker.text()
    assert worker.stop() == 0, worker.text()
    site.judge()


@pytest.mark.parametrize(
    ("missing", "said"),
    [(0, "may not be described"), (1, "its user needs READ on the group")],
    ids=["topic", "group"],
)
def test_a_right_that_is_missing_is_named(
    missing: int, said: str, limited: tuple[Site, str], secured: SecuredKafka
) -> None:
    site, topic = limited
    secured.withdraw([least_rights(site.group, topic)[missing]])
    worker = site.worker("--stop-at-end")
    assert worker.wait() == 1
    assert worker.text().count(said) == 1, worker.text()


def broker_checks(site: Site) -> list[str]:
    done = site.run("doctor", "--json", seconds=90)
    return [c["found"] for c in json.loads(done.stdout) if "broker" in c["what"] and c["state"] == "wrong"]


def test_doctor_asks_for_every_right(limited: tuple[Site, str], secured: SecuredKafka) -> None:
    """Green with the least rights; each of them, taken away, is named."""
    site, topic = limited
    assert broker_checks(site) == []
    for right in least_rights(site.group, topic):
        secured.withdraw([right])
        try:
            found = broker_checks(site)
        finally:
            secured.allow([right])
        assert any(right[1] in text for text in found), (right, found)
    assert broker_checks(site) == []
