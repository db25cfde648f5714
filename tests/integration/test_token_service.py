"""OAUTHBEARER with a token service that is really asked: short tokens, renewed while a worker runs."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from brokers import Broker
from secured import log_in, unsigned_token
from workers import Site, sites, traffic, until

from lethe.testing.brokers.kafka.secured import USER, SecuredKafka

pytestmark = pytest.mark.needs_kafka

SECRET = "not-to-be-shown"
EVERYTHING = [(kind, "*", "ALL") for kind in ("TOPIC", "GROUP")] + [("CLUSTER", "kafka-cluster", "ALL")]


class TokenService:
    """RFC 6749, 4.4: the grant of client credentials, the client's name and secret as HTTP Basic."""

    def __init__(self) -> None:
        self.asked, self.refused = 0, 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                pair = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                right = pair == f"lethe:{SECRET}" and form.get("grant_type") == ["client_credentials"]
                service.asked += right
                service.refused += not right
                answer = {"access_token": unsigned_token(USER, 15), "token_type": "Bearer", "expires_in": 15}
                body = json.dumps(answer if right else {"error": "invalid_client"}).encode()
                self.send_response(200 if right else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        Handler.do_POST = Handler._answer  # type: ignore[attr-defined]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def tokens() -> Iterator[TokenService]:
    service = TokenService()
    yield service
    service.close()


@pytest.fixture
def served(
    tmp_path: Path, secured: SecuredKafka, secured_broker: Broker, tokens: TokenService
) -> Iterator[Site]:
    secured.allow(EVERYTHING, USER)
    for site in sites(tmp_path, secured_broker):
        site.variables |= log_in(secured, "OAUTHBEARER over TLS", tmp_path / "secrets")
        del site.variables["LETHE_KAFKA__OAUTH_TOKEN_FILE"]
        (tmp_path / "client-secret").write_text(SECRET + "\n")
        site.variables |= {
            "LETHE_KAFKA__OAUTH_URL": tokens.url, "LETHE_KAFKA__OAUTH_CLIENT_ID": "lethe",
            "LETHE_KAFKA__OAUTH_CLIENT_SECRET_FILE": str(tmp_path / "client-secret"),
        }  # fmt: skip
        yield site
    secured.withdraw_all(USER)


def test_a_worker_asks_for_tokens_and_renews_them(served: Site, tokens: TokenService) -> None:
    topic = served.topic()
    served.produce(topic, traffic(200))
    worker = served.worker()
    until(lambda: served.root.exists() and served.archived() >= 200, 60, "records are archived")
    before = tokens.asked
    until(lambda: tokens.asked >= before + 2, 60, "tokens are renewed before they end")
    served.produce(topic, traffic(100, seed=2))
    until(lambda: served.archived() >= 300, 60, "records are read with a later token")
    assert worker.stop() == 0, worker.text()
    assert SECRET not in worker.text()
    assert tokens.refused == 0
    served.judge()


def test_a_wrong_secret_is_one_line_that_does_not_show_it(served: Site, tokens: TokenService) -> None:
    served.topic()
    Path(served.variables["LETHE_KAFKA__OAUTH_CLIENT_SECRET_FILE"]).write_text("wrong-secret")
    done = served.run("worker", "--stop-at-end")
    assert done.returncode == 1
    assert "the token service answers 401" in done.stderr
    assert "wrong-secret" not in done.stderr
    assert tokens.refused
