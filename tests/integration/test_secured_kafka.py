"""Kafka as it is secured: each way to log in, for feed, control topics and producer; and what is said when it fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from brokers import Broker
from secured import log_in, unsigned_token
from workers import Site, sites, traffic, until

from lethe.operations.settings import load
from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.streams.broker.topics import identify
from lethe.testing.brokers.kafka.secured import KEY_PASSWORD, PASSWORD, SecuredKafka

pytestmark = pytest.mark.needs_kafka

EVERYTHING = [(kind, "*", "ALL") for kind in ("TOPIC", "GROUP")] + [("CLUSTER", "kafka-cluster", "ALL")]
WAYS = ("mutual TLS", "PLAIN", "SCRAM-SHA-512 over TLS", "OAUTHBEARER over TLS")


@pytest.fixture
def on_secured(tmp_path: Path, secured_broker: Broker) -> Iterator[Site]:
    yield from sites(tmp_path, secured_broker)


@pytest.fixture
def free(secured: SecuredKafka) -> Iterator[None]:
    """Whoever logs in may do everything."""
    for user in ("lethe", "client"):
        secured.allow(EVERYTHING, user)
    yield
    for user in ("lethe", "client"):
        secured.withdraw_all(user)


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("way", WAYS)
def test_records_are_read_and_requests_are_answered(
    way: str,
    secured: SecuredKafka,
    on_secured: Site,
) -> None:
    site = on_secured
    site.variables |= log_in(secured, way, site.directory / "secrets")
    topic = site.topic()
    site.produce(topic, traffic(300))
    request = str(uuid4())
    worker = site.worker()
    until(lambda: site.root.exists() and site.archived() >= 200, 60, "records are archived")
    asked = json.dumps({"id": request, "command": "erase.preview", "subject": "+923001234567"}).encode()
    assert site.broker is not None
    site.broker.produce("lethe.requests", [asked])

    def answered() -> bool:
        read = site.broker.read("lethe.responses")  # type: ignore[union-attr]
        return any(json.loads(message.value())["id"] == request for message in read)

    until(answered, 60, "the request is answered")
    assert worker.stop() == 0, worker.text()
    assert PASSWORD not in worker.text()
    assert KEY_PASSWORD not in worker.text()
    site.judge()


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("way", ["TLS", "SCRAM-SHA-256"])
def test_so_do_these_ways_to_log_in(
    way: str,
    secured: SecuredKafka,
    secured_broker: Broker,
    tmp_path: Path,
) -> None:
    topic = secured_broker.topic()
    assert set(identify(_settings(log_in(secured, way, tmp_path)), [topic])) == {topic}


def wrong(secured: SecuredKafka, what: str, folder: Path) -> dict[str, str]:
    """Settings with one thing wrong."""
    tls, mutual = log_in(secured, "TLS", folder), log_in(secured, "mutual TLS", folder)
    plain, scram = log_in(secured, "PLAIN", folder), log_in(secured, "SCRAM-SHA-512 over TLS", folder)
    token = log_in(secured, "OAUTHBEARER over TLS", folder)
    (folder / "wrong").write_text("no such password")
    (folder / "nothing.pem").write_text("\n")
    (folder / "old-token").write_text(unsigned_token("lethe", -60))
    without = {n: v for n, v in mutual.items() if "CERTIFICATE" not in n and "KEY" not in n}
    bad = {"LETHE_KAFKA__SASL_PASSWORD_FILE": str(folder / "wrong")}
    return {
        "password by PLAIN": {**plain, **bad},
        "password by SCRAM": {**scram, **bad},
        "token that has ended": {**token, "LETHE_KAFKA__OAUTH_TOKEN_FILE": str(folder / "old-token")},
        "mechanism": {**plain, "LETHE_BOOTSTRAP": secured.cluster.bootstrap},
        "authority": {**tls, "LETHE_KAFKA__SSL_CA_FILE": str(secured.stranger.file)},
        "host": {**tls, "LETHE_BOOTSTRAP": secured.address("ELSEWHERE")},
        "expired": {**tls, "LETHE_BOOTSTRAP": secured.address("EXPIRED")},
        "plain on TLS": {"LETHE_BOOTSTRAP": secured.address("TLS")},
        "TLS on plain": {**tls, "LETHE_BOOTSTRAP": secured.cluster.bootstrap},
        "TLS on SASL over TLS": {**tls, "LETHE_BOOTSTRAP": secured.address("BOTH")},
        "empty authority": {**tls, "LETHE_KAFKA__SSL_CA_FILE": str(folder / "nothing.pem")},
        "empty password": {**plain, "LETHE_KAFKA__SASL_PASSWORD_FILE": str(folder / "nothing.pem")},
        "plain on SASL": {"LETHE_BOOTSTRAP": secured.address("SASL")},
        "no client certificate": without,
        "missing file": {**tls, "LETHE_KAFKA__SSL_CA_FILE": str(folder / "nowhere.pem")},
        "key without password": {n: v for n, v in mutual.items() if "PASSWORD" not in n},
        "wrong key password": {**mutual, "LETHE_KAFKA__SSL_KEY_PASSWORD_FILE": str(folder / "wrong")},
        "key of another": {**mutual, "LETHE_KAFKA__SSL_KEY_FILE": str(secured.key)},
        "no such host": {"LETHE_BOOTSTRAP": "kafka.invalid:9092"},
        "nobody there": {"LETHE_BOOTSTRAP": "127.0.0.1:1"},
    }[what]


SAID = {
    "password by PLAIN": "refuses the log-in: wrong user or password by PLAIN",
    "password by SCRAM": "refuses the log-in: wrong user or password by SCRAM-SHA-512",
    "token that has ended": "its token has ended",
    "mechanism": "its listener does not take PLAIN",
    "authority": "of an authority that kafka.ssl_ca_file does not hold",
    "host": "not made out to the host 127.0.0.1",
    "expired": "it has expired",
    "plain on TLS": "its listener speaks TLS",
    "TLS on plain": "does not speak TLS",
    "plain on SASL": "hangs up; does its listener want a log-in",
    "TLS on SASL over TLS": "hangs up; does its listener want a log-in (kafka.security_protocol SASL_SSL)",
    "empty authority": "kafka.ssl_ca_file nothing.pem: is empty",
    "empty password": "kafka.sasl_password_file nothing.pem: is empty",
    "no client certificate": "refuses the client's certificate",
    "missing file": "nowhere.pem: No such file or directory",
    "key without password": "is encrypted: set kafka.ssl_key_password_file",
    "wrong key password": "kafka.ssl_key_password does not open it",
    "key of another": "is not the key of kafka.ssl_certificate_file",
    "no such host": "name cannot be resolved",
    "nobody there": "Connection refused",
}


@pytest.mark.parametrize("what", SAID)
def test_one_line_names_the_cause(what: str, secured: SecuredKafka, tmp_path: Path) -> None:
    settings = _settings(wrong(secured, what, tmp_path))
    started = time.monotonic()
    with pytest.raises((ConfigurationError, TransientError)) as told:
        identify(settings, ["cdr"])
    line = str(told.value)
    assert SAID[what] in line.replace(f"{tmp_path}/", "")
    assert "\n" not in line
    assert PASSWORD not in line
    assert time.monotonic() - started < 10


def _settings(variables: dict[str, str]) -> Any:
    patch = pytest.MonkeyPatch()
    with patch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        return load()


@pytest.mark.parametrize("command", ["worker", "doctor"])
def test_worker_and_doctor_say_the_same(
    command: str,
    secured: SecuredKafka,
    on_secured: Site,
) -> None:
    site = on_secured
    site.topic()
    for what in ("password by SCRAM", "expired"):
        site.variables = wrong(secured, what, site.directory / "secrets")
        done = site.run(command)
        assert done.returncode == 1
        said = " ".join((done.stdout + done.stderr).split())
        assert said.count(SAID[what]) == 1, said
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "sasl_mechanism is missing"),
        ({"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "PLAIN"}, "sasl_username and sasl_password"),
        ({"SASL_MECHANISM": "PLAIN"}, "needs security_protocol SASL_SSL"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_KEY_FILE": "k.pem"}, "ssl_key_file needs ssl_certificate_file"),
        (
            {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_MECHANISM": "OAUTHBEARER"},
            "either oauth_token_file or oauth_url",
        ),
    ],
)
def test_a_log_in_that_is_not_complete_is_refused_by_the_settings(
    variables: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        _settings({f"LETHE_KAFKA__{name}": value for name, value in variables.items()})
