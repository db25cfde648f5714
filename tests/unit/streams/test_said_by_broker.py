"""What the broker's library says is told in one line: without its own book-keeping, with the topic and what to do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from lethe.operations.settings import Kafka, Settings, load
from lethe.schemas.errors import ConfigurationError, TransientError
from lethe.streams.broker import _credentials
from lethe.streams.broker._credentials import Credentials
from lethe.streams.broker._diagnosis import unreachable
from lethe.streams.broker.topics import Streams
from lethe.streams.worker._assignment import Assignments
from lethe.streams.worker.feed import Feed


@pytest.mark.parametrize(
    "counted", ["", ", 2 identical error(s) suppressed", ", 1 identical error(s) suppressed (x)"]
)
def test_a_repeated_error_is_told_as_the_first(counted: str) -> None:
    refused = "127.0.0.1:1/bootstrap: Connect to 127.0.0.1:1 failed: Connection refused"
    heard = f"{refused} (after 0ms in state CONNECT{counted})"
    said = str(unreachable(Settings(bootstrap="127.0.0.1:1"), KafkaError(KafkaError._TRANSPORT, heard)))
    assert "(Connect to 127.0.0.1:1 failed: Connection refused); is it running" in said


class _Refusing:
    """A client of a broker that answers every question about a topic with this error."""

    def __init__(self, code: int) -> None:
        self._error = KafkaException(KafkaError(code))

    def get_watermark_offsets(self, *_: Any, **__: Any) -> Any:
        raise self._error

    def incremental_assign(self, shares: list[Any]) -> None:
        """Nothing to do."""

    def incremental_unassign(self, shares: list[Any]) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            "the broker refuses topic cdr: TOPIC_AUTHORIZATION_FAILED; its user needs READ and DESCRIBE on the topic "
            "(docs/kafka.md)",
        ),
        (
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            "the broker refuses topic cdr: UNKNOWN_TOPIC_OR_PART; was the topic deleted?",
        ),
    ],
)
def test_a_topic_that_is_refused_when_it_is_assigned_is_named_with_what_to_do(code: int, said: str) -> None:
    listener: Any = SimpleNamespace(assigned=lambda *_: None, revoked=lambda *_: None)
    settings = Settings(bootstrap="127.0.0.1:1", sources={"cdr": "infobip/sms-report"})
    streams = Streams({}, settings, {"cdr": "cluster/topic"})
    streams.check(False)
    with pytest.raises(TransientError) as error:
        Assignments(streams, lambda _: None, listener, accept_gap=False).begin(_Refusing(code), [("cdr", 0)])
    assert str(error.value) == said
    feed = Feed(settings, streams, lambda _: None, listener)
    feed._on_assign(_Refusing(code), [SimpleNamespace(topic="cdr", partition=0)])  # type: ignore[list-item]
    assert str(feed.error) == said
    feed._on_revoke(_Refusing(code), [])
    assert str(feed.error).startswith("the broker refuses revocation: ")


def test_a_broker_that_is_away_is_said_once_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lethe.feed")
    now, answers = [0.0], iter("aaab ba")

    def same() -> None:
        if (answer := next(answers)) != " ":
            raise TransientError(answer)

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    listener: Any = SimpleNamespace()
    settings = Settings(bootstrap="127.0.0.1:1")
    feed = Feed(settings, Streams({}, settings, {}), lambda _: None, listener, same=same)
    for _ in range(7):
        now[0] += 6
        feed._check_topics()
    assert [record.getMessage() for record in caplog.records] == ["a", "b", "b", "a"]
    caplog.clear()
    for _ in range(1_200):
        now[0] += 1
        feed._warn_of_waiting()
    assert len(caplog.records) == 5, "after 20, 40, 80 seconds and so on, not each 20"


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a listener that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_listener_that_never_answers_is_not_said_to_speak_another_language(silent: int) -> None:
    settings = Settings(bootstrap=f"127.0.0.1:{silent}", kafka=Kafka(security_protocol="SSL"))
    assert str(unreachable(settings, None)).startswith(f"no answer from the broker at 127.0.0.1:{silent};")


def _token_error(url: str) -> str:
    kafka = Kafka(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth_url=url)
    with pytest.raises(TransientError) as error:
        Credentials(kafka).token()
    return str(error.value)


def _unknown(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_why_a_token_service_gave_no_token_is_said(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no token (Connection refused); does the token service answer?" in _token_error(
        "http://127.0.0.1:1/t"
    )
    with monkeypatch.context() as patched:
        patched.setattr(
            socket, "getaddrinfo", _unknown
        )  # a network without a name service says something else
        assert "no token (Name or service not known)" in _token_error("https://tokens.invalid/t")
    monkeypatch.setattr(_credentials, "_TOKEN_SECONDS", 1.0)
    assert "no token (none within 1 s)" in _token_error(f"http://127.0.0.1:{silent}/t")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "x"}', b'"x"', b""])
def test_what_a_token_service_answers_is_not_shown(body: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        assert "no token (its answer is none of OAuth 2.0)" in _token_error(
            f"http://127.0.0.1:{server.server_port}/t"
        )


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (" kafka-1:9092, kafka-2:9092,", "kafka-1:9092,kafka-2:9092"),
        ("[::1]:9092,localhost", "[::1]:9092,localhost"),
    ],
)
def test_brokers_are_read_as_people_list_them(given: str, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_BOOTSTRAP", given)
    assert load().bootstrap == read


@pytest.mark.parametrize(
    "given", ["", " , ", "kafka:port", "SSL://kafka:9092", "kafka 1:9092", "kafka:9092;other:9092"]
)
def test_what_is_no_list_of_brokers_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_BOOTSTRAP", given)
    with pytest.raises(ConfigurationError, match=r"bootstrap .*HOST:PORT, or several with commas between"):
        load()
