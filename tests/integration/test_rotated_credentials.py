"""Certificates, authorities and passwords that are replaced while a worker runs: nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from brokers import Broker
from secured import log_in
from workers import Process, Site, sites, traffic, until

from lethe.operations.settings import load
from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.streams.broker.topics import identify
from lethe.streams.worker.control_topic import REQUESTS, RESPONSES
from lethe.testing.brokers.kafka.certificates import Authority
from lethe.testing.brokers.kafka.secured import USER, SecuredKafka

pytestmark = pytest.mark.needs_kafka

EVERYTHING = [(kind, "*", "ALL") for kind in ("TOPIC", "GROUP")] + [("CLUSTER", "kafka-cluster", "ALL")]
CHANGED = "credentials have changed"


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """A node of these tests' own: its authority changes, and it is restarted so that every connection is made anew."""
    with SecuredKafka(tmp_path_factory.mktemp("rotating")) as kafka:
        kafka.allow(EVERYTHING, USER)
        yield kafka


@pytest.fixture
def rotated(tmp_path: Path, rotating: SecuredKafka) -> Iterator[Site]:
    yield from sites(tmp_path, Broker("kafka", rotating.cluster))


def replace(target: Path, content: bytes) -> None:
    """Replace a file as certificate managers do: renamed into place, no reader ever sees half of it."""
    new = target.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, target)


def ask(site: Site) -> str:
    assert site.broker is not None
    body = {"id": str(uuid4()), "command": "erase.preview", "subject": "+923001234567"}
    site.broker.produce(REQUESTS, [json.dumps(body).encode()])
    return str(body["id"])


def works(site: Site, topic: str, total: int, seed: int) -> None:
    """The feed reads, the control topics answer, and what answers is the producer."""
    request = ask(site)
    site.produce(topic, traffic(200, seed=seed))
    until(lambda: site.root.exists() and site.archived() >= total, 90, "records are archived")
    broker = site.broker
    assert broker is not None
    until(
        lambda: any(json.loads(m.value())["id"] == request for m in broker.read(RESPONSES)),
        90,
        "the request is answered",
    )


def taken_up(worker: Process, times: int) -> None:
    """Feed and control side have each begun again, this often."""
    until(lambda: worker.text().count(CHANGED) >= 2 * times, 60, f"both sides begin again ({times})")


def test_certificate_and_authority_change_under_a_worker(rotated: Site, rotating: SecuredKafka) -> None:
    """1. The brokers trust both authorities. 2. Clients change over. 3. The old authority is trusted by nobody."""
    site, folder = rotated, rotated.directory / "secrets"
    folder.mkdir()
    authority, successor = rotating.authority.file, Authority(rotating.authority.directory, "successor")
    both = authority.read_bytes() + successor.file.read_bytes()
    held = {name: folder / f"{name}.pem" for name in ("ca", "certificate", "key")}
    old = rotating.authority.issue(USER)
    for name, source in zip(held, (authority, *old), strict=True):
        shutil.copy(source, held[name])
    old_held = Path(shutil.copytree(folder, site.directory / "former"))
    site.variables |= {
        "LETHE_BOOTSTRAP": rotating.address("MUTUAL"), "LETHE_KAFKA__SECURITY_PROTOCOL": "SSL",
        "LETHE_KAFKA__SSL_CA_FILE": str(held["ca"]),
        "LETHE_KAFKA__SSL_CERTIFICATE_FILE": str(held["certificate"]),
        "LETHE_KAFKA__SSL_KEY_FILE": str(held["key"]),
    }  # fmt: skip
    topic = site.topic()
    worker = site.worker()
    works(site, topic, 200, 1)

    authority.write_bytes(both)  # step 1
    rotating.cluster.restart(1)
    works(site, topic, 400, 2)

    renewed = successor.issue(USER)  # step 2, in the order that fits worst: certificate, key, authorities
    replace(held["certificate"], renewed[0].read_bytes())
    worker.says("cannot be used yet")
    works(site, topic, 600, 3)
    replace(held["key"], renewed[1].read_bytes())
    replace(held["ca"], both)
    taken_up(worker, 1)
    works(site, topic, 800, 4)

    authority.write_bytes(successor.file.read_bytes())  # step 3
    successor.issue("broker")
    rotating.cluster.restart(1)
    former = {
        "LETHE_KAFKA__SSL_CERTIFICATE_FILE": str(old_held / "certificate.pem"),
        "LETHE_KAFKA__SSL_KEY_FILE": str(old_held / "key.pem"),
    }
    with pytest.raises((ConfigurationError, TransientError), match="refuses the client's certificate"):
        identify(load(environment=site.environment(**former)), [topic])
    works(site, topic, 1_000, 5)
    doctor = site.run("doctor", "--json", seconds=90)
    assert [c for c in json.loads(doctor.stdout) if "broker" in c["what"] and c["state"] == "wrong"] == []
    assert worker.stop() == 0, worker.text()
    site.judge()


def test_a_password_changes_under_a_worker(rotated: Site, rotating: SecuredKafka) -> None:
    """The broker's side first, so that the worker is refused for a moment, then the file."""
    site = rotated
    site.variables |= log_in(rotating, "SCRAM-SHA-512 over TLS", site.directory / "secrets")
    topic = site.topic()
    worker = site.worker()
    works(site, topic, 200, 1)
    rotating.set_password("another horse")
    rotating.cluster.restart(1)
    worker.says("refuses the log-in")
    replace(Path(site.variables["LETHE_KAFKA__SASL_PASSWORD_FILE"]), b"another horse\n")
    taken_up(worker, 1)
    works(site, topic, 400, 2)
    assert worker.stop() == 0, worker.text()
    assert "another horse" not in worker.text()
    site.judge()
