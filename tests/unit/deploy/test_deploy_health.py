"""The container's health check believes a 200 and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from lethe.deploy import health
from lethe.testing.brokers.process import free_ports


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/live" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_worker_that_answers_is_well(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETHE_METRICS_PORT", str(port))
    assert health.main([]) == 0
    assert health.main(["/live"]) == 0


def test_any_other_answer_is_not(
    port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LETHE_METRICS_PORT", str(port))
    assert health.main(["/ready"]) == 1
    assert capsys.readouterr().err == f"port {port}: /ready answered 503\n"


@pytest.mark.parametrize("value", ["a closed port", "no-number", "99999"])
def test_no_answer_and_no_port_are_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = str(free_ports(1)[0]) if value == "a closed port" else value
    monkeypatch.setenv("LETHE_METRICS_PORT", port)
    assert health.main([]) == 1
    assert capsys.readouterr().err.count("\n") == 1
